"""Schedules as callers see them, and the checks of what callers say of one."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal, TypedDict, cast
from zoneinfo import ZoneInfo

from . import arguments
from .actors import clock
from .actors.recurrence import Cron, Every, Recurrence, recurrence_of, zone_of
from .dsl.errors import UsageError
from .dsl.names import check_name
from .dsl.policies import Duration
from .persistence import codec
from .persistence.records import ScheduleRow

__all__ = ["CatchUp", "Overlap", "Schedule", "ScheduleOptions", "wanted_row"]

Overlap = Literal["skip", "queue", "allow"]
CatchUp = Literal["all", "last", "none"]

_SECOND: Final = 1_000_000


class ScheduleOptions(TypedDict, total=False):
    """Keywords of `Engine.schedule`, but for the input."""

    cron: str | None
    every: Duration | None
    tz: str | ZoneInfo | None
    overlap: Overlap
    catch_up: CatchUp
    replace: bool


class Schedule:
    """What a schedule looks like at one moment.

    Times are in the schedule's own time zone; those of an interval are in UTC.

    Attributes:
        name: Name of the schedule.
        workflow_name: Name of the workflow whose runs it starts.
        version: Version it starts, or None for the one registered last.
        cron: The expression, or None.
        tz: Name of the time zone the expression is read in.
        every: The interval, where there is no expression.
        overlap: What a tick does while the run before is unfinished: ``skip``, ``queue`` or ``allow``.
        catch_up: What is made up for after a time without an engine: ``all``, ``last`` or ``none``.
        paused: Whether ticks are passed over.
        last_run: Id of the run it started last.
        runs: How many runs it has started.
        skipped: How many ticks it has skipped because a run was unfinished.
        queued: How many ticks wait for the run before to end.
    """

    def __init__(self, row: ScheduleRow) -> None:
        self._row = row
        self.name = row.name
        self.workflow_name = row.workflow
        self.version = row.version
        self.cron = row.cron
        self.tz = row.tz
        self.every = None if row.every is None else timedelta(microseconds=row.every)
        self.overlap = cast("Overlap", row.overlap)
        self.catch_up = cast("CatchUp", row.catch_up)
        self.paused = row.paused
        self.last_run = row.last_run
        self.runs = row.runs
        self.skipped = row.skipped
        self.queued = len(row.queued)

    def __repr__(self) -> str:
        """Show name, workflow and times."""
        when = repr(self.cron) if self.cron is not None else f"every {self.every}"
        return f"<Schedule {self.name} {self.workflow_name} {when}{' paused' if self.paused else ''}>"

    @cached_property
    def input(self) -> Any:
        """What its runs are started with."""
        return codec.decode(self._row.input)

    @property
    def created_at(self) -> datetime:
        """When it was made."""
        return self._moment(self._row.created_at)

    @property
    def next_at(self) -> datetime | None:
        """When it ticks next; None while it is paused, or if it never does again."""
        due = self._row.next_due
        return None if self.paused or due is None else self._moment(due)

    @property
    def last_at(self) -> datetime | None:
        """The tick that was handled last, whether or not it started a run."""
        return None if self._row.last_due is None else self._moment(self._row.last_due)

    def upcoming(self, count: int = 5) -> list[datetime]:
        """Return when it ticks next, so many times; nothing while it is paused.

        Raises:
            MissingExtra: it has a cron expression and cronsim is not installed.
        """
        recurrence = recurrence_of(self._row)
        due = None if self.paused else self._row.next_due
        ticks: list[datetime] = []
        while due is not None and len(ticks) < count:
            ticks.append(self._moment(due))
            due = recurrence.after(due)
        return ticks

    def _moment(self, instant: int) -> datetime:
        return clock.from_micros(instant).astimezone(zone_of(self.tz or "UTC"))


def wanted_row(
    name: str,
    *,
    workflow: str,
    version: str | None,
    encoded_input: str,
    cron: str | None,
    every: Duration | None,
    tz: str | ZoneInfo | None,
    overlap: str,
    catch_up: str,
) -> ScheduleRow:
    """Return the row of a schedule as a caller describes it, checked; when it begins is not said yet.

    Raises:
        UsageError: something in it is wrong.
        MissingExtra: it has a cron expression and cronsim is not installed.
    """
    with arguments.of_a_call():
        check_name(name, "schedule")
    what = f"schedule {name!r}"
    if (cron is None) == (every is None):
        raise UsageError(f"{what}: give either cron, such as '0 2 * * *', or every, such as timedelta(hours=1)")
    arguments.check_choice(overlap, Overlap, f"{what}: overlap")
    arguments.check_choice(catch_up, CatchUp, f"{what}: catch_up")
    interval, zone, recurrence = _times(cron, every, tz, what)
    if recurrence.after(clock.micros()) is None:
        raise UsageError(f"{what}: cron {cron!r} never comes")
    return ScheduleRow(
        name=name,
        workflow=workflow,
        version=version,
        input=encoded_input,
        cron=cron,
        tz=zone,
        every=interval,
        anchor=0,
        overlap=overlap,
        catch_up=catch_up,
        next_due=None,
        paused=False,
        queued=(),
        running=(),
        last_due=None,
        last_run=None,
        runs=0,
        skipped=0,
        revision=0,
        created_at=0,
    )


def _times(cron: Any, every: Duration | None, tz: Any, what: str) -> tuple[int | None, str | None, Recurrence]:
    """Return the interval in microseconds or the name of the time zone, and the ticks that follow from it."""
    if every is not None:
        if tz is not None:
            raise UsageError(f"{what}: an interval has no time zone: leave tz out, or give cron")
        interval = _interval(every, what)
        return interval, None, Every(interval, 0)
    if not isinstance(cron, str):
        raise UsageError(f"{what}: cron must be an expression such as '0 2 * * *', not {cron!r}")
    zone = tz.key if isinstance(tz, ZoneInfo) else "UTC" if tz is None else tz
    if not isinstance(zone, str):
        raise UsageError(f"{what}: tz must be the name of a time zone, such as 'Europe/Rome', not {tz!r}")
    return None, zone, Cron(cron, zone_of(zone))


def _interval(every: Duration, what: str) -> int:
    interval = arguments.microseconds(every, f"{what}: every", positive=True)
    if interval < _SECOND:
        raise UsageError(f"{what}: every must be a second at least, got {every!r}")
    return interval
