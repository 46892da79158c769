"""`schedules` and its verbs change schedules with an engine on the database, and without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from perdure import Client, Engine, UsageError, Workflow
from perdure.dsl.errors import UnknownSchedule
from perdure.persistence.records import ScheduleRow
from tests.patience import PATIENCE

Perdure = Callable[..., Result]
Ask = Callable[..., Any]

HOUR = timedelta(hours=1)


def report() -> Workflow[Any, Any]:
    return Workflow("report").step("write", lambda ctx: f"report of {ctx.input}")


def scheduled(path: Path) -> Engine:
    engine = Engine(path, report(), durability="normal")
    engine.schedule("hourly", "report", every=HOUR, input="Rome")
    return engine


@pytest.fixture(params=["an engine", "no engine"])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine | None]:
    """A database with a schedule, beside an engine that has it open, or none."""
    with scheduled(folder / "perdure.db") as engine:
        if request.param == "an engine":
            yield engine
            return
    yield None


def test_schedules_are_listed_with_their_next_start(run: Perdure, ask: Ask, folder: Path) -> None:
    with Engine(folder / "perdure.db", Workflow("w").step("s", lambda: 1)) as engine:
        engine.schedule("hourly", "w", every=HOUR)
        engine.schedule("never", "w", every=60)
        engine.pause_schedule("never")

    shown = run("schedules").stdout.splitlines()

    assert shown[0].split()[:4] == ["schedule", "workflow", "when", "next"]
    assert shown[1].split()[:4] == ["hourly", "w", "every", "1:00:00"]
    assert "paused" in shown[2]
    assert [(one["name"], one["every"], one["paused"]) for one in ask("schedules")["schedules"]] == [
        ("hourly", 3600.0, False),
        ("never", 60.0, True),
    ]


def test_no_schedules_is_said(run: Perdure, runs: Path) -> None:
    assert run("schedules").stdout == "there are no schedules\n"


def test_a_schedule_is_paused_and_resumed(run: Perdure, ask: Ask, engine: Engine | None, folder: Path) -> None:
    assert run("schedules", "pause", "hourly").stdout == "paused hourly\n"
    assert ask("schedules")["schedules"][0]["paused"] is True
    assert run("schedules", "pause", "hourly").exit_code == 0
    if engine is not None:
        assert engine.schedules()[0].paused is True

    assert run("schedules", "resume", "hourly").stdout.startswith("resumed hourly, next at ")
    assert ask("schedules", "resume", "hourly")["paused"] is False
    with engine or Engine(folder / "perdure.db", report()) as now:
        assert now.schedules()[0].next_at is not None


def test_a_schedule_that_is_forgotten_is_gone(run: Perdure, ask: Ask, engine: Engine | None) -> None:
    assert run("schedules", "unschedule", "hourly").stdout == "unscheduled hourly\n"

    assert ask("schedules") == {"schedules": []}
    if engine is not None:
        assert engine.schedules() == []


def test_a_trigger_starts_a_run_as_a_tick_does(run: Perdure, ask: Ask, engine: Engine | None, folder: Path) -> None:
    triggered = run("schedules", "trigger", "hourly")

    [shown] = ask("schedules")["schedules"]
    assert shown["runs"] == 1
    assert f"triggered hourly as {shown['last_run']}" in triggered.stdout
    assert ("it is taken, or refused, when an engine opens" in triggered.stdout) is (engine is None)
    with engine or Engine(folder / "perdure.db", report()) as now, Client(now.path) as client:
        ended = client.run(shown["last_run"]).wait(PATIENCE, until="completed")
    assert (ended.result, ended.tags) == ("report of Rome", {"schedule": "hourly"})


def test_whoever_triggers_can_wait_for_the_end(run: Perdure, folder: Path) -> None:
    with scheduled(folder / "perdure.db"):
        told = run("schedules", "trigger", "hourly", "--wait")

    assert (told.exit_code, told.stdout.splitlines()[0].endswith("which is completed")) == (0, True)


def test_upcoming_times_are_told(run: Perdure, ask: Ask, folder: Path) -> None:
    with scheduled(folder / "perdure.db") as engine:
        engine.schedule("nightly", "report", cron="30 2 * * *", tz="Europe/Rome")

    assert len(run("schedules", "upcoming", "hourly").stdout.splitlines()) == 10
    told = ask("schedules", "upcoming", "nightly", "--count", "3")["upcoming"]
    assert [moment[11:16] for moment in told] == ["02:30"] * 3
    local = run("schedules", "upcoming", "nightly").stdout.splitlines()[0].split()[3:]
    assert local in (["02:30:00", "CET"], ["02:30:00", "CEST"])
    run("schedules", "pause", "nightly")
    assert run("schedules", "upcoming", "nightly").stdout == "nightly is paused\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "trigger", "unschedule", "upcoming"])
def test_a_name_that_is_not_there_is_one_line(run: Perdure, engine: Engine | None, verb: str) -> None:
    refused = run("schedules", verb, "hourl")

    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "did you mean 'hourly'?" in refused.stderr


def test_options_before_the_verb_are_refused_rather_than_ignored(run: Perdure, folder: Path) -> None:
    refused = run("schedules", "-d", "other.db", "pause", "hourly")

    assert refused.exit_code == 2
    assert "give options after the verb, as in: perdure schedules pause SCHEDULE -d PATH" in refused.stderr
    assert "there is no database" in run("schedules", "pause", "hourly").stderr
    assert list(folder.iterdir()) == []


def test_a_tick_that_is_due_passes_over_a_schedule_that_was_paused_meanwhile(folder: Path) -> None:
    path = folder / "perdure.db"
    with scheduled(path):
        pass
    with Client(path) as client:
        client.pause_schedule("hourly")
        with pytest.raises(UnknownSchedule):
            client.trigger("weekly")
        with pytest.raises(UsageError):
            client.pause_schedule(7)  # type: ignore[arg-type]
    with Engine(path, report()) as engine:
        assert engine.schedules()[0].paused is True


def test_two_clients_that_change_a_schedule_at_once_both_have_their_way(folder: Path) -> None:
    path = folder / "perdure.db"
    with scheduled(path) as engine, Client(path) as one, Client(path) as other:
        begin = one._timetable._start

        def start(row: ScheduleRow) -> str:  # between the reading of the row and its writing
            other.pause_schedule("hourly")
            return begin(row)

        one._timetable._start = start
        one.trigger("hourly").wait(PATIENCE)
        [now] = engine.schedules()

    assert (now.paused, now.runs) == (True, 1)


def test_a_schedule_on_a_server_is_steered_in_the_same_way(run: Perdure, postgres_url: str) -> None:
    with Engine(postgres_url, report(), durability="normal") as engine:
        engine.schedule("hourly", "report", every=HOUR, input="Rome")
        assert run("schedules", "pause", "hourly", "-d", postgres_url).stdout == "paused hourly\n"
        assert engine.schedules()[0].paused is True
        assert run("schedules", "trigger", "hourly", "-d", postgres_url, "--wait").exit_code == 0
        assert run("schedules", "unschedule", "hourly", "-d", postgres_url).exit_code == 0
        assert engine.schedules() == []
