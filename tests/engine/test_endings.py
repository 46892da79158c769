"""Nobody waits for what cannot come: at the close, in a handler, after a cancel, beside a child that is set aside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from perdure import Context, Engine, EngineClosed, Event, Run, UnknownWorkflow, Workflow, WorkflowFailed, WouldDeadlock
from tests.patience import PATIENCE

"""Real seconds after which a test that would hang is given up."""


def gate() -> Workflow[Any, Any]:
    return Workflow("gate").wait_for("go")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def list_of(events: Iterator[Event]) -> list[str]:
    return [event.type for event in events]


@pytest.mark.parametrize("timeout", [None, 60])
def test_whoever_waits_for_a_result_is_told_that_the_engine_was_closed(
    timeout: float | None, pool: ThreadPoolExecutor
) -> None:
    with Engine(None, gate()) as engine:
        run = engine.start("gate")
        run.wait(PATIENCE, until="waiting")
        result = pool.submit(run.result, timeout)
        state = pool.submit(run.wait, timeout, until="compensating")
        while len(engine._machine.endings._waiting.get(run.id, ())) < 2:  # both wait
            threading.Event().wait(0)
    with pytest.raises(EngineClosed):
        result.result(PATIENCE)
    with pytest.raises(EngineClosed):
        state.result(PATIENCE)


def test_whoever_awaits_a_run_is_told_that_the_engine_was_closed() -> None:
    async def main() -> None:
        engine = Engine(None, gate())
        waiter = asyncio.ensure_future(_of(engine.start("gate")))
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.close)
        with pytest.raises(EngineClosed):
            await asyncio.wait_for(waiter, PATIENCE)

    asyncio.run(main())


async def _of(run: Run[Any]) -> Any:
    return await run


def test_the_events_of_a_run_end_when_the_engine_is_closed(pool: ThreadPoolExecutor) -> None:
    with Engine(None, gate()) as engine:
        run = engine.start("gate")
        run.wait(PATIENCE, until="waiting")
        events = pool.submit(list_of, run.events())
    assert events.result(PATIENCE) == []


def test_the_events_of_a_run_end_after_its_last_one(pool: ThreadPoolExecutor) -> None:
    with Engine(None, gate()) as engine:
        run = engine.start("gate")
        run.wait(PATIENCE, until="waiting")
        events = pool.submit(list_of, run.events())
        run.signal("go")
        assert events.result(PATIENCE) == ["signal:received", "workflow:completed"]


async def ask_for_the_result(run: Run[Any]) -> Any:
    return run.result(PATIENCE)


@pytest.mark.parametrize("wait", [ask_for_the_result, _of], ids=["result", "await"])
def test_a_coroutine_cannot_wait_for_the_run_it_works_for(wait: Callable[[Run[Any]], Awaitable[Any]]) -> None:
    async def handler(ctx: Context[Any]) -> Any:
        return await wait(engine.run(ctx.execution_id))

    with Engine(None, Workflow("own").step("a", handler, retry=1)) as engine:
        with pytest.raises(WorkflowFailed) as failed:
            engine.start("own").result(PATIENCE)
        assert failed.value.error is not None
        assert failed.value.error.type == f"perdure.{WouldDeadlock.__name__}"


def test_a_task_that_a_handler_leaves_behind_may_wait_for_the_run() -> None:
    heard: list[Any] = []
    told = threading.Event()

    async def note(run: Run[Any]) -> None:
        heard.append(await run)
        told.set()

    async def handler(ctx: Context[Any]) -> str:
        loop = asyncio.get_running_loop()
        run = engine.run(ctx.execution_id)
        loop.call_later(0, lambda: tasks.append(loop.create_task(note(run))))
        return "done"

    tasks: list[Any] = []
    with Engine(None, Workflow("own").step("a", handler)) as engine:
        assert engine.start("own").result(PATIENCE) == "done"
        assert told.wait(PATIENCE)
    assert heard == ["done"]


def test_a_listener_is_found_again_by_equality() -> None:
    heard: list[Event] = []
    with Engine(None, Workflow("w").step("a", lambda: 1)) as engine:
        engine.on_any(heard.append)
        engine.on_any(heard.append)
        engine.start("w").result(PATIENCE)
        assert [event.type for event in heard].count("step:completed") == 1
        engine.off_any(heard.append)
        engine.start("w").result(PATIENCE)
        assert [event.type for event in heard].count("step:completed") == 1


def test_a_handler_that_queues_does_not_begin_once_its_run_is_cancelled() -> None:
    began, go = threading.Event(), threading.Event()
    ran: list[int] = []

    def work(ctx: Context[int]) -> None:
        ran.append(ctx.input)
        began.set()
        go.wait(PATIENCE)

    with Engine(None, Workflow("w", input=int).step("work", work), concurrency=1) as engine:
        first = engine.start("w", 1)
        assert began.wait(PATIENCE)
        second = engine.start("w", 2)
        second.cancel()
        cancelled = second.wait(PATIENCE)
        assert (cancelled.state, cancelled.rollback) == ("cancelled", "none")
        assert cancelled.steps["work"].attempts == 0
        go.set()
        assert first.wait(PATIENCE).state == "completed"
    assert ran == [1]


def test_a_handler_that_has_a_slot_but_no_thread_does_not_begin_once_its_run_is_cancelled() -> None:
    began, go = threading.Event(), threading.Event()
    ran: list[int] = []

    def work(ctx: Context[int]) -> None:
        ran.append(ctx.input)
        began.set()
        go.wait(PATIENCE)

    with Engine(None, Workflow("w", input=int).step("work", work), concurrency=2, threads=1) as engine:
        first = engine.start("w", 1)
        assert began.wait(PATIENCE)
        second = engine.start("w", 2)
        second.cancel()
        engine._machine.exclusively(lambda: None)  # until what follows from the wish is done
        go.set()
        cancelled = second.wait(PATIENCE)
        assert (cancelled.state, cancelled.rollback) == ("cancelled", "none")
        assert cancelled.steps["work"].attempts == 0
        assert first.wait(PATIENCE).state == "completed"
    assert ran == [1]


def before(name: str) -> Workflow[Any, Any]:
    return Workflow(name).step("before", lambda: 1).wait_for("go")


def changed(name: str) -> Workflow[Any, Any]:
    return Workflow(name).step("instead", lambda: 1).wait_for("go")


def test_a_quarantined_run_cannot_be_resumed_without_its_workflow(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Engine(path, before("w"), durability="normal") as engine:
        engine.start("w", id="x").wait(PATIENCE, until="waiting")
    with Engine(path, changed("w"), durability="normal") as engine:
        engine.signal("x", "go")
        engine.run("x").wait(PATIENCE, until="quarantined")
    with Engine(path, durability="normal") as engine:
        with pytest.raises(UnknownWorkflow, match="'w'"):
            engine.resume("x")
        assert engine.run("x").state == "quarantined"
    with Engine(path, before("w"), durability="normal") as engine:
        engine.resume("x")
        assert engine.run("x").wait(PATIENCE).state == "completed"


def test_a_parent_is_cancelled_though_its_child_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    undone: list[str] = []
    parent = Workflow("parent").step("a", lambda: 1, compensate=lambda: undone.append("a")).sub_workflow("child")
    with Engine(path, parent, before("child"), durability="normal") as engine:
        engine.start("parent", id="x")
        engine.settle()
        child = engine.list_executions("child")[0].id
    with Engine(path, parent, changed("child"), durability="normal") as engine:
        engine.signal(child, "go")
        engine.run(child).wait(PATIENCE, until="quarantined")
        engine.cancel("x")
        assert engine.run("x").wait(PATIENCE).state == "cancelled"
        assert engine.run(child).state == "quarantined"
    assert undone == ["a"]


def test_whoever_waits_for_a_run_that_has_ended_and_is_looked_up_just_now_has_its_end(lab: Engine) -> None:
    once = Workflow("once").step("one", lambda: 1)
    lab.register(once).start(once, id="r").result(timeout=PATIENCE)
    supervisor = lab._machine.supervisor

    row = lab._machine.exclusively(lambda: supervisor.core.store.find("r"))
    lab._machine.exclusively(lambda: supervisor._wake(row.id))

    assert lab.run("r").wait(timeout=PATIENCE).state == "completed"


def test_what_is_read_while_the_engine_is_being_closed_is_not_taken_for_the_truth() -> None:
    engine = Engine(None, gate())

    def look(store: Any) -> None:
        engine.close()  # and find nothing, as in a database whose log is gone already

    with pytest.raises(EngineClosed):
        engine._machine.read("look", look)
