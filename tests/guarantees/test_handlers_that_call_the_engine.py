"""A handler may call the engine it runs on: what would wait for itself is refused at once, everything else works."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from perdure import Engine, WaitTimeout, Workflow, WorkflowFailed, WouldDeadlock
from perdure.testing import freeze
from perdure.testing.leaks import close_cleanly, unique_name
from tests.patience import PATIENCE

leaf: Workflow[int, int] = Workflow("leaf", input=int).step("double", lambda ctx: ctx.input * 2)


@pytest.fixture
def narrow(location: str) -> Iterator[Engine]:
    """An engine with room for one run and one thread."""
    engine = Engine(location, leaf, concurrency=1, threads=1, queue_name=unique_name())
    yield engine
    close_cleanly(engine)


def result_of(engine: Engine, handler: Callable[..., Any], **options: Any) -> Any:
    engine.register(Workflow("caller").step("call", handler, retry=1, **options))
    return engine.start("caller", id="caller").result(PATIENCE)


def test_a_handler_may_wait_for_another_run_though_there_is_room_for_one_only(narrow: Engine) -> None:
    assert result_of(narrow, lambda: narrow.start(leaf, 4).result()) == 8


def test_a_handler_may_wait_for_many_runs_each_of_which_waits_for_another(narrow: Engine) -> None:
    def descend(ctx: Any) -> Any:
        return 0 if ctx.input == 0 else 1 + narrow.start("down", ctx.input - 1).result()

    narrow.register(Workflow("down", input=int).step("descend", descend))
    assert narrow.start("down", 20).result(PATIENCE) == 20


def test_a_coroutine_may_await_other_runs_though_there_is_room_for_one_only(narrow: Engine) -> None:
    async def call() -> list[Any]:
        return await asyncio.gather(*(_of(narrow.start(leaf, number)) for number in range(3)))

    assert result_of(narrow, call) == [0, 2, 4]


async def _of(run: Any) -> Any:
    return await run


def test_a_coroutine_that_would_stop_the_event_loop_is_told_to_await(narrow: Engine) -> None:
    async def call() -> Any:
        return narrow.start(leaf, 1).result()

    with pytest.raises(WorkflowFailed, match=r"WouldDeadlock.*await run"):
        result_of(narrow, call)


def test_after_waiting_a_handler_counts_again_and_nobody_else_begins_beside_it(narrow: Engine) -> None:
    at_work: list[int] = []
    most: list[int] = []
    guard = threading.Lock()

    def work(ctx: Any) -> None:
        with guard:
            at_work.append(1)
            most.append(len(at_work))
        narrow.get_execution("caller")
        with guard:
            at_work.pop()

    def call() -> None:
        narrow.start(leaf, 1).result()
        runs = [narrow.start("work") for _ in range(5)]
        work(None)
        for run in runs:
            run.result()

    narrow.register(Workflow("work").step("work", work))
    result_of(narrow, call)
    assert narrow._machine.crew._free == 1
    assert narrow._machine.crew._busy == {}
    assert max(most) == 1
    assert len(most) == 6


def test_a_wait_that_is_given_up_leaves_the_handler_at_work(narrow: Engine) -> None:
    narrow.register(Workflow("never").wait_for("go"))

    def call() -> str:
        with pytest.raises(WaitTimeout):
            narrow.start("never").result(timeout=0)
        return "went on"

    assert result_of(narrow, call) == "went on"
    assert narrow._machine.crew._free == 1


def test_a_handler_whose_time_is_up_while_it_waits_for_another_run_is_given_up(location: str) -> None:
    with freeze(), Engine(location, leaf, concurrency=1, queue_name=unique_name()) as engine:
        engine.register(Workflow("never").wait_for("go"))
        engine.register(
            Workflow("caller").step("call", lambda: engine.start("never", id="n").result(), retry=1, timeout=5)
        )
        run = engine.start("caller")
        engine.settle()
        assert engine.run("n").state == "waiting"
        engine.advance(timedelta(seconds=5))
        assert run.state == "failed"
        assert engine.start(leaf, 1).result(PATIENCE) == 2
        engine.signal("n", "go")
        engine.settle()


@pytest.mark.parametrize("seed", [None, 0])
def test_time_can_be_moved_on_while_a_handler_waits_for_a_run_that_sleeps(seed: int | None, location: str) -> None:
    with freeze(), Engine(location, concurrency=1, seed=seed, queue_name=unique_name()) as engine:
        engine.register(Workflow("nap").sleep("nap", timedelta(days=1)).step("wake", lambda: "awake"))
        engine.register(Workflow("caller").step("call", lambda: engine.start("nap").result()))
        run = engine.start("caller")
        engine.advance(timedelta(days=1))
        assert (run.state, run.result(0)) == ("completed", "awake")


def test_a_task_that_a_handler_leaves_waiting_does_not_count(narrow: Engine) -> None:
    narrow.register(Workflow("late").wait_for("go"))
    tasks: list[Any] = []

    async def call() -> str:
        tasks.append(asyncio.ensure_future(_of(narrow.start("late", id="late"))))
        await asyncio.sleep(0)
        return "done"

    assert result_of(narrow, call) == "done"
    narrow.settle()
    assert narrow.start(leaf, 1).result(PATIENCE) == 2
    narrow.signal("late", "go")
    narrow.run("late").wait(PATIENCE)
    narrow.settle()
    assert narrow._machine.crew._free == 1


def test_a_handler_may_signal_and_cancel_its_own_run(narrow: Engine) -> None:
    undone: list[str] = []
    narrow.register(
        Workflow("signals").step("signal", lambda ctx: narrow.signal(ctx.execution_id, "go", "me")).wait_for("go"),
        Workflow("cancels")
        .step("book", lambda: 1, compensate=lambda: undone.append("book"))
        .step("cancel", lambda ctx: narrow.cancel(ctx.execution_id))
        .step("never", lambda: undone.append("never")),
    )
    assert narrow.start("signals").result(PATIENCE) == "me"
    assert narrow.start("cancels").wait(PATIENCE).state == "cancelled"
    assert undone == ["book"]


@pytest.mark.parametrize("verb", ["result", "wait", "close", "settle", "advance"])
def test_what_would_wait_for_itself_is_refused_at_once(verb: str, narrow: Engine) -> None:
    calls: dict[str, Callable[[Any], Any]] = {
        "result": lambda ctx: narrow.run(ctx.execution_id).result(),
        "wait": lambda ctx: narrow.run(ctx.execution_id).wait(),
        "close": lambda ctx: narrow.close(),
        "settle": lambda ctx: narrow.settle(),
        "advance": lambda ctx: narrow.advance(seconds=1),
    }

    def call(ctx: Any) -> str:
        with pytest.raises(WouldDeadlock):
            calls[verb](ctx)
        return "refused"

    assert result_of(narrow, call) == "refused"


def test_a_handler_may_close_the_engine_by_force_and_its_run_goes_on_at_the_next_start(location: str) -> None:
    closed = threading.Event()

    def close(ctx: Any) -> str:
        if ctx.attempt == 1:
            engine.close(force=True)
            closed.set()
        return f"attempt {ctx.attempt}"

    workflow = Workflow("w").step("close", close)
    engine = Engine(location, workflow, durability="normal")
    engine.start(workflow, id="x")
    assert closed.wait(PATIENCE)
    with Engine(location, workflow, durability="normal") as heir:
        assert heir.run("x").result(PATIENCE) == "attempt 2"
