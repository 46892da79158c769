"""Where handlers of a recording act: they log, sleep on a clock that only the player moves, and end the process.

No thread waits for time to pass. A sleeping handler stands in a queue until the player has moved the frozen time to its
hour; a handler that is to kill its process stands there until the player has seen everything else come to rest, so that
a recording does not depend on how fast a thread was.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .language import Pause
from .recording import Recording

__all__ = ["Clock", "VirtualStage"]

# Who sleeps wakes a little later than asked, as always: so handlers that sleep one after the other take longer than the
# sum of their sleeps.
OVERSLEPT = timedelta(milliseconds=1)


class Clock(Protocol):
    """What freezegun gives to whoever has frozen the time."""

    def move_to(self, target_datetime: datetime) -> None:
        """Make it that time."""


class _Sleeper(NamedTuple):
    due: datetime | None
    number: int
    wake: Callable[[], None]
    pause: Pause


class VirtualStage:
    """The stage of one phase.

    Attributes:
        now: The frozen time, which only `move_to` changes.
        most_asleep: How many handlers slept at the same time at most.
        kill_wanted: Whether a handler has asked for the process to be killed.
    """

    def __init__(self, recording: Recording, clock: Clock, now: datetime, folder: Path) -> None:
        self._recording = recording
        self._clock = clock
        self._folder = folder
        self._lock = threading.Lock()
        self._sleepers: dict[int, _Sleeper] = {}
        self._numbers = itertools.count()
        self._acting = 0
        self.now = now
        self.most_asleep = 0
        self.kill_wanted = False

    # ---- for handlers

    def log(self, text: str) -> None:
        """Record a side effect."""
        self._recording.add("log", text=text)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Count a handler from when it begins until it returns or raises."""
        with self._lock:
            self._acting += 1
        try:
            yield
        finally:
            with self._lock:
                self._acting -= 1

    def here(self, pause: Pause) -> None:
        """Make a ``def`` handler pause."""
        woken = threading.Event()
        with self._asleep(pause, woken.set) as sleeps:
            if sleeps:
                woken.wait()

    async def pause(self, pause: Pause) -> None:
        """Make an ``async def`` handler pause."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        with self._asleep(pause, lambda: _call_soon(loop, woken.set)) as sleeps:
            if sleeps:
                await woken.wait()

    @contextmanager
    def _asleep(self, pause: Pause, wake: Callable[[], None]) -> Iterator[bool]:
        if pause.kill is not None and not self._first_time(pause.kill):
            yield False
            return
        with self._lock:
            number = next(self._numbers)
            due = None
            if pause.milliseconds is not None:
                due = self.now + timedelta(milliseconds=pause.milliseconds) + OVERSLEPT
            self._sleepers[number] = _Sleeper(due, number, wake, pause)
            self.most_asleep = max(self.most_asleep, len(self._sleepers))
            self.kill_wanted = self.kill_wanted or pause.kill is not None
        try:
            yield True
        finally:
            with self._lock:
                self._sleepers.pop(number, None)

    def _first_time(self, name: str) -> bool:
        try:
            (self._folder / f"killed.{name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    # ---- for the player

    def move_to(self, moment: datetime) -> None:
        """Make it that time, and wake everyone who has slept long enough."""
        self._clock.move_to(moment.astimezone(UTC).replace(tzinfo=None))
        self._recording.add("time", at=moment.isoformat())
        with self._lock:
            self.now = moment
            due = [sleeper for sleeper in self._sleepers.values() if sleeper.due is not None and sleeper.due <= moment]
            for sleeper in due:
                del self._sleepers[sleeper.number]
        for sleeper in sorted(due, key=lambda sleeper: (sleeper.due, sleeper.number)):
            sleeper.wake()

    def next_due(self) -> datetime | None:
        """Return when the next handler will have slept long enough."""
        with self._lock:
            return min((sleeper.due for sleeper in self._sleepers.values() if sleeper.due is not None), default=None)

    def asleep(self) -> int:
        """Return how many handlers sleep that somebody waits for; a ``def`` that has timed out sleeps on alone."""
        with self._lock:
            return sum(sleeper.pause.awaited for sleeper in self._sleepers.values())

    def wake_everyone(self) -> None:
        """Let the handlers that still sleep go on, because nobody will move the time any more."""
        with self._lock:
            left = list(self._sleepers.values())
            self._sleepers.clear()
        for sleeper in left:
            sleeper.wake()

    def pulse(self) -> tuple[Any, ...]:
        """Return something that changes whenever something happens."""
        with self._lock:
            return len(self._recording.entries), self._acting, len(self._sleepers)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)
