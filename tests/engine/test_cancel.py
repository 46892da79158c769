"""Cancelling: nothing new begins, what is in flight ends, what was completed is undone, in every state."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import (
    Engine,
    ExecutionNotFound,
    IllegalTransition,
    Retry,
    State,
    UsageError,
    Workflow,
    WorkflowCancelled,
)
from tests.patience import PATIENCE


def booked(undone: list[str]) -> Workflow[Any, Any]:
    return Workflow("w").step("book", lambda: 1, compensate=lambda: undone.append("book"))


def nowhere() -> None:
    raise ConnectionError("no")


RESTS: dict[str, Any] = {
    "at a gate": lambda w: w.wait_for("go"),
    "at a gate with a deadline": lambda w: w.wait_for("go", timeout=60),
    "in a sleep": lambda w: w.sleep("nap", 60),
    "in a retry's delay": lambda w: w.step("call", nowhere, retry=Retry(attempts=3, initial=60)),
    "in a group": lambda w: w.parallel(lambda s: s.wait_for("go").sleep("nap", 60)),
    "in a loop": lambda w: w.do_until(lambda: False, lambda s: s.wait_for("go")),
    "in an item": lambda w: w.for_each(lambda: [1, 2], "each", block=lambda s: s.wait_for("go")),
    "in a child": lambda w: w.sub_workflow("child"),
}


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart"])
@pytest.mark.parametrize("where", RESTS)
def test_a_run_that_rests_is_cancelled_undone_and_leaves_no_timer(where: str, lab: Engine, *, restart: bool) -> None:
    undone: list[str] = []
    workflow = booked(undone)
    RESTS[where](workflow)
    lab.register(Workflow("child").wait_for("go"), workflow.step("never", lambda: undone.append("never")))
    lab.start("w", id="x")
    lab.settle()
    engine = lab
    if restart:
        lab.abandon()
        engine = lab.reopen()
        engine.settle()
    engine.cancel("x", reason="changed my mind")
    engine.settle()
    cancelled = engine.run("x").wait(0)
    assert (cancelled.state, cancelled.rollback, undone) == ("cancelled", "complete", ["book"])
    assert engine.next_deadline() is None
    assert {run.state for run in engine.list_executions()} == {"cancelled"}
    with pytest.raises(WorkflowCancelled):
        engine.run("x").result(0)
    engine.close()


def test_a_cancel_without_compensation_undoes_nothing(lab: Engine) -> None:
    undone: list[str] = []
    lab.register(booked(undone).wait_for("go"))
    run = lab.start("w")
    lab.settle()
    run.cancel(compensate=False)
    lab.settle()
    assert (run.wait(0).state, run.wait(0).rollback, undone) == ("cancelled", "none", [])


def test_whether_to_compensate_is_yes_or_no(lab: Engine) -> None:
    lab.register(Workflow("w").wait_for("go"))
    run = lab.start("w")
    with pytest.raises(UsageError, match="compensate must be True or False, got 'no'"):
        run.cancel(compensate="no")  # type: ignore[arg-type]
    assert run.wait(PATIENCE, until="waiting").state is State.WAITING


def test_a_run_that_has_ended_or_never_was_cannot_be_cancelled(lab: Engine) -> None:
    lab.register(Workflow("w").step("a", lambda: 1))
    run = lab.start("w")
    lab.settle()
    with pytest.raises(IllegalTransition, match=r"cannot cancel .* it is completed"):
        run.cancel()
    with pytest.raises(ExecutionNotFound):
        lab.cancel("nobody")
