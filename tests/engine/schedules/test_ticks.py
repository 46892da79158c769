"""Every tick starts its run once, on time, whatever happens to processes and to the clocks on the wall."""

from __future__ import annotations

import contextlib
import itertools
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from freezegun import freeze_time

from perdure import Engine, State, Workflow
from perdure.errors import StoreUnavailable
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from tests.patience import PATIENCE

from ..drive import Clock, files_of, photographs_of
from .almanac import HOUR, MONDAY, NEW_YORK, ROME, hello, hours, started

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
            engine.settle()  # what was left under way when the process died, though no tick is due any more
            while (due := engine.next_deadline()) is not None and due <= MONDAY + 3 * HOUR:
                frozen.move_to(max(due, datetime.now(UTC)))
                engine.settle()
            engine.settle()  # what was overdue may have been noticed before the first look at the deadlines
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


def test_an_engine_goes_on_when_the_one_that_made_the_schedule_is_gone(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Engine(path, hello)
    first.schedule("hourly", hello, every=HOUR)
    with Engine(path, hello) as second:
        first.advance(hours=1)
        office, has_heard = second._machine.supervisor, threading.Event()
        read_schedules = office.read_schedules

        def read() -> None:
            read_schedules()
            has_heard.set()

        monkeypatch.setattr(office, "read_schedules", read)
        first.close()
        assert has_heard.wait(PATIENCE)  # an engine hears of another's end a moment after it
        second.settle()
        second.advance(hours=2)
        assert started(second) == hours("hourly", 1, 2, 3)


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
