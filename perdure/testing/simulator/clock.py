"""Time that moves when the simulator says so, and not otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...actors import clock
from ..freezing import START

__all__ = ["MICROS", "VirtualClock"]

MICROS = 1_000_000
"""Microseconds in a second."""


class VirtualClock:
    """An instant, in microseconds since the epoch.

    Attributes:
        now: The present; whoever holds the clock may move it.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = clock.to_micros(START)

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Make this the time of every engine of the process; it reads all time in one place."""
        real = clock.micros
        clock.micros = lambda: self.now
        try:
            yield
        finally:
            clock.micros = real
