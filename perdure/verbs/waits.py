"""Waiting for runs: what a handle on a run needs of the engine that drives it."""

from __future__ import annotations

from collections.abc import Callable

from ..actors.aside import Aside
from ..persistence.records import ExecutionRow
from .driving import DrivingVerbs

__all__ = ["WaitVerbs"]


class WaitVerbs(DrivingVerbs):
    """What tells a caller when it may go on, and whether it may wait at all."""

    def when_ended(self, id: str, callback: Callable[[ExecutionRow | None], None]) -> Callable[[], None]:
        """Have a callback called with a run's row at its end, or None at the close; returns what takes that back."""
        return self._machine.when_ended(id, callback)

    def when_changed(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called whenever there may be news of a run; returns what takes that back."""
        self._machine.check_open("wait")
        stop = self._machine.when_changed(id, callback)
        self._machine.exclusively(lambda: None)  # what was decided before anybody listened is on disk after this turn
        return stop

    def is_under_way(self, id: str) -> bool:
        """Tell whether a run is in memory and its end is still to come."""
        self._machine.check_open("wait")
        return self._machine.supervisor.is_under_way(id)

    def wait_told(self) -> None:
        """Wait until the listeners have been given the last event of a run that has ended."""
        self._machine.wait_told()

    def check_may_wait(self, id: str | None) -> None:
        """Raise `WouldDeadlock` where waiting for this run, or for everything, could never end."""
        self._machine.check_may_wait(id)

    def stillness(self) -> float | None:
        """Return for how many real seconds a wait in frozen time may see nothing happen; None while something may."""
        self._machine.check_open("wait")
        return self._machine.stillness()

    def check_may_block(self) -> None:
        """Raise `WouldDeadlock` where waiting would stop every coroutine of the engine."""
        self._machine.check_may_block()

    def aside(self) -> Aside | None:
        """Return how the handler that asks, if it is one, steps aside while it waits for another run."""
        return self._machine.aside()
