"""The timekeeper: knows what is due next, and says so to the run it concerns.

Durable timers are rows; only the near ones are also on the heap, so a hundred thousand pending cost no memory. Time
limits of attempts are on the heap alone: a restart repeats the attempt and its limit with it. So are the next ticks of
schedules, which are few and have rows of their own.

Everything here is called by whoever holds the core; the alarm only brings mail.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..dsl.errors import StoreError
from ..dsl.messages import Timeout

if TYPE_CHECKING:
    from ..persistence.records import TimerRow
    from ..persistence.store import Store
    from .lanes import Lanes

__all__ = ["Timekeeper"]

_NEAR = 1000
_PATIENCE = 1_000_000
"""Microseconds until the disk is asked again for a run that it could not give."""


class Timekeeper:
    """A heap of near timers over the rows of all of them."""

    def __init__(self, store: Store, lanes: Lanes, deliver: Callable[[int, Timeout], None]) -> None:
        self._store = store
        self._lanes = lanes
        self._deliver = deliver
        self._heap: list[tuple[int, int, int, str, int | None]] = []
        self._armed: dict[tuple[int, str], int] = {}
        self._count = itertools.count()
        self._horizon: TimerRow | None = None
        """Durable timers after this one are in the rows only; None when all are on the heap."""

    def arm(self, due: int, run: int, key: str, *, attempt: int | None = None) -> None:
        """Have the run told when this instant comes; replaces the timer the key had."""
        if attempt is None and self._horizon is not None and due > self._horizon.due_at:
            self._armed.pop((run, key), None)
            return
        if self._armed.get((run, key)) != due:
            self._push(due, run, key, attempt)
            self._set_alarm()

    def arm_blindly(self, due: int, run: int, key: str) -> None:
        """Have the run told when this instant comes, and read nothing: the disk may be what has failed."""
        self._push(due, run, key, 0)
        # Not before, though others may be due: they would find a store that fails at once, and ring again and again.
        self._lanes.alarm(due)

    def disarm(self, run: int, key: str) -> None:
        """Forget a timer; its place on the heap is cleared in passing."""
        self._armed.pop((run, key), None)
        if len(self._heap) > 2 * len(self._armed) + _NEAR:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget all timers; `reload` reads those of the rows again."""
        self._heap.clear()
        self._armed.clear()

    def reload(self) -> None:
        """Read the near timers from the rows again: at start, and when workflows were registered."""
        self._horizon = None
        self._read_on()
        self._set_alarm()

    def _read_on(self) -> None:
        rows = self._store.due(None, after=self._horizon, limit=_NEAR)
        for row in rows:
            if self._armed.get((row.execution, row.key)) != row.due_at:
                self._push(row.due_at, row.execution, row.key, None)
        self._horizon = rows[-1] if len(rows) == _NEAR else None

    def next_due(self) -> int | None:
        """Return when the next timer is due."""
        while True:
            while self._heap and not self._counts(self._heap[0]):
                heapq.heappop(self._heap)
            due = self._heap[0][0] if self._heap else None
            if self._horizon is None or (due is not None and due <= self._horizon.due_at):
                return due
            self._read_on()

    def is_armed(self, run: int, key: str) -> bool:
        """Tell whether a timer is on the heap."""
        return (run, key) in self._armed

    def next_limit(self) -> int | None:
        """Return when the next attempt's time is up."""
        limits = [entry[0] for entry in self._heap if entry[4] and self._counts(entry)]
        return min(limits, default=None)

    def fire(self, now: int, *, only_one: bool = False) -> int:
        """Tell the runs whose timers are due, in order of due time; return how many were told."""
        fired = 0
        while True:
            due = self.next_due()
            if due is None or due > now or (only_one and fired):
                break
            entry = heapq.heappop(self._heap)
            _, _, run, key, attempt = entry
            del self._armed[run, key]
            try:
                self._deliver(run, Timeout(key, due, attempt))
            except StoreError:  # the run cannot be read: it must not wait for ever for a timer that has rung
                heapq.heappush(self._heap, entry)
                self._armed[run, key] = due
                self._lanes.alarm(now + _PATIENCE)
                raise
            fired += 1
        self._set_alarm()
        return fired

    def _push(self, due: int, run: int, key: str, attempt: int | None) -> None:
        self._armed[run, key] = due
        heapq.heappush(self._heap, (due, next(self._count), run, key, attempt))

    def _counts(self, entry: tuple[int, int, int, str, int | None]) -> bool:
        return self._armed.get((entry[2], entry[3])) == entry[0]

    def _set_alarm(self) -> None:
        self._lanes.alarm(self.next_due())
