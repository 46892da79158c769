"""`close()` at the wrong moment: bounded, complete, and every call after it gets a typed error."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from perdure import Context, Engine, EngineClosed, Workflow, WouldDeadlock
from perdure.testing import Moment, watch_points
from tests.patience import PATIENCE


def slow(began: threading.Event, go: threading.Event) -> Workflow[Any, Any]:
    def work(ctx: Context[Any]) -> str:
        began.set()
        go.wait(PATIENCE)
        return f"attempt {ctx.attempt}"

    return Workflow("slow").step("work", work).step("after", lambda ctx: ctx.steps["work"])


def test_close_lets_a_handler_finish_and_begins_nothing_more(open_engine: Any) -> None:
    began, go = threading.Event(), threading.Event()
    engine = open_engine(slow(began, go))
    engine.start("slow", id="x")
    assert began.wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(engine.close)
        while not engine.closed:
            threading.Event().wait(0)
        with pytest.raises(EngineClosed):
            engine.start("slow")
        go.set()
        closing.result(PATIENCE)
    heir = open_engine(slow(began, go))
    assert heir.run("x").result(PATIENCE) == "attempt 1"


@pytest.mark.parametrize("options", [{"timeout": 0}, {"force": True}], ids=["patience that ends", "force"])
def test_close_does_not_wait_for_ever_and_the_attempt_is_repeated(options: Any, open_engine: Any) -> None:
    began, go = threading.Event(), threading.Event()
    engine = open_engine(slow(began, go))
    engine.start("slow", id="x")
    assert began.wait(PATIENCE)
    engine.close(**options)
    go.set()
    heir = open_engine(slow(began, go))
    assert heir.run("x").result(PATIENCE) == "attempt 2"
    assert heir.run("x").wait().steps["work"].interruptions == 1


def test_a_coroutine_that_was_to_begin_while_the_engine_closed_begins_in_the_next(
    open_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(ctx: Context[Any]) -> str:
        return f"attempt {ctx.attempt}"

    workflow = Workflow("quick").step("work", work)
    engine = open_engine(workflow)
    engine.start("quick").result(PATIENCE)
    loop = engine._machine.lanes._aloop

    closing = threading.Thread(target=engine.close, kwargs={"force": True})

    def close_meanwhile(moment: Moment) -> None:
        if moment.point == "commit.after" and not engine.closed:
            closing.start()
            while not loop.is_closed():
                threading.Event().wait(0)

    with watch_points(close_meanwhile), suppress(EngineClosed):
        engine.start("quick", id="x")
    closing.join(PATIENCE)

    heir = open_engine(workflow)
    assert heir.run("x").result(PATIENCE).startswith("attempt")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_second_close_does_nothing_also_from_many_threads(open_engine: Any) -> None:
    engine = open_engine(Workflow("gate").wait_for("go"))
    engine.start("gate", id="x").wait(PATIENCE, until="waiting")
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(engine.close) for _ in range(8)]:
            done.result(PATIENCE)
    assert engine.closed
    heir = open_engine(Workflow("gate").wait_for("go"))
    heir.signal("x", "go", 1)
    assert heir.run("x").result(PATIENCE) == 1


def test_close_while_thousands_are_restored_loses_none(open_engine: Any) -> None:
    ran: list[str] = []
    guard = threading.Lock()

    def work(ctx: Context[Any]) -> None:
        with guard:
            ran.append(ctx.execution_id)

    workflow = Workflow("w").sleep("nap", 0.001).step("work", work)
    engine = open_engine(workflow)
    for number in range(300):
        engine.start("w", id=str(number))
    engine.close(force=True)
    for _ in range(3):
        open_engine(workflow).close(timeout=0)
    heir = open_engine(workflow)
    for number in range(300):
        assert heir.run(str(number)).wait(PATIENCE).state == "completed"
    assert set(ran) == {str(number) for number in range(300)}


def test_a_listener_may_close_by_force_only(open_engine: Any) -> None:
    refusals: list[BaseException] = []
    closed = threading.Event()
    engine = open_engine(Workflow("w").step("a", lambda: 1))

    def listen(event: Any) -> None:
        try:
            engine.close()
        except WouldDeadlock as refusal:
            refusals.append(refusal)
            engine.close(force=True)
            closed.set()

    engine.on("step:completed", listen)
    engine.start("w")
    assert closed.wait(PATIENCE)
    assert len(refusals) == 1


def test_an_engine_is_a_context_manager_of_both_colours_and_a_run_can_be_awaited(location: str) -> None:
    async def main() -> Any:
        async with Engine(location, Workflow("w").step("a", lambda ctx: ctx.input + 1)) as engine:
            runs = [engine.start("w", number) for number in range(20)]
            results = await asyncio.gather(*(_of(run) for run in runs))
        with pytest.raises(EngineClosed):
            engine.start("w", 1)
        return results

    assert asyncio.run(main()) == [*range(1, 21)]


async def _of(run: Any) -> Any:
    return await run


def test_many_threads_may_use_one_engine_at_once(open_engine: Any) -> None:
    engine = open_engine(
        Workflow("gate", input=int).wait_for("go").map("sum", lambda ctx: ctx.input + ctx.signals["go"])
    )

    def use(number: int) -> Any:
        run = engine.start("gate", number)
        engine.list_executions(limit=5)
        run.signal("go", number)
        return run.result(PATIENCE)

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(use, range(120))) == [2 * number for number in range(120)]
