"""What handlers tell while they run: progress that is shown, checkpoints for the next attempt, and being cancelled."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from perdure import Context, Engine, Retry, State, Workflow, WorkflowFailed
from perdure.events import StepProgress
from perdure.testing import restart, run_step
from perdure.testing.freezing import START
from tests.patience import PATIENCE


def progress_of(engine: Engine, step: str) -> tuple[Any, ...] | None:
    shown = engine.get_execution("run")
    assert shown is not None
    told = shown.steps[step].progress
    return None if told is None else (told.done, told.total, told.note)


def test_progress_is_shown_while_the_handler_runs_and_after_it_and_told_by_an_event(lab: Engine) -> None:
    told, go_on = threading.Event(), threading.Event()
    events: list[StepProgress] = []

    def work(ctx: Context[Any]) -> None:
        ctx.progress(1, 3, "reading")
        go_on.wait(PATIENCE)
        ctx.progress(3, 3)

    def hear(event: StepProgress) -> None:
        events.append(event)
        told.set()

    lab.on(StepProgress, hear)
    run = lab.register(Workflow("w").step("work", work)).start("w", id="run")
    assert told.wait(PATIENCE)
    assert progress_of(lab, "work") == (1, 3, "reading")
    go_on.set()
    run.result(PATIENCE)

    assert progress_of(lab, "work") == (3, 3, None)
    assert [(event.step, event.attempt, event.done, event.total, event.note) for event in events] == [
        ("work", 1, 1, 3, "reading"),
        ("work", 1, 3, 3, None),
    ]
    assert lab.next_deadline() is None


def test_a_handler_that_tells_a_hundred_thousand_times_is_written_down_a_few_times(lab: Engine) -> None:
    heard: list[Any] = []
    lab.on(StepProgress, heard.append)

    def work(ctx: Context[Any]) -> None:
        for number in range(100_001):
            ctx.progress(number)

    lab.register(Workflow("w").step("work", work)).start("w", id="run").result(PATIENCE)

    assert progress_of(lab, "work") == (100_000, None, None)
    assert 2 <= len(heard) < 10, "time stands still: the first, the last with the outcome, and what was on its way"


def test_a_coroutine_may_tell_from_a_thread_of_its_own(lab: Engine) -> None:
    async def work(ctx: Context[Any]) -> None:
        ctx.progress(1)
        await asyncio.to_thread(ctx.progress, 2, 2)
        await asyncio.to_thread(ctx.checkpoint, "half")

    lab.register(Workflow("w").step("work", work)).start("w", id="run").result(PATIENCE)

    assert progress_of(lab, "work") == (2, 2, None)


def test_the_next_attempt_begins_with_the_last_checkpoint(lab: Engine) -> None:
    seen: list[Any] = []

    def work(ctx: Context[Any]) -> int:
        seen.append(ctx.checkpointed)
        done = ctx.checkpointed or 0
        for number in range(done, 5):
            if number == 2 * ctx.attempt:
                raise OSError
            ctx.checkpoint(number + 1)
        return int(ctx.checkpointed)

    workflow = Workflow("w").step("work", work, retry=Retry(attempts=5, initial=1))
    run = lab.register(workflow).start("w")
    lab.advance(minutes=5)

    assert run.result(PATIENCE) == 5
    assert seen == [None, 2, 4]


def test_a_checkpoint_survives_a_crash_and_a_step_of_the_next_turn_does_not_see_it(lab: Engine) -> None:
    seen: list[Any] = []

    def work(ctx: Context[Any]) -> None:
        seen.append((ctx.turn, ctx.checkpointed))
        ctx.checkpoint({"turn": ctx.turn, "at": ctx.attempt})
        if ctx.turn == 1 and ctx.attempt < 3:
            raise OSError

    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 2, lambda w: w.step("work", work, retry=Retry(attempts=5, initial=60))
    )
    lab.register(workflow).start("w", id="run")
    lab.settle()

    with restart(lab) as again:
        again.advance(minutes=10)
        shown = again.get_execution("run")

    assert shown is not None
    assert shown.state is State.COMPLETED
    assert seen == [(1, None), (1, {"turn": 1, "at": 1}), (1, {"turn": 1, "at": 2}), (2, None)]


def test_an_attempt_that_timed_out_leaves_its_checkpoint_and_sees_that_it_is_cancelled(
    lab: Engine, frozen: Any
) -> None:
    seen: list[Any] = []
    begun, over = threading.Event(), threading.Event()

    def work(ctx: Context[Any]) -> str:
        seen.append(ctx.checkpointed)
        if ctx.attempt > 1:
            return "done"
        ctx.checkpoint("half")
        begun.set()
        while not ctx.cancelled:
            over.wait(0.001)
        ctx.checkpoint("too late")
        over.set()
        return "late"

    run = lab.register(Workflow("w").step("work", work, timeout=5, retry=Retry(initial=0))).start("w")
    assert begun.wait(PATIENCE)
    frozen.move_to(START + timedelta(seconds=5))

    assert run.result(PATIENCE) == "done"
    assert over.wait(PATIENCE)
    assert seen == [None, "half"]


def test_a_cancelled_run_is_seen_by_its_handlers(lab: Engine) -> None:
    begun = threading.Event()

    def work(ctx: Context[Any]) -> str:
        begun.set()
        while not ctx.cancelled:
            pass
        return "noticed"

    run = lab.register(Workflow("w").step("work", work)).start("w")
    assert begun.wait(PATIENCE)
    run.cancel()

    shown = run.wait(PATIENCE)
    assert (shown.state, shown.steps["work"].result) == (State.CANCELLED, "noticed")


def test_a_compensation_tells_and_leaves_checkpoints_as_a_step_does(lab: Engine) -> None:
    seen: list[Any] = []

    def undo(ctx: Context[Any]) -> None:
        seen.append(ctx.checkpointed)
        ctx.progress(1, 2)
        ctx.checkpoint("half undone")
        if len(seen) == 1:
            raise OSError

    def fails() -> None:
        raise OSError

    workflow = Workflow("w").step("act", lambda: 1, compensate=undo).step("fails", fails, retry=1)
    run = lab.register(workflow).start("w")
    lab.advance(minutes=5)

    assert run.state is State.FAILED
    assert seen == [None, "half undone"]


@pytest.mark.parametrize(
    ("tell", "kind", "said"),
    [
        (lambda ctx: ctx.progress("half"), "perdure.UsageError", "must be a number"),
        (lambda ctx: ctx.progress(1, note=3), "perdure.UsageError", "must be text"),
        (lambda ctx: ctx.checkpoint(object()), "perdure.NotStorable", "object"),
    ],
)
def test_what_cannot_be_told_fails_where_it_is_told(lab: Engine, tell: Any, kind: str, said: str) -> None:
    run = lab.register(Workflow("w").step("work", tell, retry=1)).start("w")

    with pytest.raises(WorkflowFailed, match=said) as failure:
        run.result(PATIENCE)
    assert failure.value.error is not None
    assert failure.value.error.type == kind


def test_a_selector_has_nothing_to_tell(lab: Engine) -> None:
    workflow = Workflow("w").branch(lambda ctx: str(ctx.checkpointed)).path("a", lambda w: w.step("s", lambda: 1))
    run = lab.register(workflow).start("w")

    with pytest.raises(WorkflowFailed, match="is no handler"):
        run.result(PATIENCE)


def test_a_handler_that_is_run_alone_may_tell_too() -> None:
    def work(ctx: Context[Any]) -> Any:
        ctx.progress(1, 2)
        ctx.checkpoint([1])
        return ctx.checkpointed

    assert run_step(work) == [1]
