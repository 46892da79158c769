"""An engine is asked for a run that another live engine drives: the message goes there, and its answer comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from perdure import (
    Engine,
    EngineClosed,
    EngineError,
    ExecutionFinished,
    IllegalTransition,
    Signal,
    State,
    UnknownSignal,
    Workflow,
)
from perdure.actors.neighbours import Neighbour
from perdure.dsl.errors import ExecutionNotFound, StoreUnavailable
from perdure.testing import Moment, close_cleanly, watch_points
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE


def gate() -> Workflow[Any, Any]:
    return Workflow("gate").wait_for(Signal("go", int)).step("answer", lambda ctx: ctx.signals["go"])


@pytest.fixture
def pair(path: Path) -> Iterator[tuple[Engine, Engine]]:
    """Two engines on one database."""
    name = unique_name()
    engines = [Engine(path, gate(), durability="normal", queue_name=name) for _ in range(2)]
    yield engines[0], engines[1]
    for engine in engines:
        engine.close()
    close_cleanly(engines[0])


def test_a_signal_reaches_it(pair: tuple[Engine, Engine]) -> None:
    owner, other = pair
    run = owner.start("gate", id="g")
    other.signal("g", "go", 6)
    assert run.result(timeout=PATIENCE) == 6
    assert other.run("g").result(timeout=PATIENCE) == 6


def test_a_cancel_reaches_it(pair: tuple[Engine, Engine]) -> None:
    owner, other = pair
    run = owner.start("gate", id="g")
    other.cancel("g", reason="changed our mind")
    execution = run.wait(timeout=PATIENCE)
    assert execution.state == State.CANCELLED
    assert execution.error is not None
    assert execution.error.message == "changed our mind"


def test_a_refusal_comes_back_as_what_it_is(pair: tuple[Engine, Engine]) -> None:
    owner, other = pair
    owner.start("gate", id="g")
    with pytest.raises(UnknownSignal):
        other.signal("g", "gi", 1)
    with pytest.raises(IllegalTransition, match="cannot resume"):
        other.resume("g")
    other.signal("g", "go", 1)
    owner.run("g").wait(timeout=PATIENCE)
    with pytest.raises(ExecutionFinished):
        other.signal("g", "go", 1)
    with pytest.raises(ExecutionNotFound):
        other.signal("nobody", "go", 1)


def close_on_a_thread(engine: Engine) -> None:
    closing = Thread(target=engine.close, kwargs={"force": True})
    closing.start()
    closing.join(PATIENCE)


def test_who_is_closed_while_it_waits_for_an_answer_does_not_take_the_silence_for_a_yes(
    pair: tuple[Engine, Engine],
) -> None:
    owner, other = pair
    run = owner.start("gate", id="g")
    run.wait(timeout=PATIENCE, until="waiting")

    def close_and_fail(moment: Moment) -> None:
        if moment.point == "commit.before" and not other.closed:
            close_on_a_thread(other)
            raise StoreUnavailable("the disk is full")

    with watch_points(close_and_fail), pytest.raises(EngineClosed, match="come of the cancel, which is on disk"):
        other.cancel("g")

    assert run.wait(timeout=PATIENCE).state == State.CANCELLED, "what was asked for was on disk"


def test_who_is_closed_after_a_signal_was_heeded_is_told_that_it_was_or_where_it_is(
    pair: tuple[Engine, Engine], location: str
) -> None:
    owner, other = pair
    run = owner.start("gate", id="g")
    run.wait(timeout=PATIENCE, until="waiting")

    def close(moment: Moment) -> None:
        if moment.point == "commit.after" and not other.closed:
            close_on_a_thread(other)

    # On a server the answer comes by way of the engine that asks, and that is gone.
    gone = pytest.raises(EngineClosed, match="on disk") if "://" in location else nullcontext()
    with watch_points(close), gone:
        other.signal("g", "go", 1)

    assert run.wait(timeout=PATIENCE).state == State.COMPLETED


def test_a_wait_for_a_state_sees_it(pair: tuple[Engine, Engine]) -> None:
    owner, other = pair
    owner.start("gate", id="g")
    assert other.run("g").wait(until="waiting", timeout=PATIENCE).state == State.WAITING


def test_a_start_of_its_id_or_key_gives_that_run(pair: tuple[Engine, Engine]) -> None:
    owner, other = pair
    run = owner.start("gate", id="g", key="k")
    assert other.start("gate", id="g").id == other.start("gate", key="k").id == run.id
    other.signal("g", "go", 2)
    assert other.start("gate", key="k").result(timeout=PATIENCE) == 2


def test_a_schedule_made_at_one_is_learned_by_the_other(path: Path, freezer: Any) -> None:
    tick = Workflow("tick").step("tick", lambda: None)
    with Engine(path, tick, durability="normal") as one, Engine(path, tick, durability="normal") as other:
        one.schedule("s", "tick", every=60)
        one.close()
        due = _until(other.next_deadline)
        other.advance(seconds=65)
        assert due is not None
        assert [run.state for run in other.list_executions("tick")] == [State.COMPLETED]


def test_a_schedule_is_learned_by_the_other_though_the_one_where_it_was_made_had_no_line_to_say_so(
    path: Path, freezer: Any
) -> None:
    tick = Workflow("tick").step("tick", lambda: None)
    with Engine(path, tick, durability="normal") as one, Engine(path, tick, durability="normal") as other:
        one._machine.supervisor.neighbours.reach = Neighbour()
        one.schedule("s", "tick", every=60)
        one.close()
        assert _until(other.next_deadline) is not None


def test_of_two_engines_the_older_one_handles_ticks_and_the_other_takes_its_place(location: str, freezer: Any) -> None:
    tick = Workflow("tick").step("tick", lambda: None)
    idle = Engine(location, durability="normal")  # the oldest, which cannot run it
    one, other = (Engine(location, tick, durability="normal") for _ in range(2))
    one.schedule("s", "tick", every=60)
    due = one.next_deadline()
    assert due is not None
    _until(lambda: other.next_deadline() == due + timedelta(seconds=5) or None)
    one.advance(seconds=62)
    assert [run.state for run in one.list_executions("tick")] == [State.COMPLETED]
    other.settle()
    one.abandon()
    _until(lambda: other.next_deadline() == due + timedelta(seconds=60) or None)
    other.advance(seconds=58)
    assert [run.state for run in other.list_executions("tick")] == [State.COMPLETED] * 2
    for engine in (idle, one, other):
        engine.close()


def _until(look: Any) -> Any:
    """Look until there is something: another engine's word is on its way."""
    while (found := look()) is None:
        pass
    return found


def test_two_that_close_at_once_while_each_waits_for_the_other_close_without_a_word(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wait(engine: Engine, run: str) -> None:
        with suppress(EngineError):
            engine.run(run).result(timeout=PATIENCE)

    for _ in range(10):
        engines = [Engine(path, gate(), durability="normal") for _ in range(2)]
        runs = [engine.start("gate").id for engine in engines]
        acts: list[Callable[[], None]] = [engine.close for engine in engines]
        acts += [partial(wait, *each) for each in zip(engines, reversed(runs), strict=True)]
        with ThreadPoolExecutor() as pool:
            ends = [pool.submit(act) for act in reversed(acts)]
            for end in ends:
                end.result()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
