"""A wrong word about a schedule is refused at the call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, InvalidPayload, UnknownWorkflow, UsageError, Workflow
from perdure.actors import recurrence
from perdure.errors import EngineClosed, MissingExtra, UnknownSchedule
from tests.patience import PATIENCE

from ..drive import Clock
from .almanac import HOUR, ROME, hello, hours, started


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
        assert engine.trigger("c").result(timeout=PATIENCE) == "hello, Ada"
