"""`init`, `run`, `check` and `graph` work on the user's own module, and say in one line what is wrong with it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import Result

Perdure = Callable[..., Result]
Ask = Callable[..., Any]

KETTLE = '{"item": "kettle", "cents": 2490}'


@pytest.fixture
def flows(folder: Path) -> Path:
    """A module of workflows."""
    path = folder / "flows.py"
    path.write_text(
        """
from perdure import Workflow

def fail():
    raise ValueError("no stock")

good = Workflow("good", input=dict).step("echo", lambda ctx: ctx.input)
bad = Workflow("bad").step("undo-me", lambda: 1, compensate=lambda: None).step("fail", fail, retry=1)
waits = Workflow("waits").wait_for("go")
parent = Workflow("parent").sub_workflow("good", lambda ctx: {})
"""
    )
    return path


# ---- init


def test_init_writes_a_module_that_checks_and_runs(run: Perdure, folder: Path) -> None:
    written = run("init")

    assert (written.exit_code, (folder / "flows.py").exists()) == (0, True)
    assert f"perdure run flows:order --input '{KETTLE}'" in written.stdout
    assert run("check", "flows").stdout == "nothing to find fault with\n"
    started = run("run", "flows:order", "--input", KETTLE, "--id", "o-1")
    assert "workflow:waiting        for approval, 72 hours at most" in started.stdout
    assert started.stdout.endswith("it goes on when an engine opens perdure.db\n")


def test_init_tells_a_program_what_it_wrote(ask: Ask, folder: Path) -> None:
    assert ask("init", "mine.py") == {"wrote": "mine.py", "workflow": "mine:order"}


def test_init_replaces_no_file_and_takes_another_name(run: Perdure, folder: Path) -> None:
    (folder / "flows.py").write_text("precious")

    refused = run("init")

    assert (refused.exit_code, "'flows.py' exists already" in refused.stderr) == (1, True)
    assert (folder / "flows.py").read_text() == "precious"
    assert "perdure run more:order" in run("init", "more.py").stdout
    assert "perdure check more:order" in (folder / "more.py").read_text()
    assert "cannot write 'no/where.py'" in run("init", "no/where.py").stderr


# ---- run


def test_a_run_that_completes_ends_with_its_result(run: Perdure, flows: Path) -> None:
    result = run("run", "flows:good", "--input", '{"a": 1}', "--id", "r-1", "--tag", "shop=Rome")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "workflow:started        r-1",
        "step:completed          echo -> {'a': 1}",
        "workflow:completed      r-1",
        "r-1  completed",
        'result   {"a": 1}',
    ]
    assert 'tags     {"shop": "Rome"}' in run("show", "r-1").stdout


def test_a_run_that_fails_ends_with_exit_code_1(run: Perdure, flows: Path) -> None:
    result = run("run", "flows:bad", "--id", "r-1")

    assert result.exit_code == 1
    assert "compensation:completed  undo-me is undone" in result.stdout
    assert "error    ValueError: no stock" in result.stdout


def test_the_end_can_be_had_as_json(ask: Ask, flows: Path) -> None:
    answer = ask("run", "flows:parent")

    assert (answer["state"], answer["workflow"]) == ("completed", "parent")


def test_input_may_come_from_a_file_or_a_pipe(run: Perdure, ask: Ask, flows: Path, folder: Path) -> None:
    (folder / "input.json").write_text('{"a": 2}')

    assert ask("run", "flows:good", "-i", "@input.json")["result"] == {"a": 2}
    assert 'result   {"a": 3}' in run("run", "flows:good", "-i", "-", input='{"a": 3}').stdout


def test_wait_stays_until_somebody_has_answered(folder: Path, flows: Path) -> None:
    flows.write_text(
        "from perdure import Workflow\nnap = Workflow('nap').sleep('short', 0.05).step('up', lambda: 'up')"
    )
    command = [sys.executable, "-W", "error", "-m", "perdure.cli", "run", "flows:nap"]

    at_rest = subprocess.run([*command, "--id", "a"], capture_output=True, text=True, check=False)
    at_end = subprocess.run([*command, "--id", "b", "--wait"], capture_output=True, text=True, check=False)

    assert (at_rest.returncode, at_rest.stderr) == (0, "")
    assert "waiting  in 'short' since" in at_rest.stdout
    assert (at_end.returncode, at_end.stderr) == (0, "")
    assert at_end.stdout.endswith('b  completed\nresult   "up"\n')


# ---- what is wrong with a module


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("flows:godo", "there is no workflow 'godo' in 'flows'; did you mean 'good'?"),
        ("flowz:good", "there is no module 'flowz' in "),
        ("flows", "there are several workflows in 'flows': say which, flows:good, flows:bad,"),
        ("fl-ows:good", "'fl-ows' is no module: write the module and the workflow, as in flows:order"),
        (":good", "'' is no module"),
        ("empty", "there is no workflow in 'empty'"),
        ("broken", "'broken' cannot be imported: invalid syntax ("),
        ("raises", "'raises' cannot be imported: ZeroDivisionError: division by zero ("),
        ("needs", "'needs' cannot be imported: ModuleNotFoundError: No module named 'nobody_has_this'"),
        ("leaves", "'leaves' cannot be imported: SystemExit: 3"),
    ],
)
def test_a_wrong_target_is_one_line(run: Perdure, flows: Path, folder: Path, target: str, complaint: str) -> None:
    (folder / "empty.py").write_text("")
    (folder / "broken.py").write_text("def (")
    (folder / "raises.py").write_text("1 / 0")
    (folder / "needs.py").write_text("import nobody_has_this")
    (folder / "leaves.py").write_text("raise SystemExit(3)")

    result = run("run", target)

    assert (result.exit_code, result.stdout) == (1, "")
    assert complaint in result.stderr
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    assert not (folder / "perdure.db").exists()


def test_a_workflow_is_found_by_its_own_name_too(run: Perdure, folder: Path) -> None:
    (folder / "flows.py").write_text("from perdure import Workflow\nw = Workflow('the-one').step('s', lambda: 1)")

    assert run("run", "flows:the-one").exit_code == 0
    assert run("run", "flows").exit_code == 0
    assert run("run", "flows.py:w").exit_code == 0


def test_input_that_is_no_json_or_does_not_fit_is_refused(run: Perdure, flows: Path) -> None:
    assert "this is no JSON" in run("run", "flows:good", "-i", "{").stderr
    assert "cannot read 'no.json'" in run("run", "flows:good", "-i", "@no.json").stderr
    assert "Error: the input of workflow 'good'" in run("run", "flows:good", "-i", "7").stderr
    assert "is no tag; write name=value" in run("run", "flows:good", "-t", "x").stderr


# ---- check and graph


def test_check_lists_what_it_finds_and_ends_with_1(run: Perdure, ask: Ask, folder: Path) -> None:
    (folder / "flows.py").write_text(
        "from perdure import Workflow\n"
        "w = Workflow('w').map('m', lambda ctx: ctx.steps['n'])\n"
        "v = Workflow('v').wait_for('go')\n"
    )

    result = run("check", "flows")

    assert result.exit_code == 1
    assert result.stdout.startswith("error   w: 'm' looks up the step 'n', and there is none")
    assert "note    v: the wait for 'go' has no timeout" in result.stdout
    assert run("check", "flows:v").exit_code == 0
    assert [finding["code"] for finding in ask("check", "flows")["findings"]] == ["look-up", "endless-wait"]


def test_check_looks_into_the_sub_workflows_of_the_module(run: Perdure, folder: Path) -> None:
    (folder / "flows.py").write_text(
        "from perdure import Concurrency, Workflow\n"
        "gpu = Concurrency(1, name='gpu')\n"
        "w = Workflow('w', concurrency=gpu).sub_workflow('v')\n"
        "v = Workflow('v', concurrency=gpu).map('m', lambda ctx: 1)\n"
    )

    assert "the sub-workflow 'v' needs a slot of 'gpu'" in run("check", "flows:w").stdout


def test_graph_draws_in_each_language(run: Perdure, flows: Path, folder: Path) -> None:
    assert run("graph", "flows:good").stdout.startswith("flowchart TD\n")
    assert run("graph", "flows:good", "-f", "dot").stdout.startswith('digraph "good" {\n')
    assert '"name": "good"' in run("graph", "flows:good", "-f", "json").stdout
    assert run("graph", "flows:good", "-f", "svg", "-o", "good.svg").stdout == ""
    assert ET.fromstring((folder / "good.svg").read_text()).tag.endswith("svg")  # noqa: S314 - it is ours
    assert "cannot write 'no/where'" in run("graph", "flows:good", "-o", "no/where").stderr


def test_graph_paints_a_run(run: Perdure, flows: Path) -> None:
    run("run", "flows:bad", "--id", "r-1")

    painted = run("graph", "flows:bad", "--run", "r-1").stdout

    assert "classDef failed" in painted
    assert "classDef undone" in painted
    assert "perdure-undone" in run("graph", "flows:bad", "-r", "r-1", "-f", "svg").stdout
    assert "not on dot" in run("graph", "flows:bad", "-r", "r-1", "-f", "dot").stderr
    assert "no execution 'r-2'" in run("graph", "flows:bad", "-r", "r-2").stderr
