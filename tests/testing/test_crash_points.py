"""Named places around every commit and effect: each is reached, each can be stopped at, unused they are not there."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from perdure import Context, Engine, State, UsageError, WaitTimeout, Workflow, look_at
from perdure.testing import POINTS, Moment, freeze, kill_at, restart, stop_at, watch_points
from perdure.testing.crash_points import _seams
from tests.patience import PATIENCE


def two_steps() -> Workflow[Any, Any]:
    return Workflow("two").step("one", lambda: 1).step("two", lambda: 2)


def test_one_life_of_an_engine_reaches_every_point(location: str) -> None:
    reached: Counter[str] = Counter()
    flow = two_steps().sleep("nap", 60).step("last", lambda: 3)
    with freeze(), watch_points(lambda moment: reached.update([moment.point])):
        engine = Engine(location, flow, on_event=lambda event: None)
        run = engine.start("two")
        engine.settle()
        with restart(engine) as engine:
            engine.advance(minutes=2)
            assert engine.run(run.id).state is State.COMPLETED
            engine.cleanup()

    assert set(POINTS) - set(reached) == set()
    assert set(reached) - set(POINTS) == set()


def test_unused_points_leave_no_trace_in_the_engine(checkout: Path) -> None:
    before = [getattr(owner, name) for owner, name, _ in _seams(lambda point: None)]

    with watch_points(lambda moment: None):
        watched = [getattr(owner, name) for owner, name, _ in _seams(lambda point: None)]

    assert [getattr(owner, name) for owner, name, _ in _seams(lambda point: None)] == before
    assert all(new is not old for new, old in zip(watched, before, strict=True))
    sources = [file for room in ("actors", "dsl", "persistence") for file in (checkout / room).rglob("*.py")]
    sources += (checkout / "perdure").glob("*.py")
    assert [file for file in sources if "crash_points" in file.read_text()] == []


def test_a_point_of_user_code_says_whose_it_is(location: str) -> None:
    moments: list[Moment] = []

    async def fail(ctx: Context[Any]) -> None:
        raise RuntimeError

    flow = Workflow("undone").step("charge", lambda: 1, compensate=lambda ctx: None).step("ship", fail, retry=1)
    with watch_points(moments.append), Engine(location, flow) as engine:
        engine.start("undone", id="order").wait(timeout=PATIENCE)

    begun = [(moment.run, moment.step) for moment in moments if moment.point == "handler.before"]
    ended = [(moment.run, moment.step) for moment in moments if moment.point == "handler.after"]
    assert begun == ended == [("order", "charge"), ("order", "ship"), ("order", "undo:charge")]
    assert [moment.count for moment in moments if moment.point == "handler.before"] == [1, 2, 3]


def test_what_is_written_is_not_there_before_the_commit_and_is_after(location: str) -> None:
    found: dict[str, int] = {}

    def count(moment: Moment) -> None:
        if moment.point.startswith("commit.") and moment.count == 1:
            with look_at(location) as looking:
                found[moment.point] = looking.count_executions()

    with watch_points(count), Engine(location, two_steps()) as engine:
        engine.start("two").wait(timeout=PATIENCE)

    assert found == {"commit.before": 0, "commit.begun": 0, "commit.written": 0, "commit.after": 1}


def test_a_run_stands_at_a_point_until_it_may_go_on(engine: Engine) -> None:
    with stop_at("handler.after", step="one") as stop:
        engine.register(two_steps())
        run = engine.start("two")
        assert stop.wait().run == run.id
        shown = engine.get_execution(run.id)
        assert shown is not None
        assert shown.steps["one"].status == "running"

        stop.go_on()

        assert run.result(timeout=PATIENCE) == 2


def test_a_stop_that_nothing_reaches_says_so(engine: Engine) -> None:
    with stop_at("handler.before", step="nobody") as stop, pytest.raises(WaitTimeout):
        stop.wait(timeout=0.01)


def test_a_point_that_does_not_exist_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'commit\.after'"), kill_at("commit.aftr"):
        pass


def test_a_process_is_killed_at_the_point_and_nowhere_else(location: str) -> None:
    if (child := os.fork()) == 0:
        with kill_at("commit.after", count=2), Engine(location, two_steps()) as engine:
            engine.start("two", id="it").wait(timeout=PATIENCE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    with Engine(location) as engine:
        shown = engine.get_execution("it")
        assert shown is not None
        assert {name: step.status for name, step in shown.steps.items()} == {"one": "completed", "two": "running"}
