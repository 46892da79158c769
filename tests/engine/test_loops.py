"""A loop leaves the same behind, whether its run has rested or gone on without a pause."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Context, Engine, Workflow
from tests.patience import PATIENCE


def turn(ctx: Context[Any]) -> int | None:
    return ctx.turn


def noting(ran: list[int | None]) -> Any:
    def handler(ctx: Context[Any]) -> int | None:
        ran.append(ctx.turn)
        return ctx.turn

    return handler


def beside_a_gate(kind: str) -> Workflow[Any, Any]:
    if kind == "do_until":
        return Workflow("w").parallel(
            lambda w: w.do_until(lambda _, n: n == 2, lambda body: body.step("a", turn), name="loop").wait_for("go")
        )
    return Workflow("w").parallel(
        lambda w: w.do_while(lambda _, n: n < 2, lambda body: body.step("a", turn), name="loop").wait_for("go")
    )


@pytest.mark.parametrize("kind", ["do_until", "do_while"])
def test_a_loop_that_has_ended_keeps_its_value_while_its_run_rests(kind: str) -> None:
    with Engine(None, beside_a_gate(kind)) as engine:
        run = engine.start("w")
        run.wait(timeout=PATIENCE, until="waiting")
        run.signal("go", "on")
        assert run.result(timeout=PATIENCE) == {"loop": 2, "__waitFor:go": "on"}


@pytest.mark.parametrize("kind", ["do_until", "do_while"])
def test_a_loop_that_does_not_end_fails_its_run_after_its_last_turn(kind: str, lab: Engine) -> None:
    ran: list[int | None] = []
    workflow: Workflow[Any, Any] = Workflow("w")
    if kind == "do_until":
        workflow.do_until(lambda: False, lambda w: w.step("a", noting(ran)), max_iterations=3)
    else:
        workflow.do_while(lambda: True, lambda w: w.step("a", noting(ran)), max_iterations=3)
    lab.register(workflow)
    run = lab.start("w")
    lab.settle()
    failed = run.wait(0)
    assert failed.error is not None
    assert (failed.state, failed.error.type) == ("failed", "perdure.MaxIterationsExceeded")
    assert ran == [1, 2, 3]


def test_a_loop_goes_on_at_its_turn_after_a_restart_and_keeps_one_turns_facts(lab: Engine) -> None:
    ran: list[int | None] = []
    lab.register(
        Workflow("w").do_until(
            lambda ctx, n: n == 4,
            lambda w: w.step("a", noting(ran)).wait_for("go"),
        )
    )
    lab.start("w", id="x")
    lab.settle()
    engine = lab
    for _ in range(4):
        engine.signal("x", "go")
        engine.settle()
        engine.abandon()
        engine = engine.reopen()
        engine.settle()
    assert ran == [1, 2, 3, 4]
    ended = engine.run("x").wait(0)
    assert (ended.state, ended.steps["a"].result) == ("completed", 4)
    assert len(ended.steps) == 2
    engine.close()


def test_the_items_of_a_list_may_be_given_a_fragment_in_place_of_a_handler(lab: Engine) -> None:
    fragment = (
        Workflow("each").step("double", lambda ctx: ctx.item * 2).step("add", lambda ctx: ctx.steps["double"] + 1)
    )
    workflow = Workflow("w").for_each(lambda: [1, 2], "it", fragment)

    assert lab.register(workflow).start("w").result(PATIENCE) == [3, 5]
