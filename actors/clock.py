"""The one place that reads a clock.

Wall time is looked up at the moment of asking, so that it is frozen whenever a test froze it: freezegun leaves
``time.time()`` real in threads with shallow stacks, but never ``datetime.now``. So `datetime` is asked whether time is
frozen, and for the time if it is; the system's clock, which costs a quarter of that, if it is not. Guards that must
never freeze use the monotonic clock of the operating system, which freezegun does not touch.
"""

from __future__ import annotations

import datetime
import time

__all__ = ["computed", "from_micros", "give_way", "is_frozen", "micros", "monotonic", "next_try", "to_micros"]

_MICROS = 1_000_000
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_timestamp = datetime.datetime.timestamp  # the real class's: that of a frozen time gives the same, in thrice the time


def micros() -> int:
    """Return the present, in microseconds since the epoch, UTC; frozen when a test has frozen time."""
    if datetime.datetime.__module__ == "datetime":  # `is_frozen`, without the call
        return time.time_ns() // 1000
    while True:
        try:
            return round(_timestamp(datetime.datetime.now(datetime.UTC)) * _MICROS)
        except IndexError:  # freezegun raises this in other threads at the moment a freeze ends
            continue


def to_micros(moment: datetime.datetime) -> int:
    """Return an aware point in time in microseconds since the epoch."""
    return round(_timestamp(moment) * _MICROS)


def from_micros(instant: int) -> datetime.datetime:
    """Return an instant as an aware datetime, UTC."""
    return _EPOCH + datetime.timedelta(microseconds=instant)


def next_try(failures: int) -> int:
    """Return when something of ours that has failed so often is tried again: later and later, but within 30 seconds."""
    return micros() + min(50_000 << min(failures, 10), 30 * _MICROS)


def monotonic() -> float:
    """Return seconds that never freeze and never go back; for guards and busy waits only."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def give_way() -> None:
    """Let the threads that wait for the interpreter have it; returns at once when there are none."""
    time.sleep(0)


def computed() -> float:
    """Return for how many seconds this process has computed so far, on all its threads."""
    return time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)


def is_frozen() -> bool:
    """Tell whether a test holds time still, or moves it itself."""
    # By its module: freezegun replaces every other reference to the real class, one kept here too.
    return datetime.datetime.__module__ != "datetime"
