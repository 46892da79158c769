"""Groups of strands and items: how many must succeed, what is stopped, visible and undone, and restarts."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from perdure import Context, Engine, Execution, State, Workflow, WorkflowFailed
from perdure.testing import assert_events, record, restart
from perdure.testing.freezing import START
from tests.patience import PATIENCE


def fails(name: str = "broken") -> Any:
    def act() -> None:
        raise OSError(name)

    return act


def seen(ctx: Context[Any]) -> dict[str, Any]:
    steps = {name: value for name, value in ctx.steps.items() if name != "seen"}
    return {"steps": steps, "errors": {name: error.message for name, error in ctx.errors.items()}}


def ended(engine: Engine, workflow: Workflow[Any, Any], input: Any = None) -> Execution:
    run = engine.register(workflow).start(workflow, input, id="run")
    engine.settle()
    return run.wait(PATIENCE)


# ---- how many must succeed


def test_strands_that_begin_alike_each_leave_a_result(lab: Engine) -> None:
    workflow = Workflow("w").parallel(
        lambda strand: strand.wait_for("paid"),
        lambda strand: strand.wait_for("paid"),
        lambda strand: strand.branch(lambda: "a").path("a", lambda path: path.step("left", lambda: "left")),
        lambda strand: strand.branch(lambda: "a").path("a", lambda path: path.step("right", lambda: "right")),
    )
    run = lab.register(workflow).start(workflow)
    run.signal("paid", 1)
    run.signal("paid", 2)

    assert run.wait(PATIENCE).result == {
        "__waitFor:paid": 1,
        "__waitFor:paid#2": 2,
        "branch(a)": "left",
        "branch(a)#2": "right",
    }


def three(**options: Any) -> Workflow[Any, Any]:
    return (
        Workflow("w")
        .parallel(
            lambda w: w.step("a", lambda: 1).step("b", fails("b"), retry=1).step("c", lambda: 3),
            **options,
        )
        .step("seen", seen)
    )


def test_a_group_goes_on_without_the_strands_whose_failure_is_tolerated_and_says_why_they_failed(lab: Engine) -> None:
    shown = ended(lab, three(tolerated_failures=1))

    assert shown.result == {"steps": {"a": 1, "c": 3}, "errors": {"b": "b"}}
    assert {name: step.status for name, step in shown.steps.items()} == {
        "a": "completed",
        "b": "failed",
        "c": "completed",
        "seen": "completed",
    }


def test_a_groups_value_holds_what_the_strands_left_that_succeeded(lab: Engine) -> None:
    workflow = Workflow("w").parallel(
        lambda w: w.step("a", lambda: 1).step("b", fails(), retry=1), tolerated_failures=1
    )

    assert ended(lab, workflow).result == {"a": 1}


def test_a_group_of_which_enough_succeed_succeeds_and_one_of_which_too_few_do_fails(lab: Engine) -> None:
    assert ended(lab, three(min_successful=2)).state is State.COMPLETED

    workflow = Workflow("x").parallel(
        lambda w: w.step("a", lambda: 1).step("b", fails("b"), retry=1).step("c", fails("c"), retry=1), min_successful=2
    )
    run = lab.register(workflow).start("x")
    with pytest.raises(WorkflowFailed) as failure:
        run.result(PATIENCE)
    assert failure.value.error is not None
    assert [cause.message for cause in failure.value.error.causes] == ["b", "c"]


def test_both_limits_hold_when_both_are_given(lab: Engine) -> None:
    shown = ended(lab, three(min_successful=1, tolerated_failures=0))

    assert shown.state is State.FAILED


def test_items_whose_failure_is_tolerated_leave_the_results_of_the_others_in_order(lab: Engine) -> None:
    def act(ctx: Context[Any]) -> Any:
        if ctx.item % 2:
            raise OSError(ctx.item)
        return ctx.item * 10

    for concurrency in (1, 3):
        name = f"w{concurrency}"
        workflow = (
            Workflow(name)
            .for_each(lambda ctx: ctx.input, "each", act, retry=1, concurrency=concurrency, tolerated_failures=2)
            .step("seen", lambda ctx: [ctx.results("each"), sorted(ctx.errors)])
        )
        lab.register(workflow)

        assert lab.start(name, [0, 1, 2, 3, 4]).result(PATIENCE) == [[0, 20, 40], ["each:1", "each:3"]]
        with pytest.raises(WorkflowFailed):
            lab.start(name, [1, 3, 5, 2]).result(PATIENCE)


def test_no_item_begins_once_too_many_have_failed(lab: Engine) -> None:
    began = []

    def act(ctx: Context[Any]) -> None:
        began.append(ctx.index)
        raise OSError

    workflow = Workflow("w").for_each(lambda: [0] * 9, "each", act, retry=1, tolerated_failures=2)

    assert ended(lab, workflow).state is State.FAILED
    assert began == [0, 1, 2]


def test_fewer_items_than_must_succeed_fail_the_run_before_any_begins(lab: Engine) -> None:
    for options in ({"min_successful": 2}, {"race": True}):
        workflow: Workflow[Any, Any] = Workflow(f"w {options}").for_each(
            lambda ctx: ctx.input, "each", lambda ctx: ctx.item, **options
        )
        lab.register(workflow)
        with pytest.raises(WorkflowFailed) as failure:
            lab.start(workflow, [1] * (options.get("min_successful", 1) - 1)).result(PATIENCE)
        assert failure.value.error is not None
        assert failure.value.error.type == "perdure.NotEnoughItems"


# ---- what is stopped


def test_the_first_strand_to_succeed_wins_the_race_and_what_the_others_wait_for_is_cancelled(lab: Engine) -> None:
    workflow = (
        Workflow("w")
        .parallel(
            lambda w: w.wait_for("go", timeout=600).step("gone", lambda: "gone"),
            lambda w: w.sleep("nap", 60).step("awake", lambda: "awake"),
            lambda w: w.step("flaky", fails(), retry=50).step("fixed", lambda: "fixed"),
            race=True,
        )
        .step("seen", seen)
    )
    record(lab)
    run = lab.register(workflow).start("w", id="run")
    lab.settle()

    lab.advance(seconds=60)

    assert run.result(PATIENCE) == {"steps": {"awake": "awake"}, "errors": {}}
    steps = run.wait(PATIENCE).steps
    assert {name: steps[name].status for name in ("__waitFor:go", "nap", "flaky")} == {
        "__waitFor:go": "cancelled",
        "nap": "completed",
        "flaky": "cancelled",
    }
    assert steps["flaky"].error is not None, "why its last attempt failed is still told"
    assert lab.next_deadline() is None
    assert_events(run, ..., "step:completed awake", "step:cancelled flaky", ..., "workflow:completed")


def test_an_asynchronous_loser_of_a_race_is_cancelled_where_it_awaits(lab: Engine) -> None:
    cancelled = []
    began = threading.Event()

    async def slow() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    workflow = Workflow("w").parallel(
        lambda w: w.step("slow", slow).step("quick", lambda: began.wait(PATIENCE)), race=True
    )
    run = lab.register(workflow).start("w")

    assert run.result(PATIENCE) == {"quick": True}
    assert cancelled == [True]
    assert run.wait(PATIENCE).steps["slow"].status == "cancelled"


def test_a_loser_that_cannot_be_stopped_is_waited_for_and_what_it_did_is_recorded_but_counts_no_more(
    lab: Engine,
) -> None:
    told = threading.Event()

    def slow(ctx: Context[Any]) -> str:
        while not ctx.cancelled:
            told.wait(0.001)
        return "done all the same"

    workflow = (
        Workflow("w")
        .parallel(
            lambda w: w.step("slow", slow).step("never", lambda: "never"),
            lambda w: w.step("quick", lambda: 1),
            race=True,
        )
        .step("seen", seen)
    )
    run = lab.register(workflow).start("w")

    assert run.result(PATIENCE) == {"steps": {"slow": "done all the same", "quick": 1}, "errors": {}}
    assert "never" not in run.wait(PATIENCE).steps


def test_a_child_that_loses_a_race_is_cancelled_and_undoes_what_it_did(lab: Engine) -> None:
    undone = []
    child = (
        Workflow("child").step("book", lambda: "booked", compensate=lambda ctx: undone.append(ctx.result)).wait_for("x")
    )
    workflow = (
        Workflow("w").parallel(lambda w: w.sub_workflow(child), lambda w: w.sleep("nap", 60), race=True).step("s", seen)
    )
    lab.register(child, workflow)
    run = lab.start("w")
    lab.settle()

    lab.advance(seconds=60)

    assert run.result(PATIENCE) == {"steps": {}, "errors": {}}
    assert undone == ["booked"]
    assert [one.state for one in lab.list_executions(workflow="child")] == [State.CANCELLED]


def test_a_race_may_want_more_than_one_winner(lab: Engine) -> None:
    workflow = Workflow("w").for_each(
        lambda: [30, 10, 20, 40],
        "each",
        block=lambda w: w.sleep_until("at", lambda ctx: START + timedelta(seconds=ctx.item)).map(
            "m", lambda ctx: ctx.item
        ),
        concurrency=4,
        race=True,
        min_successful=2,
    )
    run = lab.register(workflow).start("w")
    lab.settle()

    lab.advance(seconds=20)

    assert run.result(PATIENCE) == [10, 20]


def test_a_race_that_all_lose_fails_with_every_failure(lab: Engine) -> None:
    workflow = Workflow("w").parallel(
        lambda w: w.step("a", fails("a"), retry=1).step("b", fails("b"), retry=1), race=True
    )
    run = lab.register(workflow).start("w")

    with pytest.raises(WorkflowFailed) as failure:
        run.result(PATIENCE)
    assert failure.value.error is not None
    assert [cause.message for cause in failure.value.error.causes] == ["a", "b"]


def test_a_group_that_fails_fast_stops_the_others_and_undoes_the_completed(lab: Engine) -> None:
    undone = []

    def undo(ctx: Context[Any]) -> None:
        undone.append(ctx.step_name)

    workflow = Workflow("w").parallel(
        lambda w: w.step("charge", lambda: 1, compensate=undo).wait_for("never"),
        lambda w: w.sleep("nap", 60).step("b", fails("b"), retry=1),
        fail_fast=True,
    )
    run = lab.register(workflow).start("w")
    lab.settle()
    lab.advance(seconds=60)

    with pytest.raises(WorkflowFailed, match="b") as failure:
        run.result(PATIENCE)
    assert failure.value.step == "b"
    assert failure.value.rollback == "complete"
    assert undone == ["charge"]


def test_a_loser_that_was_cut_short_is_undone_if_it_asks_to_be(lab: Engine) -> None:
    undone = []
    has_begun = threading.Event()

    async def slow() -> None:
        has_begun.set()
        await asyncio.Event().wait()

    workflow = (
        Workflow("w")
        .parallel(
            lambda w: w.step("slow", slow, compensate=lambda: undone.append("slow"), compensate_on_failure=True),
            lambda w: w.step("quick", lambda: has_begun.wait(PATIENCE), compensate=lambda: undone.append("quick")),
            race=True,
        )
        .step("fails", fails(), retry=1)
    )
    run = lab.register(workflow).start("w")

    with pytest.raises(WorkflowFailed):
        run.result(PATIENCE)
    assert undone == ["quick", "slow"]


# ---- restarts, and what comes on top


def test_what_was_decided_stays_so_after_a_restart_though_the_losers_facts_are_there(lab: Engine) -> None:
    workflow = (
        Workflow("w")
        .parallel(
            lambda w: w.step("a", lambda: "a").wait_for("go", timeout=600),
            lambda w: w.sleep("nap", 60).step("b", lambda: "b"),
            race=True,
        )
        .wait_for("on")
        .step("seen", seen)
    )
    run = lab.register(workflow).start("w", id="run")
    lab.settle()
    lab.advance(seconds=60)
    assert [wait.event for wait in run.wait(PATIENCE, until="waiting").waiting_for] == ["on"]

    with restart(lab) as again:
        again.settle()
        again.signal("run", "on")
        again.settle()
        shown = again.get_execution("run")

    assert shown is not None
    assert shown.result == {"steps": {"a": "a", "b": "b"}, "errors": {}}


def test_a_run_can_be_cancelled_while_its_group_waits_for_a_loser(lab: Engine) -> None:
    begun, go_on = threading.Event(), threading.Event()
    undone = []

    def slow() -> str:
        begun.set()
        go_on.wait(PATIENCE)
        return "slow"

    def quick() -> str:
        begun.wait(PATIENCE)
        return "quick"

    workflow = (
        Workflow("w")
        .parallel(
            lambda w: w.step("slow", slow, compensate=lambda ctx: undone.append(ctx.result)),
            lambda w: w.step("quick", quick, compensate=lambda ctx: undone.append(ctx.result)),
            race=True,
        )
        .step("never", lambda: 1)
    )
    decided = threading.Event()
    lab.on("step:completed", lambda event: decided.set() if event.step == "quick" else None)
    run = lab.register(workflow).start("w")
    assert decided.wait(PATIENCE)

    run.cancel()
    go_on.set()

    shown = run.wait(PATIENCE)
    assert shown.state is State.CANCELLED
    assert undone == ["quick", "slow"]
    assert "never" not in shown.steps


def test_errors_of_a_loops_turn_are_gone_with_the_turn(lab: Engine) -> None:
    told: list[list[str]] = []

    def first(ctx: Context[Any]) -> None:
        told.append(sorted(ctx.errors))

    workflow = (
        Workflow("w")
        .do_until(
            lambda ctx, turn: turn == 2,
            lambda w: (
                w.step("first", first)
                .parallel(lambda inner: inner.step("a", lambda: 1).step("b", fails(), retry=1), tolerated_failures=1)
                .step("then", first)
            ),
        )
        .step("after", first)
    )

    assert ended(lab, workflow).state is State.COMPLETED
    assert told == [[], ["b"], [], ["b"], []]
