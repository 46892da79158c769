"""Compensation: what is undone, in which order, with which context, and what happens when undoing fails."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    Compensation,
    Context,
    Engine,
    NonRetryable,
    Retry,
    Run,
    State,
    Workflow,
    WorkflowCancelled,
    WorkflowFailed,
    step,
)
from perdure.events import CompensationFailed
from perdure.testing import assert_events, record, restart
from perdure.testing.freezing import START
from tests.patience import PATIENCE

Flow = Workflow[Any, Any]


class Undo:
    """Undo handlers that fail with each of the errors first; knows what was undone, when and why."""

    def __init__(self, **errors: list[BaseException]) -> None:
        self.errors = errors
        self.done: list[str] = []
        self.calls: list[tuple[str, int, datetime]] = []
        self.failures: set[str] = set()

    def __call__(self, ctx: Context[Any]) -> None:
        self.calls.append((ctx.step_name, ctx.attempt, datetime.now(UTC)))
        assert ctx.failure is not None
        self.failures.add(str(ctx.failure))
        if self.errors.get(ctx.step_name):
            raise self.errors[ctx.step_name].pop(0)
        self.done.append(ctx.step_name)


def fail(ctx: Context[Any]) -> None:
    msg = "no stock"
    raise ValueError(msg)


def steps(workflow: Flow, undo: Any, *names: str, **options: Any) -> Flow:
    for name in names:
        workflow.step(name, lambda ctx: ctx.step_name, compensate=undo, **options)
    return workflow


def failing(undo: Any, *names: str, **options: Any) -> Flow:
    return steps(Workflow("w"), undo, *names, **options).step("fail", fail, retry=1)


def failed(engine: Engine, workflow: Flow) -> WorkflowFailed:
    run = engine.register(workflow).start("w", id="run")
    with pytest.raises(WorkflowFailed) as failure:
        run.result(PATIENCE)
    return failure.value


def compensations(run: Run[Any]) -> dict[str, str | None]:
    return {name: step.compensation for name, step in run.wait(PATIENCE).steps.items()}


def test_completed_steps_are_undone_in_reverse_order_and_told_why(lab: Engine) -> None:
    undo = Undo()
    record(lab)

    failure = failed(lab, failing(undo, "a", "b", "c"))

    assert undo.done == ["c", "b", "a"]
    assert undo.failures == {"ValueError: no stock"}
    assert failure.rollback == "complete"
    run = lab.run("run")
    assert compensations(run) == {"a": "completed", "b": "completed", "c": "completed", "fail": None}
    assert_events(
        run,
        ...,
        *("step:failed fail", "workflow:compensating"),
        *("compensation:started c", "compensation:completed c", "compensation:started b", "compensation:completed b"),
        *("compensation:started a", "compensation:completed a", "workflow:failed"),
    )


def test_without_anything_to_undo_a_run_just_fails(lab: Engine) -> None:
    record(lab)

    failure = failed(lab, Workflow("w").step("a", lambda: 1).step("fail", fail, retry=1))

    assert failure.rollback == "none"
    assert_events(
        lab.run("run"),
        *("workflow:started", "step:started a", "step:completed a", "step:started fail", "step:failed fail"),
        "workflow:failed",
    )


def test_the_failed_step_itself_is_not_undone_unless_it_says_so(lab: Engine) -> None:
    undo = Undo()
    workflow = steps(Workflow("w"), undo, "a")
    workflow.step("plain", lambda: 1).step("fail", fail, retry=1, compensate=undo)
    failed(lab, workflow)

    assert undo.done == ["a"]


def test_a_failed_step_that_says_so_is_undone_first_and_has_no_result(lab: Engine) -> None:
    undo, results = Undo(), []

    def undo_it(ctx: Context[Any]) -> None:
        results.append(ctx.result)
        undo(ctx)

    workflow = steps(Workflow("w"), undo, "a")
    workflow.step("fail", fail, retry=1, compensate=undo_it, compensate_on_failure=True)
    failed(lab, workflow)

    assert undo.done == ["fail", "a"]
    assert results == [None]


def test_a_failed_step_is_undone_by_an_undo_that_is_decorated_after_it(lab: Engine) -> None:
    undone = []

    @step(retry=1, compensate_on_failure=True)
    def charge() -> None:
        raise ValueError

    @charge.compensate
    def refund() -> None:
        undone.append("charge")

    failed(lab, Workflow("w").step(charge))

    assert undone == ["charge"]


def test_an_undo_that_fails_is_recorded_and_the_others_still_run(lab: Engine) -> None:
    undo = Undo(b=[NonRetryable("no refunds")])
    recorder = record(lab)

    failure = failed(lab, failing(undo, "a", "b", "c"))

    assert undo.done == ["c", "a"]
    assert failure.rollback == "partial"
    assert str(failure.error) == "ValueError: no stock", "the run fails for what made it fail"
    assert compensations(lab.run("run")) == {"a": "completed", "b": "failed", "c": "completed", "fail": None}
    broken = next(event for event in recorder if event.type == "compensation:failed")
    assert str(broken.error) == "perdure.NonRetryable: no refunds"  # type: ignore[attr-defined]


def test_an_undo_is_retried_by_its_steps_policy(lab: Engine) -> None:
    undo = Undo(a=[OSError(), OSError()])
    run = lab.register(failing(undo, "a", retry=Retry(attempts=3, initial=10, factor=1, jitter=0))).start("w")

    lab.advance(minutes=5)

    assert run.wait(PATIENCE).rollback == "complete"
    assert [(attempt, moment - START) for _, attempt, moment in undo.calls] == [
        (1, timedelta(0)),
        (2, timedelta(seconds=10)),
        (3, timedelta(seconds=20)),
    ]


def test_an_undo_may_have_a_policy_of_its_own(lab: Engine) -> None:
    undo = Undo(a=[OSError()] * 5)
    workflow = failing(Compensation(undo, retry=Retry(attempts=5, initial=1, factor=1, jitter=0)), "a", retry=1)
    run = lab.register(workflow).start("w")

    lab.advance(minutes=5)

    assert run.wait(PATIENCE).rollback == "partial"
    assert len(undo.calls) == 5


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_an_undo_has_a_time_limit(colour: str, lab: Engine, frozen: Any) -> None:
    begun, release = threading.Event(), threading.Event()
    undone: list[str] = []

    def slow() -> None:
        begun.set()
        release.wait(PATIENCE)

    async def slow_too() -> None:
        begun.set()
        await asyncio.Event().wait()

    slow_undo: Any = slow if colour == "def" else slow_too
    workflow = steps(Workflow("w"), lambda: undone.append("a"), "a")
    workflow.step("slow", lambda: 1, compensate=Compensation(slow_undo, retry=1, timeout=5)).step("fail", fail, retry=1)
    run = lab.register(workflow).start("w")
    assert begun.wait(PATIENCE)

    frozen.tick(5)

    assert run.wait(PATIENCE).rollback == "partial"
    assert undone == ["a"]
    release.set()


def test_an_undo_sees_what_its_step_returned_and_saw(lab: Engine) -> None:
    seen: list[Any] = []

    def undo(ctx: Context[Any]) -> None:
        seen.append((ctx.result, ctx.input, ctx.steps["a"], ctx.idempotency_key, ctx.attempt))

    run = lab.register(failing(undo, "a", "b")).start("w", {"order": 7}, id="run")
    run.wait(PATIENCE)

    assert seen == [("b", {"order": 7}, "a", "run:undo:b", 1), ("a", {"order": 7}, "a", "run:undo:a", 1)]


def test_a_parallel_group_is_undone_in_the_order_of_its_declaration_whichever_strand_came_first(lab: Engine) -> None:
    undo = Undo()
    third, second = threading.Event(), threading.Event()

    def first_strand() -> None:
        second.wait(PATIENCE)

    def second_strand() -> None:
        third.wait(PATIENCE)
        second.set()

    workflow = (
        Workflow("w")
        .parallel(
            lambda strand: strand.step("first", first_strand, compensate=undo),
            lambda strand: strand.step("second", second_strand, compensate=undo),
            lambda strand: strand.step("third", third.set, compensate=undo),
        )
        .step("fail", fail, retry=1)
    )
    failed(lab, workflow)

    assert undo.done == ["third", "second", "first"]


def test_when_a_strand_fails_those_that_completed_are_undone_after_all_have_ended(lab: Engine) -> None:
    undo = Undo()
    failing_began, go_on = threading.Event(), threading.Event()

    def fails() -> None:
        failing_began.set()
        raise OSError

    def slow() -> None:
        failing_began.wait(PATIENCE)
        go_on.wait(PATIENCE)

    workflow = Workflow("w").parallel(
        lambda strand: strand.step("fails", fails, retry=1, compensate=undo),
        lambda strand: strand.step("slow", slow, compensate=undo),
    )
    run = lab.register(workflow).start("w")
    assert failing_began.wait(PATIENCE)
    assert undo.done == []
    go_on.set()

    assert run.wait(PATIENCE).rollback == "complete"
    assert undo.done == ["slow"]


def test_several_strands_that_fail_are_all_told_of(lab: Engine) -> None:
    def fails(ctx: Context[Any]) -> None:
        raise OSError(ctx.step_name)

    workflow = Workflow("w").parallel(
        lambda group: group.step("a", fails, retry=1).step("b", lambda: 1).step("c", fails, retry=1)
    )
    error = failed(lab, workflow).error

    assert error is not None
    assert error.type == "perdure.ParallelFailed"
    assert [(cause.step, cause.message) for cause in error.causes] == [("a", "a"), ("c", "c")]


def test_every_turn_of_a_loop_and_every_item_of_a_for_each_is_undone(lab: Engine) -> None:
    seen: list[tuple[Any, ...]] = []

    def undo(ctx: Context[Any]) -> None:
        seen.append((ctx.step_name, ctx.turn, ctx.item, ctx.index, ctx.result, ctx.idempotency_key))

    workflow = (
        Workflow("w")
        .do_while(lambda ctx, turn: turn < 2, lambda body: body.step("turn", lambda ctx: ctx.turn, compensate=undo))
        .for_each(lambda: ["x", "y"], "item", lambda ctx: ctx.item * 2, compensate=undo)
        .step("fail", fail, retry=1)
    )
    failed(lab, workflow)

    assert seen == [
        ("item:1", None, "y", 1, "yy", "run:undo:item:1"),
        ("item:0", None, "x", 0, "xx", "run:undo:item:0"),
        ("turn", 2, None, None, 2, "run:undo:turn@2"),
        ("turn", 1, None, None, 1, "run:undo:turn@1"),
    ]


def test_a_condition_that_raises_is_a_failure_and_is_undone(lab: Engine) -> None:
    undo = Undo()

    def condition(ctx: Context[Any], turn: int) -> bool:
        raise ZeroDivisionError

    workflow = steps(Workflow("w"), undo, "a").do_until(condition, lambda body: body.step("b", lambda: 1), name="loop")
    failure = failed(lab, workflow)

    assert (failure.step, failure.rollback, undo.done) == ("loop", "complete", ["a"])


def test_past_a_pivot_nothing_is_undone(lab: Engine) -> None:
    undo = Undo()
    workflow = steps(steps(Workflow("w"), undo, "a").pivot(), undo, "b").step("fail", fail, retry=1)

    assert failed(lab, workflow).rollback == "none"
    assert undo.done == []


def test_before_a_pivot_everything_is_undone(lab: Engine) -> None:
    undo = Undo()
    workflow = steps(Workflow("w"), undo, "a").step("fail", fail, retry=1).pivot()

    assert failed(lab, workflow).rollback == "complete"
    assert undo.done == ["a"]


# ---- restarts


def test_a_rollback_goes_on_where_it_stood_after_a_restart(lab: Engine) -> None:
    undo = Undo(b=[KeyboardInterrupt()])
    lab.register(failing(undo, "a", "b", "c")).start("w", id="run")
    lab.settle()
    assert (lab.run("run").state, undo.done) == (State.COMPENSATING, ["c"])

    fresh = restart(lab)

    assert fresh.run("run").wait(PATIENCE).rollback == "complete"
    assert undo.done == ["c", "b", "a"]
    assert undo.failures == {"ValueError: no stock"}


def test_the_delay_before_an_undos_next_attempt_survives_a_restart(lab: Engine, frozen: Any) -> None:
    undo = Undo(a=[OSError()])
    lab.register(failing(undo, "a", retry=Retry(initial=100, maximum=100, jitter=0))).start("w", id="run")
    lab.settle()
    frozen.tick(60)

    fresh = restart(lab)
    fresh.settle()
    assert (fresh.run("run").state, len(undo.calls)) == (State.COMPENSATING, 1)
    fresh.advance(minutes=5)

    assert fresh.run("run").wait(PATIENCE).rollback == "complete"
    assert [moment - START for _, _, moment in undo.calls] == [timedelta(0), timedelta(seconds=100)]


def test_the_outcome_of_an_undo_that_failed_is_known_after_a_restart(lab: Engine) -> None:
    undo = Undo(c=[NonRetryable("no")], a=[KeyboardInterrupt()])
    lab.register(failing(undo, "a", "b", "c")).start("w", id="run")
    lab.settle()

    fresh = restart(lab)

    assert fresh.run("run").wait(PATIENCE).rollback == "partial"
    assert compensations(fresh.run("run")) == {"a": "completed", "b": "completed", "c": "failed", "fail": None}
    assert [name for name, _, _ in undo.calls] == ["c", "b", "a", "a"]


def test_a_cancelled_run_is_undone_on_after_a_restart_and_ends_as_cancelled(lab: Engine) -> None:
    undo = Undo(a=[KeyboardInterrupt()])
    run = lab.register(steps(Workflow("w"), undo, "a", "b").wait_for("never")).start("w", id="run")
    lab.settle()
    run.cancel()
    lab.settle()

    fresh = restart(lab)

    with pytest.raises(WorkflowCancelled):
        fresh.run("run").result(PATIENCE)
    assert undo.done == ["b", "a"]


def test_no_item_runs_forward_again_in_a_rollback_that_was_cut_short(lab: Engine) -> None:
    undo = Undo(first=[KeyboardInterrupt()])
    forward: list[int | None] = []
    second_failed = threading.Event()

    def act(ctx: Context[Any]) -> None:
        forward.append(ctx.index)
        if ctx.index == 1:
            raise OSError
        if ctx.index == 2:
            second_failed.wait(PATIENCE)

    lab.on("step:failed", lambda event: second_failed.set())
    workflow = steps(Workflow("w"), undo, "first")
    workflow.for_each(lambda: list(range(9)), "each", act, retry=1, concurrency=2, compensate=undo)
    lab.register(workflow).start("w", id="run")
    lab.settle()
    began = sorted(index for index in forward if index is not None)

    fresh = restart(lab)

    assert fresh.run("run").wait(PATIENCE).rollback == "complete"
    assert sorted(index for index in forward if index is not None) == began


# ---- children


def family(undo: Any, **options: Any) -> tuple[Flow, Flow]:
    child = steps(Workflow("child"), undo, "c", **options)
    parent = steps(Workflow("w"), undo, "a").sub_workflow(child)
    return steps(parent, undo, "b").step("fail", fail, retry=1), child


def test_a_child_that_completed_is_undone_in_its_place(lab: Engine) -> None:
    undo = Undo()
    parent, child = family(undo)
    lab.register(parent, child)

    failure = failed(lab, parent)

    assert undo.done == ["b", "c", "a"]
    assert failure.rollback == "complete"
    assert compensations(lab.run("run"))["sub:child"] == "completed"
    states = {execution.workflow_name: execution.state for execution in lab.list_executions()}
    assert states == {"w": State.FAILED, "child": State.CANCELLED}


@pytest.mark.parametrize("end", ["fails", "is cancelled with its parent"])
def test_a_child_that_ends_by_itself_and_cannot_be_undone_makes_the_parents_rollback_partial(
    lab: Engine, end: str
) -> None:
    undo = Undo(c=[NonRetryable("no")])
    child = Workflow("child").step("c", lambda: 1, compensate=Compensation(undo, retry=1)).wait_for("go")
    parent = Workflow("w").step("a", lambda: 1, compensate=undo).sub_workflow("child")
    lab.register(parent, child.step("fail", lambda: 1 // 0, retry=1))
    run = lab.start("w", id="run")
    lab.settle()
    [waiting] = lab.list_executions("child")
    if end == "fails":
        lab.signal(waiting.id, "go")
    else:
        run.cancel()

    ended = run.wait(PATIENCE)

    assert (ended.rollback, undo.done) == ("partial", ["a"])
    [fact] = [fact for fact in ended._stored.facts if fact.key == "sub:child"]
    assert fact.error is not None
    assert fact.error.message.endswith("sub-workflow 'child' was undone only in part: 'c': no")


def test_a_child_that_can_only_be_undone_in_part_makes_the_parents_rollback_partial(lab: Engine) -> None:
    undo = Undo(c=[NonRetryable("no")])
    lab.register(*family(undo))
    run = lab.start("w", id="run")

    assert run.wait(PATIENCE).rollback == "partial"
    assert undo.done == ["b", "a"]
    assert compensations(run)["sub:child"] == "failed"


def test_who_undoes_a_child_is_told_what_could_not_be_undone_and_why(lab: Engine) -> None:
    child = steps(Workflow("child"), Undo(c=[NonRetryable("no refunds"), NonRetryable("none")]), "c")
    lab.register(child, Workflow("middle").sub_workflow("child").wait_for("go"))
    lab.register(Workflow("w").sub_workflow("middle").step("fail", fail, retry=1))
    recorder = record(lab)
    run = lab.start("w")
    lab.settle()
    [middle] = lab.list_executions("middle")
    lab.signal(middle.id, "go")
    run.wait(PATIENCE)

    told = [event for event in recorder if isinstance(event, CompensationFailed) and event.execution_id == run.id]
    [error] = [event.error for event in told if event.error is not None]
    assert (error.type, error.step) == ("perdure.ChildFailed", "sub:middle")
    assert error.message == (
        "sub-workflow 'middle' was undone only in part: 'sub:child': "
        "sub-workflow 'child' was undone only in part: 'c': no refunds"
    )
    assert [attempt.error for attempt in lab.history(run.id) if attempt.kind == "compensation"] == [error]


def test_who_undoes_a_child_is_told_that_it_was_terminated_meanwhile(lab: Engine) -> None:
    child = steps(Workflow("child"), Undo(c=[OSError()]), "c", retry=Retry(initial=100, maximum=100, jitter=0))
    lab.register(child, Workflow("w").sub_workflow("child").step("fail", fail, retry=1))
    run = lab.start("w")
    lab.settle()
    [undoing] = lab.list_executions("child")
    lab.terminate(undoing.id, reason="hopeless")

    assert run.wait(PATIENCE).rollback == "partial"
    [undo] = [attempt for attempt in lab.history(run.id) if attempt.kind == "compensation"]
    assert undo.error is not None
    assert undo.error.message == "sub-workflow 'child' was undone only in part: hopeless"


def test_a_childs_undo_that_waits_for_its_next_attempt_is_not_forgotten_by_a_restart(lab: Engine) -> None:
    undo = Undo(c=[OSError()])
    lab.register(*family(undo, retry=Retry(initial=100, maximum=100, jitter=0))).start("w", id="run")
    lab.settle()
    assert lab.run("run").state is State.COMPENSATING

    fresh = restart(lab)
    fresh.settle()
    fresh.advance(minutes=5)

    assert fresh.run("run").wait(PATIENCE).rollback == "complete"
    assert undo.done == ["b", "c", "a"]


@pytest.mark.parametrize("retire", ["cleanup", "archive"])
def test_a_grandchild_is_kept_as_long_as_it_may_have_to_be_undone(retire: str, lab: Engine, frozen: Any) -> None:
    undo = Undo()
    grandchild = steps(Workflow("grandchild"), undo, "g")
    child = steps(Workflow("child"), undo, "c").sub_workflow(grandchild)
    parent = Workflow("w").sub_workflow(child).wait_for("go").step("fail", fail, retry=1)
    run = lab.register(parent, child, grandchild).start("w", id="run")
    lab.settle()
    frozen.tick(100)

    assert getattr(lab, retire)(0) == 0
    run.signal("go")

    assert run.wait(PATIENCE).rollback == "complete"
    assert undo.done == ["g", "c"]


def test_a_child_whose_workflow_has_nothing_to_undo_is_simply_undone(lab: Engine) -> None:
    child = Workflow("child").step("c", lambda: 1)
    parent = Workflow("w").sub_workflow(child).step("fail", fail, retry=1)
    run = lab.register(parent, child).start("w")

    assert run.wait(PATIENCE).rollback == "complete"
