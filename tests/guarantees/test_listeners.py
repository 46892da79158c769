"""Whatever a listener does harms neither the run nor another listener, and is told of by its name."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from perdure import Engine, Event, Workflow, WouldDeadlock
from tests.patience import PATIENCE


@pytest.fixture
def engine(open_engine: Any) -> Engine:
    return open_engine(Workflow("w").step("a", lambda: 1))  # type: ignore[no-any-return]


def test_a_listener_that_raises_is_reported_by_name_and_the_others_hear_the_event(engine: Engine, heard: Any) -> None:
    told: list[Any] = []
    reports: list[Any] = []

    def grumble(event: Event) -> None:
        raise RuntimeError("not today")

    engine.on("step:completed", grumble)
    engine.on("step:completed", told.append)
    engine.on("listener:error", reports.append)
    assert engine.start("w").result(PATIENCE) == 1
    assert [event.result for event in told] == [1]
    (report,) = reports
    assert "grumble" in report.listener
    assert str(report.error) == "not today"
    assert report.event.type == "step:completed"
    assert "grumble" in heard.messages[0]


def test_a_listener_that_blocks_delays_no_run(engine: Engine) -> None:
    go = threading.Event()
    engine.on("workflow:started", lambda event: go.wait(PATIENCE))
    run = engine.start("w")
    while run.state != "completed":
        threading.Event().wait(0)
    assert not go.is_set()
    go.set()
    assert run.result(PATIENCE) == 1


def test_an_asynchronous_listener_is_refused_in_words(engine: Engine, heard: Any) -> None:
    async def listen(event: Event) -> None:
        """Never run."""

    engine.on("step:completed", listen)
    assert engine.start("w").result(PATIENCE) == 1
    assert heard.records[0].exc_info[1].args[0].endswith("use a def")


def test_listeners_may_come_and_go_while_they_are_called(engine: Engine) -> None:
    told: list[str] = []

    def once(event: Event) -> None:
        told.append("once")
        engine.off("step:completed", once)
        engine.on("step:completed", late)

    def late(event: Event) -> None:
        told.append("late")

    engine.on("step:completed", once)
    engine.start("w").result(PATIENCE)
    engine.start("w").result(PATIENCE)
    assert told == ["once", "late"]


def test_listeners_may_come_and_go_from_many_threads(engine: Engine) -> None:
    run = engine.start("w")
    run.result(PATIENCE)
    before = sys.getswitchinterval()

    def come_and_go() -> None:
        for _ in range(300):
            told: list[Event] = []
            engine.on("step:completed", told.append)
            leave = engine.subscribe(run.id, told.append)
            engine.off("step:completed", told.append)
            leave()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    assert engine._machine.bus.silent, "nobody is left"


def test_a_listener_is_kept_alive_until_it_is_taken_off(engine: Engine) -> None:
    told: list[Event] = []

    class Ear:
        def listen(self, event: Event) -> None:
            told.append(event)

    ear = Ear()
    gone = weakref.ref(ear)
    engine.on("step:completed", ear.listen)
    del ear
    gc.collect()
    engine.start("w").result(PATIENCE)
    assert len(told) == 1
    engine.off("step:completed", gone().listen)  # type: ignore[union-attr]
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("verb", ["result", "wait", "close", "settle"])
def test_a_listener_that_would_wait_for_itself_is_told_so(verb: str, engine: Engine) -> None:
    refusals: list[BaseException] = []

    def listen(event: Event) -> None:
        run = engine.run(event.execution_id)
        calls: dict[str, Any] = {"result": run.result, "wait": run.wait, "close": engine.close, "settle": engine.settle}
        try:
            calls[verb]()
        except WouldDeadlock as refusal:
            refusals.append(refusal)

    engine.on("step:completed", listen)
    assert engine.start("w").result(PATIENCE) == 1
    assert len(refusals) == 1


def test_a_listener_may_start_signal_and_read(engine: Engine) -> None:
    engine.register(Workflow("gate").wait_for("go"))
    engine.start("gate", id="gate").wait(PATIENCE, until="waiting")

    def listen(event: Event) -> None:
        if event.workflow_name == "w":
            engine.signal("gate", "go", engine.run(event.execution_id).workflow_name)
            engine.start("gate", id="another")

    engine.on("workflow:completed", listen)
    engine.start("w").result(PATIENCE)
    assert engine.run("gate").result(PATIENCE) == "w"
    assert engine.run("another").wait(PATIENCE, until="waiting").state == "waiting"


def test_a_result_is_there_once_the_listeners_have_been_given_the_last_event(engine: Engine) -> None:
    finished: set[str] = set()

    def study(event: Event) -> None:
        assert sum(range(10_000)), "it takes a while"
        finished.add(event.execution_id)

    engine.on("workflow:completed", study)
    for _ in range(20):
        run = engine.start("w")
        run.result(PATIENCE)
        assert run.id in finished


def test_a_listener_hears_nothing_of_what_was_before_it_came(engine: Engine) -> None:
    told: list[str] = []
    may_go_on = threading.Event()
    engine.on("workflow:started", lambda event: may_go_on.wait(PATIENCE))  # holds up what comes behind it
    run = engine.register(Workflow("gated").wait_for("go")).start("gated")
    run.wait(until="waiting", timeout=PATIENCE)

    engine.on_any(lambda event: told.append(event.type))
    may_go_on.set()
    run.signal("go")
    run.result(PATIENCE)
    engine.settle()

    assert told == ["signal:received", "workflow:completed"]
