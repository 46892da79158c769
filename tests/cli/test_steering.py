"""`signal` and `cancel` reach a run whether an engine drives it at the moment or not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from perdure import Engine, Workflow

Perdure = Callable[..., Result]
Ask = Callable[..., Any]


def flow() -> Workflow[Any, Any]:
    return (
        Workflow("order")
        .step("reserve", lambda: "shelf 7", compensate=lambda: None)
        .wait_for("approval")
        .step("ship", lambda ctx: 1 / ctx.signals["approval"], retry=1)
    )


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    """An engine that has the database open, with a run that waits."""
    with Engine(folder / "perdure.db", flow()) as engine:
        engine.start("order", id="o-1").wait(until="waiting")
        yield engine


def test_a_signal_to_a_living_engine_is_taken_at_once(run: Perdure, engine: Engine) -> None:
    result = run("signal", "o-1", "approval", "2", "--wait")

    assert (result.exit_code, result.stdout) == (0, "sent 'approval' to o-1, which is completed\n")
    assert engine.run("o-1").result() == 0.5


def test_waiting_for_a_run_that_fails_ends_with_exit_code_1(run: Perdure, engine: Engine) -> None:
    result = run("signal", "o-1", "approval", "0", "--wait")

    assert result.exit_code == 1
    assert result.stdout.startswith("sent 'approval' to o-1, which is failed  ZeroDivisionError")


def test_a_run_is_cancelled_with_a_reason(run: Perdure, ask: Ask, engine: Engine) -> None:
    answer = ask("cancel", "o-1", "--reason", "changed their mind", "--wait")

    assert (answer["state"], answer["error"]["message"]) == ("cancelled", "changed their mind")
    assert answer["steps"]["reserve"]["compensation"] == "completed"
    assert run("cancel", "o-1").stderr.startswith("Error: cannot cancel execution 'o-1': it is cancelled")


def test_what_was_done_may_be_left_as_it_is(ask: Ask, engine: Engine) -> None:
    assert ask("cancel", "o-1", "--no-compensate", "--wait")["steps"]["reserve"]["compensation"] is None


def test_a_wrong_signal_is_refused_on_one_line(run: Perdure, engine: Engine) -> None:
    misspelt = run("signal", "o-1", "approvals")

    assert misspelt.exit_code == 1
    assert "did you mean 'approval'?" in misspelt.stderr
    assert "no execution 'o-9'" in run("signal", "o-9", "approval").stderr
    assert "a text needs its quotes" in run("signal", "o-1", "approval", "yes").stderr
    assert run("signal", "o-1", "other", "--no-strict").exit_code == 0


def test_a_signal_without_an_engine_waits_for_the_next_one(run: Perdure, folder: Path) -> None:
    with Engine(folder / "perdure.db", flow()) as engine:
        engine.start("order", id="o-1").wait(until="waiting")

    (folder / "payload.json").write_text("4")
    sent = run("signal", "o-1", "approval", "@payload.json")

    assert sent.stdout == "sent 'approval' to o-1; it is taken, or refused, when an engine opens the database\n"
    with Engine(folder / "perdure.db", flow()) as engine:
        assert engine.run("o-1").result() == 0.25


def test_a_signal_that_nobody_waits_for_now_gets_a_note(run: Perdure, folder: Path) -> None:
    with Engine(folder / "perdure.db", flow()) as engine:
        engine.start("order", id="o-1").wait(until="waiting")

    assert run("signal", "o-1", "approvals").stderr == (
        "note: o-1 waits for 'approval' now; 'approvals' is kept for a later wait\n"
    )


def test_a_signal_from_another_process_reaches_the_engine_in_this_one(folder: Path, engine: Engine) -> None:
    command = [sys.executable, "-W", "error", "-m", "perdure.cli", "signal", "o-1", "approval", "1", "--wait", "--json"]

    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["result"] == 1.0


def test_writing_makes_no_database_by_mistake(run: Perdure, folder: Path) -> None:
    for command in (["signal", "o-1", "approval"], ["cancel", "o-1"]):
        assert run(*command).exit_code == 1

    assert list(folder.iterdir()) == []
