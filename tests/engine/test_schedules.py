"""Schedules: every tick starts its run once, on time, whatever happens to processes and to the clocks on the wall."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from freezegun import freeze_time

from perdure import Engine, InvalidPayload, State, UnknownWorkflow, UsageError, Workflow
from perdure.actors import recurrence
from perdure.errors import DuplicateSchedule, EngineClosed, MissingExtra, StoreUnavailable, UnknownSchedule
from perdure.persistence.records import Batch
from perdure.persistence.store import Store

from .drive import Clock, files_of, photographs_of

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROME = "Europe/Rome"
NEW_YORK = "America/New_York"

hello = Workflow("hello").step("greet", lambda ctx: f"hello, {ctx.input}")
gate = Workflow("gate").wait_for("go")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "runs.db"


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Frozen time: midnight of a Monday."""
    with freeze_time(MONDAY) as frozen:
        yield frozen


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    """An engine on frozen time."""
    with Engine(None, hello, gate) as engine:
        yield engine


def started(engine: Engine) -> list[str]:
    """Return the ids of all runs, oldest first."""
    return [run.id for run in reversed(engine.list_executions(limit=1000))]


def hours(name: str, *numbers: int) -> list[str]:
    """Return the ids of the runs that a schedule starts in these hours after midnight."""
    return [f"{name}@{(MONDAY + number * HOUR).isoformat().replace('+00:00', 'Z')}" for number in numbers]


# ---- each tick once


@pytest.mark.parametrize(
    ("cron", "zone"), [("30 2 * * *", ROME), ("15 1,13 * * MON-FRI", NEW_YORK), ("0 */8 * * *", ROME)]
)
def test_a_year_starts_exactly_the_runs_that_cronsim_lists_with_restarts_in_between(
    path: Path, cron: str, zone: str
) -> None:
    end = MONDAY + timedelta(days=366)
    moments = (moment.astimezone(UTC) for moment in CronSim(cron, MONDAY.astimezone(ZoneInfo(zone))))
    expected = list(itertools.takewhile(lambda moment: moment <= end, moments))
    began: list[datetime] = []
    ids: list[str] = []
    figures: tuple[Any, ...] = ()
    flow = Workflow("nightly").step("note", lambda: began.append(datetime.now(UTC)))
    with freeze_time(MONDAY):
        for days in (59, 30, 100, 1, 45, 131):
            with Engine(path, flow, durability="normal") as engine:
                engine.schedule("nightly", flow, cron=cron, tz=zone)
                engine.advance(days=days)
                ids = started(engine)
                last = engine.schedules()[0]
                figures = (last.runs, last.skipped, last.last_at)
    assert began == expected
    assert max(ids) == f"nightly@{expected[-1].isoformat().replace('+00:00', 'Z')}"
    assert figures == (len(expected), 0, expected[-1])


def test_a_crash_at_any_commit_neither_loses_nor_repeats_a_tick(path: Path) -> None:
    ticks = hours("hourly", 1, 2, 3)

    def live(moment: datetime, file: Path) -> list[str]:
        with freeze_time(moment) as frozen, Engine(file, hello, durability="normal") as engine:
            engine.schedule("hourly", hello, every=HOUR, catch_up="all", overlap="allow", input="Ada")
            while (due := engine.next_deadline()) is not None and due <= MONDAY + 3 * HOUR:
                frozen.move_to(max(due, datetime.now(UTC)))
                engine.settle()
            assert [run.result for run in engine.list_executions()] == ["hello, Ada"] * 3
            [schedule] = engine.schedules()
            assert (schedule.runs, schedule.last_run) == (3, ticks[-1])
            return started(engine)

    with photographs_of(path, lambda: None) as photographs:
        assert live(MONDAY, path) == ticks
    assert len(photographs) >= 1 + 3 * 3
    for number, (files, _, moment) in enumerate(photographs):
        copy = path.with_name(f"died-{number}.db")
        for file, content in zip(files_of(copy), files, strict=True):
            file.write_bytes(content)
        assert live(moment, copy) == ticks, f"died after commit {number + 1}"


