"""`list`, `show` and `tail` tell what is in a database, with or without an engine, and never harm it or a terminal."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import Result

from perdure import Engine, Workflow
from perdure.cli.commands import perdure

Perdure = Callable[..., Result]
Ask = Callable[..., Any]


def lines_of(result: Result) -> list[str]:
    """Return what was printed, without times."""
    text = re.sub(r"\d+-\d\d-\d\d \d\d:\d\d:\d\d", "<when>", result.stdout)
    text = re.sub(r"[\d.]+ (ms|s)\b", "<span>", text)
    return [re.sub(r" +", " ", line).strip() for line in text.splitlines()]


def test_a_list_tells_of_each_run_its_state_and_why(run: Perdure, runs: Path) -> None:
    assert lines_of(run("list")) == [
        "run workflow state started",
        "o-3 order waiting <when> for approval",
        "o-2 order failed <when> perdure.NonRetryable: the lorry has broken down",
        "o-1 order completed <when>",
    ]


def test_a_list_can_be_narrowed_turned_round_and_paged(ask: Ask, runs: Path) -> None:
    def ids(*options: str) -> list[str]:
        return [found["id"] for found in ask("list", *options)["runs"]]

    assert ids("--state", "failed", "--state", "waiting") == ["o-3", "o-2"]
    assert ids("--workflow", "other") == []
    assert ids("--tag", "number=2", "--tag", "shop=Rome") == ["o-2"]
    assert ids("--error", "lorry") == ["o-2"]
    assert ids("--oldest", "--limit", "1") == ["o-1"]
    assert ids("--since", "1h") == ["o-3", "o-2", "o-1"]
    cursor = ask("list", "--limit", "2")["cursor"]
    assert ids("--after", cursor) == ["o-1"]


def test_an_empty_list_and_a_longer_one_say_so(run: Perdure, runs: Path) -> None:
    assert run("list", "--workflow", "other").stdout == "there are no such runs\n"
    assert "there are more: perdure list --after " in run("list", "--limit", "1").stdout


def test_a_run_is_shown_with_attempts_waits_and_undo(run: Perdure, runs: Path) -> None:
    assert lines_of(run("show", "o-2")) == [
        "o-2 order failed, rollback complete",
        "started <when>, ended <span> later",
        'tags {"shop": "Rome", "number": 2}',
        'input {"item": "piano"}',
        "error perdure.NonRetryable: the lorry has broken down (in 'ship')",
        "",
        '<span> reserve completed took <span>, -> "shelf 7"',
        '<span> approval completed (wait for) took <span>, -> "yes"',
        "<span> charge failed attempt 1, ConnectionError: the bank is busy, again after <span>",
        '<span> charge completed attempt 2, took <span>, -> "payment-1"',
        "<span> ship failed perdure.NonRetryable: the lorry has broken down",
        "<span> undo charge undone took <span>",
        "<span> undo reserve undone took <span>",
    ]


def test_a_waiting_run_is_shown_with_what_it_waits_for(run: Perdure, runs: Path) -> None:
    assert "waiting for signal 'approval' since <when>, until <when> at most" in lines_of(run("show", "o-3"))


def test_tracebacks_are_shown_when_asked_for(run: Perdure, runs: Path) -> None:
    assert "Traceback" not in run("show", "o-2").stdout
    assert "raise NonRetryable(msg)" in run("show", "o-2", "--traceback").stdout


def test_a_run_as_json_holds_all_that_is_known(ask: Ask, runs: Path) -> None:
    shown = ask("show", "o-2")

    assert (shown["state"], shown["rollback"], shown["input"]) == ("failed", "complete", {"item": "piano"})
    assert shown["error"]["step"] == "ship"
    assert shown["steps"]["charge"]["compensation"] == "completed"
    assert [one["outcome"] for one in shown["attempts"] if one["step"] == "charge"] == [
        "failed",
        "completed",
        "completed",
    ]


def test_following_a_run_that_has_ended_tells_all_of_it_once(run: Perdure, runs: Path) -> None:
    told = lines_of(run("tail", "o-1"))

    assert [line.split()[1] for line in told[:-1]] == ["reserve", "approval", "charge", "charge", "ship"]
    assert told[-1] == "<when> o-1 order completed"


def test_a_run_is_followed_live_from_another_process(folder: Path) -> None:
    with Engine(folder / "perdure.db", Workflow("w").wait_for("go").step("last", lambda: "done")) as engine:
        run = engine.start("w", id="r-1")
        run.wait(until="waiting")
        command = [sys.executable, "-W", "error", "-m", "perdure.cli", "tail", "r-1", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            first = json.loads(tail.stdout.readline())
            run.signal("go", 7)
            rest = [json.loads(line) for line in tail.stdout]

    assert (first["step"], first["outcome"]) == ("__waitFor:go", "waiting")
    assert (rest[-2]["step"], rest[-2]["result"]) == ("last", "done")
    assert (rest[-1]["id"], rest[-1]["state"]) == ("r-1", "completed")
    assert tail.returncode == 0


def test_following_all_runs_ends_quietly_with_ctrl_c(runs: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "perdure.cli", "tail"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        told = [tail.stdout.readline().split()[2] for _ in range(3)]
        tail.send_signal(signal.SIGINT)
        complaint = tail.stderr.read()

    assert (told, complaint, tail.returncode) == (["o-1", "o-2", "o-3"], "", 0)


def test_the_end_of_a_run_is_told_however_many_are_newer(folder: Path) -> None:
    workflow = Workflow("w").wait_for("go")
    with Engine(folder / "perdure.db", workflow, durability="normal") as engine:
        engine.start(workflow, id="old").wait(until="waiting")
        for number in range(100):
            engine.start(workflow, id=f"r-{number}")
        engine.run("r-99").wait(until="waiting")
        command = [sys.executable, "-m", "perdure.cli", "tail", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            tail.stdout.readline()
            engine.signal("old", "go")
            told = [json.loads(tail.stdout.readline()) for _ in range(100)]
            tail.send_signal(signal.SIGINT)

    assert ("old", "completed") in [(one["id"], one["state"]) for one in told]


# ---- what goes wrong


def test_errors_are_one_line_without_a_traceback(run: Perdure, runs: Path) -> None:
    for arguments in (["show", "o-9"], ["tail", "o-9"], ["list", "-d", "other.db"], ["list", "-d", "postgresql://h/d"]):
        result = run(*arguments)

        assert result.exit_code == 1
        assert result.stdout == ""
        assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)


def test_looking_never_makes_a_database_by_mistake(run: Perdure, folder: Path) -> None:
    for command in (["list"], ["show", "x"], ["tail"], ["schedules"], ["doctor"], ["export"], ["backup", "b.db"]):
        assert "there is no database" in run(*command).stderr
    for verb in ("cleanup", "archive"):
        assert "there is no database" in run(verb, "--older-than", "0").stderr

    assert "(-d, or PERDURE_DATABASE, says which database)" in run("list").stderr
    assert list(folder.iterdir()) == []


def test_looking_registers_no_engine_and_takes_nothing_over(run: Perdure, runs: Path) -> None:
    def engines() -> list[Any]:
        with closing(sqlite3.connect(runs)) as connection:
            return connection.execute("SELECT * FROM workflow_engines").fetchall()

    before = engines()
    for command in (["list"], ["show", "o-3"], ["tail", "o-2"], ["schedules"], ["doctor"], ["export"]):
        run(*command)

    assert engines() == before


def test_a_file_that_is_no_database_is_refused(run: Perdure, folder: Path) -> None:
    (folder / "perdure.db").write_text("hello" * 1000)

    assert "is not a sound database" in run("list").stderr


def test_the_database_may_be_named_by_the_environment(run: Perdure, runs: Path, folder: Path) -> None:
    runs.rename(folder / "other.db")

    assert "o-3" in run("list", env={"PERDURE_DATABASE": str(folder / "other.db")}).stdout


def test_nothing_in_a_database_can_command_a_terminal(run: Perdure, folder: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r[bold]x[/bold]\n"

    def fail() -> None:
        raise ValueError(evil)

    workflow = Workflow("[red]w[/red]").step("s", lambda: evil).step("f", fail, retry=1)
    with Engine(folder / "perdure.db", workflow) as engine:
        engine.start(workflow, evil, id="[blink]r", tags={evil: evil}).wait()

    for command in (["list"], ["show", "[blink]r", "--traceback", "--whole"], ["tail", "[blink]r"], ["doctor"]):
        shown = run(*command, color=True).stdout

        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
    assert "[red]w[/red]" in run("list").stdout


def test_a_shell_is_offered_the_ids_of_runs(runs: Path) -> None:
    from click.shell_completion import ShellComplete

    complete = ShellComplete(perdure, {}, "perdure", "_PERDURE_COMPLETE")

    assert [item.value for item in complete.get_completions(["show"], "o-")] == ["o-3", "o-2", "o-1"]
    assert complete.get_completions(["show", "-d", "no.db"], "o-") == []
    assert [item.value for item in complete.get_completions([], "sh")] == ["show"]


def test_completion_prints_a_script_for_each_shell(run: Perdure) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_PERDURE_COMPLETE" in run("completion", shell).stdout
