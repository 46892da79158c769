"""Time limits: what becomes of an attempt that takes too long, and of its late answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from perdure import Context, Engine, Retry, State, Workflow, WorkflowFailed
from perdure.testing import assert_events, record
from tests.patience import PATIENCE


def test_a_handler_that_takes_too_long_has_failed_its_attempt(lab: Engine, frozen: Any) -> None:
    recorder = record(lab)
    begun, release, came_late = threading.Event(), threading.Event(), threading.Event()
    lab.on("step:late", lambda event: came_late.set())

    def slow(ctx: Context[Any]) -> str:
        if ctx.attempt == 1:
            begun.set()
            release.wait(PATIENCE)
            return "late"
        return "in time"

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert begun.wait(PATIENCE)

    frozen.tick(5)

    assert run.result(PATIENCE) == "in time"
    release.set()
    assert came_late.wait(PATIENCE)
    assert_events(
        run,
        *("workflow:started", "step:started slow", "step:timeout slow", "step:retry slow", "step:started slow"),
        *("step:completed slow", "workflow:completed", "step:late slow"),
    )
    assert [event.sequence for event in recorder.events(run)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run.wait(PATIENCE).steps["slow"].result == "in time"


def test_a_time_limit_cancels_a_coroutine(lab: Engine, frozen: Any) -> None:
    begun = threading.Event()
    cancelled: list[int] = []

    async def slow(ctx: Context[Any]) -> str:
        if ctx.attempt == 2:
            return "in time"
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(ctx.attempt)
            raise
        raise AssertionError

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert begun.wait(PATIENCE)

    frozen.tick(5)

    assert run.result(PATIENCE) == "in time"
    assert cancelled == [1]


def test_a_cancelled_coroutine_that_tidies_up_for_long_does_not_harm_the_next_attempt(lab: Engine, frozen: Any) -> None:
    first, second, tidied = threading.Event(), threading.Event(), threading.Event()

    async def slow(ctx: Context[Any]) -> str:
        loop = asyncio.get_running_loop()
        if ctx.attempt == 1:
            try:
                first.set()
                await asyncio.Event().wait()
            finally:
                await loop.run_in_executor(None, second.wait, 10)
                loop.call_later(0, tidied.set)
        second.set()
        await loop.run_in_executor(None, tidied.wait, 10)
        return "second"

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert first.wait(PATIENCE)

    frozen.tick(5)

    assert run.result(PATIENCE) == "second"


def test_the_error_of_the_last_attempt_that_took_too_long_says_so(lab: Engine, frozen: Any) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        release.wait(PATIENCE)

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=1)).start("w")
    assert begun.wait(PATIENCE)
    frozen.tick(5)

    with pytest.raises(WorkflowFailed, match=r"perdure.StepTimeout: .*'slow'.* 5 s"):
        run.result(PATIENCE)
    release.set()


def test_a_time_limit_of_zero_or_none_is_no_limit(lab: Engine) -> None:
    workflow = Workflow("w").step("zero", lambda: 0, timeout=0).step("none", lambda: 1, timeout=None)

    assert lab.register(workflow).start("w").result(PATIENCE) == 1
    assert lab.next_deadline() is None


def test_a_late_result_of_one_turn_is_not_taken_for_that_of_the_next(lab: Engine, frozen: Any) -> None:
    first, late, second, finish, came_late = (threading.Event() for _ in range(5))
    lab.on("step:late", lambda event: came_late.set())

    def slow(ctx: Context[Any]) -> str:
        if (ctx.turn, ctx.attempt) == (1, 1):
            first.set()
            late.wait(PATIENCE)
            return "late, of turn 1"
        if (ctx.turn, ctx.attempt) == (2, 1):
            second.set()
            finish.wait(PATIENCE)
        return f"turn {ctx.turn}"

    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 2, lambda body: body.step("slow", slow, timeout=5, retry=Retry(initial=0))
    )
    run = lab.register(workflow).start("w")
    assert first.wait(PATIENCE)
    frozen.tick(5)
    assert second.wait(PATIENCE)

    late.set()
    assert came_late.wait(PATIENCE)
    finish.set()

    assert run.result(PATIENCE) == "turn 2"


def test_a_context_says_when_its_answer_is_no_longer_wanted(lab: Engine, frozen: Any) -> None:
    seen: list[bool] = []
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def slow(ctx: Context[Any]) -> None:
        seen.append(ctx.cancelled)
        begun.set()
        release.wait(PATIENCE)
        seen.append(ctx.cancelled)
        done.set()

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=1)).start("w")
    assert begun.wait(PATIENCE)
    frozen.tick(5)
    assert run.wait(PATIENCE).state is State.FAILED
    release.set()
    assert done.wait(PATIENCE)

    assert seen == [False, True]
