"""When a schedule ticks: a cron expression in a time zone, or a fixed interval.

Daylight saving is cronsim's, which is Debian cron's: what should happen at a fixed time that a change of the clocks
leaves out happens right after the gap, and what the change would repeat happens once; expressions with a star in
minute or hour go by the time that passes.

This file must never read a clock.
"""

from __future__ import annotations

import datetime
import functools
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ..dsl.errors import MissingExtra, UsageError, did_you_mean
from . import clock

if TYPE_CHECKING:
    from ..persistence.records import ScheduleRow

__all__ = ["Cron", "Every", "Recurrence", "last_tick", "recurrence_of", "zone_of"]

_FIRST_LOOK = 60_000_000


class Recurrence(Protocol):
    """The instants at which a schedule ticks, in microseconds since the epoch."""

    def after(self, instant: int) -> int | None:
        """Return the first tick later than this instant, or None if there is none."""
        ...


class Every:
    """A tick at every interval from an anchor on, the anchor itself left out."""

    def __init__(self, interval: int, anchor: int) -> None:
        self._interval = interval
        self._anchor = anchor

    def after(self, instant: int) -> int:
        """Return the first tick later than this instant."""
        return self._anchor + max((instant - self._anchor) // self._interval + 1, 1) * self._interval


class Cron:
    """A cron expression of five fields, or of six with the seconds first, read in a time zone."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        """Read the expression.

        Raises:
            UsageError: it is no cron expression.
            MissingExtra: cronsim is not installed.
        """
        self._simulator, error = _cronsim()
        self._expression = expression
        self._zone = zone
        try:
            self._moments(0)
        except (error, ValueError) as wrong:
            msg = (
                f"cron {expression!r} cannot be read: {wrong}; it takes five fields: minute, hour, day of month, month "
                "and day of week, as in '0 2 * * *'"
            )
            raise UsageError(msg) from None

    def _moments(self, instant: int) -> Any:
        return self._simulator(self._expression, instant, self._zone)

    def after(self, instant: int) -> int | None:
        """Return the first tick later than this instant, or None if there is none within 50 years."""
        for moment in self._moments(instant):
            # In an hour that comes twice, cronsim's first answer may lie in the first of the two.
            if (tick := clock.to_micros(moment)) > instant:
                return tick
        return None


def recurrence_of(row: ScheduleRow) -> Recurrence:
    """Return when a schedule ticks.

    Raises:
        MissingExtra: it has a cron expression and cronsim is not installed.
        UsageError: its time zone is not known here.
    """
    if row.every is not None:
        return Every(row.every, row.anchor)
    return Cron(row.cron or "", zone_of(row.tz or "UTC"))


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of this name.

    Raises:
        UsageError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, or a path, gives the others
        msg = f"there is no time zone {name!r}{_hint(name)}"
        raise UsageError(msg) from None


def _hint(name: str) -> str:
    hint = did_you_mean(name, available_timezones())
    return hint if hint.endswith("?") else "; zones have names such as 'Europe/Rome'"


def last_tick(recurrence: Recurrence, first: int, until: int) -> int:
    """Return the last tick that is not after an instant, given one that is not.

    Looks back from there, further and further, so that a year of missed minutes costs no more than a day.
    """
    last, span = first, _FIRST_LOOK
    while until - span > first:
        tick = recurrence.after(until - span)
        if tick is not None and tick <= until:
            last = tick
            break
        span *= 2
    while (tick := recurrence.after(last)) is not None and tick <= until:
        last = tick
    return last


@functools.cache
def _cronsim() -> tuple[Any, type[Exception]]:
    """Return cronsim's simulator, made to work under frozen time, and its error."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise MissingExtra("a schedule with cron=", "cron") from None
    real: type[datetime.datetime] = next(kind for kind in datetime.datetime.__mro__ if kind.__module__ == "datetime")
    epoch = real(1970, 1, 1, tzinfo=datetime.UTC)

    class Simulator(CronSim):
        """Keeps to real datetimes: freezegun's forget which of two equal hours they are in, which never ends."""

        def __init__(self, expression: str, instant: int, zone: ZoneInfo) -> None:
            super().__init__(expression, (epoch + datetime.timedelta(microseconds=instant)).astimezone(zone))

        def advance_month(self) -> None:
            super().advance_month()
            self._unfreeze()

        def advance_day(self) -> bool:
            advanced = super().advance_day()
            self._unfreeze()
            return advanced

        def _unfreeze(self) -> None:
            if type(self.dt) is not real:
                self.dt = real.combine(self.dt, self.dt.timetz())

    return Simulator, CronSimError
