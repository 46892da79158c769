"""Time in tests: frozen, and moved on by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

from .. import arguments
from .driving import DrivingVerbs

__all__ = ["TimeVerbs"]


class TimeVerbs(DrivingVerbs):
    """What a test does with an engine's time."""

    def settle(self, timeout: float = 30, *, patience: float = 0.5) -> None:
        """Fire everything that is due now, in order, and return when nothing is left to do.

        For tests: with time frozen, every mailbox, handler, commit, event and due timer is done when it returns. A
        handler whose time limit has come and that hangs is not waited for any longer.

        Args:
            timeout: Real seconds to wait for handlers.
            patience: Real seconds after which a handler hangs, if this process has computed next to nothing in them.

        Raises:
            WaitTimeout: something was still in flight.
            WouldDeadlock: called in a handler or listener.
        """
        self._machine.check_open("settle")
        arguments.check_patience(timeout)
        arguments.check_seconds(patience, "patience")
        self._machine.check_may_wait(None)
        self._machine.passing.settle(timeout, patience)

    def next_deadline(self) -> datetime | None:
        """Return when the next timer is due, or None if none is pending."""
        self._machine.check_open("read the timers")
        return self._machine.passing.next_deadline()

    def advance(
        self, delta: timedelta | None = None, *, timeout: float = 30, patience: float = 0.5, **parts: float
    ) -> None:
        """Move frozen time on from deadline to deadline, so that everything due happens at its own moment; for tests.

        Args:
            delta: How far, or
            timeout: Real seconds to wait for handlers at each deadline.
            patience: Real seconds after which a handler hangs; see `settle`.
            parts: the arguments of a `timedelta`, such as ``days=30``.

        Raises:
            UsageError: time is not frozen by freezegun, would go back, or is being moved by another thread.
            WaitTimeout: something was still in flight.
            WouldDeadlock: called in a handler or listener.
        """
        self._machine.check_open("advance")
        arguments.check_patience(timeout)
        arguments.check_seconds(patience, "patience")
        self._machine.check_may_wait(None)
        self._machine.passing.advance(delta, parts, timeout, patience)
