"""What a tick does while the run before is unfinished, and what is made up for after a time without an engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perdure import Engine, Workflow
from perdure.actors import recurrence

from ..drive import Clock
from .almanac import HOUR, MONDAY, ROME, gate, hello, hours, started

# ---- overlap


@pytest.mark.parametrize(
    ("overlap", "by_four", "after_the_first_ends", "counts"),
    [
        ("skip", [1], [1], {"runs": 1, "skipped": 3, "queued": 0}),
        ("queue", [1], [1, 2], {"runs": 2, "skipped": 0, "queued": 2}),
        ("allow", [1, 2, 3, 4], [1, 2, 3, 4], {"runs": 4, "skipped": 0, "queued": 0}),
    ],
)
def test_a_tick_while_the_run_before_is_unfinished(
    engine: Engine, overlap: Any, by_four: list[int], after_the_first_ends: list[int], counts: dict[str, int]
) -> None:
    engine.schedule("s", gate, every=HOUR, overlap=overlap)
    engine.advance(hours=4)
    assert started(engine) == hours("s", *by_four)
    engine.signal(hours("s", 1)[0], "go")
    engine.settle()
    assert started(engine) == hours("s", *after_the_first_ends)
    [schedule] = engine.schedules()
    assert {name: getattr(schedule, name) for name in counts} == counts
    engine.advance(hours=1)
    assert engine.schedules()[0].runs == {"skip": 2, "queue": 2, "allow": 5}[overlap]


def test_a_queue_is_worked_off_in_order_also_over_restarts(path: Path, clock: Clock) -> None:
    with Engine(path, gate) as engine:
        engine.schedule("s", gate, every=HOUR, overlap="queue", catch_up="all")
        engine.advance(hours=1)
    clock.move_to(MONDAY + 3 * HOUR + HOUR / 2)
    for number in (1, 2, 3):
        with Engine(path, gate) as engine:
            engine.settle()
            assert started(engine) == hours("s", *range(1, number + 1))
            assert engine.schedules()[0].queued == 3 - number
            engine.signal(hours("s", number)[0], "go")
            engine.settle()


def test_a_cancelled_failed_or_forgotten_run_holds_up_nobody(engine: Engine) -> None:
    engine.schedule("skip", gate, every=HOUR)
    engine.schedule("queue", gate, every=HOUR, overlap="queue")
    engine.advance(hours=2)
    for name in ("skip", "queue"):
        engine.cancel(hours(name, 1)[0])
    engine.settle()
    assert started(engine) == [*hours("skip", 1), *hours("queue", 1, 2)]
    engine.advance(seconds=1)
    assert engine.cleanup() == 2
    engine.advance(hours=1)
    assert sorted(started(engine)) == sorted([*hours("skip", 3), *hours("queue", 2)])


def test_a_run_that_another_engine_drives_counts_as_well(path: Path, clock: Clock) -> None:
    with Engine(path, gate) as one, Engine(path, gate) as other:
        for engine in (one, other):
            engine.schedule("skip", gate, every=HOUR)
            engine.schedule("queue", gate, every=HOUR, overlap="queue")
        one.advance(hours=1)
        other.advance(hours=1)
        assert started(one) == [*hours("skip", 1), *hours("queue", 1)]
        one.signal(hours("queue", 1)[0], "go")
        for engine in (one, other):  # either may have been first at a tick
            engine.settle()
        assert started(one)[2:] == hours("queue", 2)


# ---- catching up


@pytest.mark.parametrize(
    ("catch_up", "minutes_late", "made_up"),
    [
        ("all", 30, [2, 3, 4]),
        ("last", 30, [4]),
        ("none", 30, []),
        ("all", 1, [2, 3, 4]),
        ("last", 1, [4]),
        ("none", 1, [4]),
    ],
)
def test_what_is_made_up_for_after_a_time_without_an_engine(
    path: Path, clock: Clock, catch_up: Any, minutes_late: int, made_up: list[int]
) -> None:
    with Engine(path, hello) as engine:
        engine.schedule("s", hello, cron="0 * * * *", overlap="allow", catch_up=catch_up)
        engine.advance(hours=1, minutes=30)
    clock.move_to(MONDAY + timedelta(hours=4, minutes=minutes_late))
    with Engine(path, hello) as engine:
        engine.settle()
        assert started(engine) == hours("s", 1, *made_up)
        assert engine.schedules()[0].last_at == MONDAY + 4 * HOUR
        engine.advance(hours=1)
        assert started(engine) == hours("s", 1, *made_up, 5)


def test_what_is_overdue_at_a_start_comes_in_order_of_due_time(path: Path, clock: Clock) -> None:
    order: list[str] = []
    flow = Workflow("note").step("note", lambda ctx: order.append(ctx.execution_id))
    with Engine(path, flow) as engine:
        engine.schedule("even", flow, every=2 * HOUR, catch_up="all", overlap="allow")
        engine.advance(HOUR)
        engine.schedule("odd", flow, every=2 * HOUR, catch_up="all", overlap="allow")
        engine.start(flow, id="timer", delay=4.5 * HOUR)
        engine.settle()
    clock.move_to(MONDAY + 6 * HOUR + HOUR / 2)
    with Engine(path, flow) as engine:
        engine.settle()
    by_hour = [*hours("even", 2), *hours("odd", 3), *hours("even", 4), *hours("odd", 5), "timer", *hours("even", 6)]
    assert order == by_hour


def test_a_year_of_missed_minutes_costs_no_more_than_a_few(path: Path, clock: Clock) -> None:
    with Engine(path, hello) as engine:
        engine.schedule("s", hello, cron="* * * * *", tz=ROME)
    clock.move_to(MONDAY + timedelta(days=366, seconds=20))
    with Engine(path, hello) as engine:
        engine.settle()
        assert started(engine) == ["s@2027-03-03T00:00:00Z"]


@pytest.mark.parametrize("cron", ["* * * * *", "* 3 * * *", "0 2 * * *", "*/7 1-5 * * MON", "0 0 29 2 *", "30 2 * * *"])
@pytest.mark.parametrize("span", [timedelta(minutes=3), timedelta(days=2), timedelta(days=240)])
def test_the_last_tick_is_the_one_before_the_next(cron: str, span: timedelta) -> None:
    ticks = recurrence.Cron(cron, ZoneInfo(ROME))
    first = ticks.after(round(MONDAY.timestamp()) * 1_000_000)
    assert first is not None
    until = first + round(span.total_seconds()) * 1_000_000
    last = recurrence.last_tick(ticks, first, until)
    following = ticks.after(last)
    assert first <= last <= until
    assert following is not None
    assert following > until