@pytest.mark.parametrize("written", [False, True], ids=["nothing written", "written, but reported as failed"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_commit_that_fails_neither_loses_nor_repeats_a_tick(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, number: int, *, written: bool
) -> None:
    engine.schedule("hourly", hello, every=HOUR, overlap="allow")
    commit, commits = Store.commit, itertools.count(1)

    def fail(self: Store, batch: Batch) -> None:
        if next(commits) == number:
            if written:
                commit(self, batch)
            raise StoreUnavailable("the disk is gone for a moment")
        commit(self, batch)

    monkeypatch.setattr(Store, "commit", fail)
    end = MONDAY + timedelta(hours=3, minutes=1)
    while (left := end - datetime.now(UTC)) > timedelta(0):
        with contextlib.suppress(StoreUnavailable):  # settle shares the commit of the tick that it brings about
            engine.advance(left)
    assert next(commits) > number
    assert started(engine) == hours("hourly", 1, 2, 3)
    assert {run.state for run in engine.list_executions()} == {State.COMPLETED}


def test_several_engines_on_one_file_start_each_run_once(path: Path, clock: Clock) -> None:
    ran: list[str] = []
    flow = Workflow("hello").step("note", lambda ctx: ran.append(ctx.execution_id))
    engines = [Engine(path, flow, durability="normal") for _ in range(3)]
    try:
        for engine in engines:
            engine.schedule("hourly", flow, every=HOUR, overlap="allow")
        for number in range(1, 25):
            clock.move_to(MONDAY + number * HOUR)
            threads = [threading.Thread(target=engine.settle) for engine in engines]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(ran) == sorted(hours("hourly", *range(1, 25)))
        assert engines[0].schedules()[0].runs == 24
    finally:
        for engine in engines:
            engine.close()


def test_an_engine_goes_on_when_the_one_that_made_the_schedule_is_gone(path: Path, clock: Clock) -> None:
    with Engine(path, hello) as first:
        first.schedule("hourly", hello, every=HOUR)
        second = Engine(path, hello)
        first.advance(hours=1)
    second.settle()
    second.advance(hours=2)
    assert started(second) == hours("hourly", 1, 2, 3)
    second.close()


def test_a_change_by_another_engine_counts_at_once(path: Path, clock: Clock) -> None:
    with Engine(path, hello) as one, Engine(path, hello) as other:
        one.schedule("a", hello, every=HOUR)
        one.schedule("b", hello, every=HOUR)
        one.schedule("c", hello, every=HOUR)
        other.pause_schedule("a")
        other.unschedule("b")
        other.schedule("c", hello, every=2 * HOUR, replace=True)
        one.advance(hours=2)
        assert started(one) == hours("c", 2)


def test_a_clock_that_is_set_back_starts_nothing_twice(clock: Clock, engine: Engine) -> None:
    engine.schedule("hourly", hello, every=HOUR)
    engine.advance(hours=3)
    engine.unschedule("hourly")
    clock.move_to(MONDAY)
    engine.settle()
    engine.schedule("hourly", hello, every=HOUR)
    engine.advance(hours=4)
    assert started(engine) == hours("hourly", 1, 2, 3, 4)


# ---- daylight saving


class Change(NamedTuple):
    cron: str
    zone: str
    begin: str
    local: list[str]


CHANGES = [
    # The gap: clocks go from 2:00 to 3:00.
    Change("30 2 * * *", ROME, "2026-03-28 12:00", ["29 03:00+02:00", "30 02:30+02:00"]),
    Change("30 2 * * *", NEW_YORK, "2026-03-07 12:00", ["08 03:00-04:00", "09 02:30-04:00"]),
    Change("*/30 * * * *", ROME, "2026-03-29 01:00", ["29 01:30+01:00", "29 03:00+02:00", "29 03:30+02:00"]),
    Change("*/30 2 * * *", ROME, "2026-03-28 12:00", ["30 02:00+02:00", "30 02:30+02:00"]),
    # The hour that comes twice: clocks go from 3:00 to 2:00 in Rome, from 2:00 to 1:00 in New York.
    Change("30 2 * * *", ROME, "2026-10-24 12:00", ["25 02:30+02:00", "26 02:30+01:00"]),
    Change("30 1 * * *", NEW_YORK, "2026-10-31 12:00", ["01 01:30-04:00", "02 01:30-05:00"]),
    Change(
        "*/30 * * * *",
        ROME,
        "2026-10-25 01:30",
        ["25 02:00+02:00", "25 02:30+02:00", "25 02:00+01:00", "25 02:30+01:00", "25 03:00+01:00"],
    ),
    Change("0 * * * *", NEW_YORK, "2026-11-01 00:30", ["01 01:00-04:00", "01 01:00-05:00", "01 02:00-05:00"]),
    Change("*/30 3 * * SUN", ROME, "2026-10-24 12:00", ["25 03:00+01:00", "25 03:30+01:00", "01 03:00+01:00"]),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.cron} in {change.zone} from {change.begin}")
def test_a_change_of_the_clocks_is_met_as_cron_meets_it(change: Change) -> None:
    zone = ZoneInfo(change.zone)
    begin = datetime.fromisoformat(change.begin).replace(tzinfo=zone)
    moments = list(itertools.islice(CronSim(change.cron, begin), len(change.local)))
    assert [shown(moment) for moment in moments] == change.local
    with freeze_time(begin.astimezone(UTC)), Engine(None, hello) as engine:
        schedule = engine.schedule("s", hello, cron=change.cron, tz=change.zone)
        assert [shown(moment) for moment in schedule.upcoming(len(moments))] == change.local
        while len(engine.list_executions()) < len(moments):
            due = engine.next_deadline()
            assert due is not None
            engine.advance(due - datetime.now(UTC))
        begun = [run.created_at for run in reversed(engine.list_executions())]
    assert begun == [moment.astimezone(UTC) for moment in moments]


def shown(moment: datetime) -> str:
    """Return day, time and offset."""
    return f"{moment:%d} {moment.isoformat()[11:16]}{moment.isoformat()[-6:]}"


def test_an_interval_does_not_care_for_the_clocks_on_the_wall() -> None:
    begin = datetime(2026, 10, 24, tzinfo=UTC)
    with freeze_time(begin), Engine(None, hello) as engine:
        schedule = engine.schedule("s", hello, every=timedelta(hours=24))
        assert schedule.upcoming(3) == [begin + timedelta(days=days) for days in (1, 2, 3)]


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


# ---- life of a schedule


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


# ---- misuse


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, UsageError, "either cron"),
        ({"cron": "0 2 * * *", "every": HOUR}, UsageError, "either cron"),
        ({"cron": "0 2 * *"}, UsageError, "five fields"),
        ({"cron": "61 2 * * *"}, UsageError, "Bad minute"),
        ({"cron": "nonsense at all is no cron"}, UsageError, "cannot be read"),
        ({"cron": ""}, UsageError, "five fields"),
        ({"cron": 5}, UsageError, "must be an expression"),
        ({"cron": "0 0 30 2 *"}, UsageError, "cannot be read"),
        ({"cron": "0 2 * * *", "tz": "Europe/Rom"}, UsageError, "did you mean 'Europe/Rome'"),
        ({"cron": "0 2 * * *", "tz": ""}, UsageError, "no time zone"),
        ({"cron": "0 2 * * *", "tz": "../etc/passwd"}, UsageError, "no time zone"),
        ({"cron": "0 2 * * *", "tz": UTC}, UsageError, "name of a time zone"),
        ({"every": HOUR, "tz": ROME}, UsageError, "no time zone"),
        ({"every": 0}, UsageError, "more than zero"),
        ({"every": -1}, UsageError, "more than zero"),
        ({"every": 0.5}, UsageError, "a second at least"),
        ({"every": "daily"}, UsageError, "expected seconds"),
        ({"every": 86_400_000}, UsageError, None),
        ({"every": HOUR, "overlap": "wait"}, UsageError, "overlap must be one of 'skip', 'queue', 'allow'"),
        ({"every": HOUR, "overlap": ["skip"]}, UsageError, "overlap"),
        ({"every": HOUR, "catch_up": True}, UsageError, "catch_up must be one of 'all', 'last', 'none'"),
        ({"every": HOUR, "input": object()}, InvalidPayload, "the input of schedule"),
        ({"every": HOUR, "workflow": "helo"}, UnknownWorkflow, "did you mean 'hello'"),
        ({"every": HOUR, "workflow": Workflow("other").wait_for("x")}, UnknownWorkflow, "other"),
        ({"every": HOUR, "name": ""}, UsageError, "not empty"),
        ({"every": HOUR, "name": "__s"}, UsageError, "reserved"),
        ({"every": HOUR, "name": None}, UsageError, "not empty"),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_refused_at_the_call(
    engine: Engine, arguments: dict[str, Any], error: type[Exception], says: str | None
) -> None:
    arguments = dict(arguments)
    name, workflow = arguments.pop("name", "s"), arguments.pop("workflow", hello)
    if says is None:  # more than a year in seconds would be; a thousand days are not
        arguments["every"] *= 1000
        says = "milliseconds"
    with pytest.raises(error, match=says):
        engine.schedule(name, workflow, **arguments)
    assert engine.schedules() == []


def test_a_name_that_no_schedule_has_is_refused(engine: Engine) -> None:
    engine.schedule("nightly", hello, every=HOUR)
    for verb in (engine.pause_schedule, engine.resume_schedule, engine.trigger, engine.unschedule):
        with pytest.raises(UnknownSchedule, match="did you mean 'nightly'"):
            verb("nightli")


def test_a_closed_engine_takes_no_schedule(path: Path) -> None:
    engine = Engine(path, hello)
    engine.close()
    calls: list[Callable[[], object]] = [
        lambda: engine.schedule("s", hello, every=HOUR),
        engine.schedules,
        lambda: engine.trigger("s"),
        lambda: engine.pause_schedule("s"),
        lambda: engine.resume_schedule("s"),
        lambda: engine.unschedule("s"),
    ]
    for call in calls:
        with pytest.raises(EngineClosed):
            call()


@pytest.fixture
def no_cronsim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Takes cronsim away."""

    def take_away() -> None:
        recurrence._cronsim.cache_clear()
        monkeypatch.setitem(sys.modules, "cronsim", None)

    yield take_away
    recurrence._cronsim.cache_clear()


def test_an_expression_without_cronsim_is_refused_and_an_interval_is_not(
    engine: Engine, no_cronsim: Callable[[], None]
) -> None:
    no_cronsim()
    with pytest.raises(MissingExtra, match=r'pip install "perdure\[cron\]"'):
        engine.schedule("s", hello, cron="0 2 * * *")
    engine.schedule("s", hello, every=HOUR)
    engine.advance(hours=1)
    assert started(engine) == hours("s", 1)


def test_where_cronsim_is_missing_a_kept_expression_does_not_tick_and_a_warning_says_so(
    path: Path, clock: Clock, no_cronsim: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with Engine(path, hello) as engine:
        engine.schedule("c", hello, cron="0 * * * *", input="Ada")
        engine.schedule("e", hello, every=HOUR)
        engine.pause_schedule("c")
        engine.schedule("d", hello, cron="0 * * * *")
    no_cronsim()
    with Engine(path, hello) as engine:
        engine.advance(hours=1)
        assert started(engine) == hours("e", 1)
        assert "the schedule 'd' does not tick" in caplog.text
        with pytest.raises(MissingExtra):
            engine.resume_schedule("c")
        with pytest.raises(MissingExtra):
            engine.schedules()[0].upcoming()
        assert engine.trigger("c").result(timeout=10) == "hello, Ada"
