"""The passing of time in tests: everything due is done, and frozen time is moved on from deadline to deadline.

Nothing here may be called on a thread that what is waited for needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from .actors import clock
from .actors.joining import Joining
from .actors.lanes import ThreadLanes
from .actors.supervisor import FireNext
from .actors.timekeeper import Timekeeper
from .dsl.errors import UsageError, WaitTimeout
from .frozen import FrozenTime, span

__all__ = ["Passing"]

_AT_WORK: Final = 0.02
"""Share of the time for which a process computes that is doing something, on a machine that many share."""

_LOOKS: Final = 10
"""Looks that make up the patience: if the machine stands still, that is one look, however long it lasts."""


class Passing:
    """Moves one engine's time."""

    def __init__(
        self, lanes: ThreadLanes, timekeeper: Timekeeper, joining: Joining, ask: Callable[[Any, str], Any]
    ) -> None:
        self._lanes = lanes
        self._timekeeper = timekeeper
        self._joining = joining
        self._ask = ask
        self._moving = threading.Lock()

    def settle(self, timeout: float, patience: float) -> None:
        """Fire everything that is due, and return when nothing is left to do; see `Engine.settle`."""
        with self._lanes.alarm_paused():
            self._settle(timeout, patience, until=None)

    def _settle(self, timeout: float, patience: float, *, until: datetime | None) -> None:
        """Settle; a handler that hangs is left alone if it has a time limit by then."""
        deadline = clock.monotonic() + timeout
        while True:
            computed = clock.computed()
            if self.comes_to_rest(deadline, patience):
                if not self._joining.look() and not self.fire_next():
                    return
                continue
            if clock.computed() - computed > patience * _AT_WORK and clock.monotonic() < deadline:
                continue
            limit = self._lanes.exclusively(self._timekeeper.next_limit)
            if limit is not None and limit <= clock.micros():
                self._ask(FireNext(), "settle")
            elif limit is not None and until is not None and limit <= clock.to_micros(until):
                return
            elif clock.monotonic() >= deadline:
                msg = f"{self._lanes.in_flight} things are still in flight after {timeout:g} s (a handler that blocks?)"
                raise WaitTimeout(msg)

    def is_at_rest(self) -> bool:
        """Tell whether nothing is under way, and nothing due."""
        due = self.next_due()
        return (due is None or due > clock.micros()) and not self._lanes.in_flight

    def comes_to_rest(self, deadline: float, patience: float) -> bool:
        """Wait until nothing is in flight, for as long as a machine that never stands still needs for the patience."""
        look = patience / _LOOKS
        return any(self._lanes.wait_idle(min(deadline, clock.monotonic() + look)) for _ in range(_LOOKS))

    def fire_next(self) -> bool:
        """Fire the first timer that is due; tell whether there was one, or anything else is under way by now."""
        due = self.next_due()
        fired = due is not None and due <= clock.micros() and self._ask(FireNext(), "settle")
        # An alarm that was about to ring when it was paused may have been first, after the look at what is in flight.
        return bool(fired) or self._lanes.in_flight > 0

    def next_due(self) -> int | None:
        """Return the instant at which the next timer is due, or None if none is pending."""
        due: int | None = self._lanes.exclusively(self._timekeeper.next_due)
        return due

    def next_deadline(self) -> datetime | None:
        """Return when the next timer is due, or None if none is pending."""
        due = self.next_due()
        return None if due is None else clock.from_micros(due)

    def advance(self, delta: timedelta | None, parts: dict[str, float], timeout: float, patience: float) -> None:
        """Move frozen time on from deadline to deadline, settling at each; see `Engine.advance`."""
        frozen = FrozenTime()
        target = frozen.now() + span(delta, parts)
        if not self._moving.acquire(blocking=False):
            msg = "another thread is moving the time of this engine; advance() from one thread at a time"
            raise UsageError(msg)
        try:
            with self._lanes.alarm_paused():
                self._settle(timeout, patience, until=target)
                while (due := self.next_deadline()) is not None and frozen.now() < due <= target:
                    frozen.move_to(due)
                    self._settle(timeout, patience, until=target)
                frozen.move_to(target)
                self._settle(timeout, patience, until=None)
        finally:
            self._moving.release()
