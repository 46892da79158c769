"""A handler that blocks harms nobody else: what can be told of it is told, and what goes on goes on."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perdure import Engine, Workflow
from perdure.actors.loop_watch import LoopWatch
from perdure.testing import Moment, freeze, watch_points
from perdure.testing.leaks import close_cleanly, unique_name
from tests.patience import PATIENCE


class Heard(logging.Handler):
    """Warnings, which can be waited for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.arrived = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.arrived.set()


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logging.getLogger("perdure").addHandler(handler)
    yield handler
    logging.getLogger("perdure").removeHandler(handler)


@pytest.fixture
def watchful(location: str) -> Iterator[Engine]:
    """An engine that warns of a blocked event loop after a moment already."""
    engine = Engine(location, queue_name=unique_name())
    engine._machine.lanes.loop_patience = 0.02
    yield engine
    close_cleanly(engine)


def blocking(go: threading.Event) -> Callable[..., Any]:
    async def block() -> str:
        go.wait(PATIENCE)
        return "done"

    return block


def test_a_coroutine_that_blocks_the_event_loop_is_warned_of_by_name_while_others_go_on(
    watchful: Engine, heard: Heard
) -> None:
    go = threading.Event()
    watchful.register(Workflow("rude").step("nap", blocking(go)), Workflow("polite").step("a", lambda: 1))
    rude = watchful.start("rude", id="r-1")
    assert heard.arrived.wait(PATIENCE)
    assert watchful.start("polite").result(PATIENCE) == 1
    go.set()
    assert rude.result(PATIENCE) == "done"
    (message,) = heard.messages
    for part in ("'nap' of rude r-1", "blocked the engine's event loop", "go.wait(PATIENCE)"):
        assert part in message


def test_a_task_that_a_handler_leaves_behind_is_warned_of_too(watchful: Engine, heard: Heard) -> None:
    go = threading.Event()
    tasks: list[Any] = []

    async def leave() -> None:
        tasks.append(asyncio.create_task(blocking(go)(), name="left-over"))

    async def wait() -> None:
        await tasks[0]

    watchful.register(Workflow("w").step("leave", leave).step("wait", wait))
    run = watchful.start("w")
    assert heard.arrived.wait(PATIENCE)
    go.set()
    run.result(PATIENCE)
    assert "left-over" in heard.messages[0]


def test_coroutines_that_await_are_not_warned_of(
    watchful: Engine, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_beat = LoopWatch._send_beat
    waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def send(watch: LoopWatch) -> None:
        send_beat(watch)
        send_beat(watch)
        for loop, beaten in waiting:
            loop.call_soon_threadsafe(beaten.set)

    async def wait() -> None:
        beaten = asyncio.Event()
        waiting.append((asyncio.get_running_loop(), beaten))
        await beaten.wait()

    monkeypatch.setattr(LoopWatch, "_send_beat", send)
    watchful._machine.lanes.loop_patience = 0.5  # a busy machine may halt any code for some of the others'
    watchful.register(Workflow("w").step("wait", wait))
    watchful.start("w").result(PATIENCE)
    assert heard.messages == []


def test_a_commit_that_takes_long_on_the_event_loop_is_no_handlers_fault(
    location: str, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    report = LoopWatch._report

    def look(watch: LoopWatch) -> None:
        report(watch)
        looked.set()

    def take_long(moment: Moment) -> None:
        if moment.point == "commit.written" and asyncio._get_running_loop() is not None:
            looked.wait(PATIENCE)

    async def work() -> str:
        return "done"

    monkeypatch.setattr(LoopWatch, "_report", look)
    with watch_points(take_long), Engine(location, Workflow("w").step("work", work)) as engine:
        engine._machine.lanes.loop_patience = 0.02
        while not looked.is_set():  # whose thread commits is up to who finds the core idle
            assert engine.start("w").result(PATIENCE) == "done"
    assert heard.messages == []


def test_a_handler_that_works_for_long_on_a_slow_machine_is_not_taken_for_one_that_hangs(location: str) -> None:
    def work() -> str:
        end = time.thread_time() + 0.5
        while time.thread_time() < end:
            pass
        return "done"

    with freeze(), Engine(location, Workflow("w").step("work", work, timeout=5)) as engine:
        run = engine.start("w")
        engine.advance(hours=1, patience=0.2)
        assert (run.result(0), run.wait(0).steps["work"].attempts) == ("done", 1)


def test_a_handler_that_hangs_is_given_up_at_its_time_limit_though_others_work(location: str) -> None:
    go = threading.Event()
    workflow = Workflow("w").step("hang", lambda: go.wait(PATIENCE), timeout=5, retry=1)
    with freeze(), Engine(location, workflow) as engine:
        run = engine.start("w")
        engine.advance(seconds=5, patience=0.05)
        assert run.state == "failed"
        go.set()
