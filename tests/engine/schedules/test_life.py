"""The life of a schedule: made, changed, paused, triggered, shown and forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perdure import Engine, UnknownWorkflow, Workflow
from perdure.errors import DuplicateSchedule

from ..drive import Clock
from .almanac import HOUR, MONDAY, ROME, gate, hello, hours, started


def test_the_same_call_again_changes_nothing(path: Path, clock: Clock) -> None:
    ends: list[Any] = []
    for _ in range(3):
        with Engine(path, hello) as engine:
            engine.schedule("s", hello, every=timedelta(hours=10), input={"b": 1, "a": [2]})
            engine.advance(hours=6)
            ends.append(engine.schedules()[0].next_at)
    assert ends == [MONDAY + timedelta(hours=10), MONDAY + timedelta(hours=20), MONDAY + timedelta(hours=20)]


def test_another_definition_is_refused_unless_it_is_to_replace_the_first(engine: Engine) -> None:
    engine.schedule("s", hello, every=HOUR, input="Ada")
    engine.advance(hours=2)
    for different in ({"every": 2 * HOUR}, {"cron": "0 0 * * *"}, {"every": HOUR, "overlap": "allow"}, {"every": HOUR}):
        with pytest.raises(DuplicateSchedule, match="replace=True"):
            engine.schedule("s", hello, **different)
    engine.pause_schedule("s")
    engine.schedule("s", hello, every=3 * HOUR, replace=True)
    [schedule] = engine.schedules()
    assert (schedule.paused, schedule.runs, schedule.every) == (True, 2, 3 * HOUR)
    engine.resume_schedule("s")
    assert engine.next_deadline() == MONDAY + 5 * HOUR


def test_a_paused_schedule_passes_over_its_ticks(path: Path, clock: Clock) -> None:
    with Engine(path, hello) as engine:
        engine.schedule("s", hello, every=HOUR, catch_up="all")
        engine.pause_schedule("s")
        engine.pause_schedule("s")
        assert engine.next_deadline() is None
        [schedule] = engine.schedules()
        assert (schedule.paused, schedule.next_at, schedule.upcoming()) == (True, None, [])
        engine.advance(hours=2, minutes=30)
    with Engine(path, hello) as engine:
        engine.schedule("s", hello, every=HOUR, catch_up="all")
        engine.settle()
        engine.resume_schedule("s")
        engine.resume_schedule("s")
        engine.advance(hours=1)
        assert started(engine) == hours("s", 3)


def test_a_queue_stands_still_while_its_schedule_is_paused(engine: Engine) -> None:
    engine.schedule("s", gate, every=HOUR, overlap="queue")
    engine.advance(hours=2)
    engine.pause_schedule("s")
    engine.signal(hours("s", 1)[0], "go")
    engine.settle()
    assert started(engine) == hours("s", 1)
    engine.resume_schedule("s")
    engine.settle()
    assert started(engine) == hours("s", 1, 2)


def test_a_run_can_be_started_out_of_turn(engine: Engine) -> None:
    engine.schedule("s", gate, every=HOUR, input=None)
    engine.pause_schedule("s")
    first, second = engine.trigger("s"), engine.trigger("s")
    assert first.id != second.id
    engine.resume_schedule("s")
    engine.settle()
    assert [run.tags for run in engine.list_executions()] == [{"schedule": "s"}] * 2
    first.signal("go")
    engine.advance(hours=1)
    [schedule] = engine.schedules()
    assert (schedule.runs, schedule.skipped, schedule.last_run) == (2, 1, second.id)


def test_a_schedule_that_was_forgotten_starts_nothing_more(engine: Engine) -> None:
    engine.schedule("s", hello, every=HOUR)
    engine.advance(hours=1)
    engine.unschedule("s")
    assert engine.schedules() == []
    assert engine.next_deadline() is None
    engine.advance(hours=5)
    assert started(engine) == hours("s", 1)


def test_a_schedule_waits_for_its_workflow_to_be_registered(path: Path, clock: Clock) -> None:
    with Engine(path, hello) as engine:
        engine.schedule("s", "hello", every=HOUR, input="Ada")
    clock.move_to(MONDAY + HOUR)
    with Engine(path, gate) as engine:
        engine.settle()
        with pytest.raises(UnknownWorkflow):
            engine.trigger("s")
        assert engine.list_executions() == []
        engine.register(hello)
        engine.settle()
        assert [run.result for run in engine.list_executions()] == ["hello, Ada"]


def test_a_schedule_may_stay_on_one_version(engine: Engine) -> None:
    old = Workflow("letter", version="1").step("sign", lambda: "old")
    new = Workflow("letter", version="2").step("sign", lambda: "new")
    engine.register(old, new)
    engine.schedule("pinned", old, every=HOUR)
    engine.schedule("latest", "letter", every=HOUR)
    engine.advance(hours=1)
    assert {run.id[:6]: run.result for run in engine.list_executions()} == {"pinned": "old", "latest": "new"}


def test_a_listing_shows_what_was_said_and_what_has_happened(engine: Engine) -> None:
    engine.schedule("nightly", hello, cron="0 2 * * *", tz=ZoneInfo(ROME), input="Ada")
    engine.advance(hours=2)
    [schedule] = engine.schedules()
    rome = ZoneInfo(ROME)
    assert repr(schedule) == "<Schedule nightly hello '0 2 * * *'>"
    assert (schedule.name, schedule.workflow_name, schedule.version, schedule.tz) == ("nightly", "hello", None, ROME)
    assert (schedule.cron, schedule.every, schedule.input) == ("0 2 * * *", None, "Ada")
    assert (schedule.overlap, schedule.catch_up, schedule.paused) == ("skip", "last", False)
    assert schedule.created_at == MONDAY
    assert (schedule.last_at, schedule.last_run) == (
        datetime(2026, 3, 2, 2, tzinfo=rome),
        "nightly@2026-03-02T01:00:00Z",
    )
    assert schedule.next_at == datetime(2026, 3, 3, 2, tzinfo=rome)
    assert schedule.upcoming(2) == [datetime(2026, 3, day, 2, tzinfo=rome) for day in (3, 4)]
