"""The engine's own asyncio loop, for ``async def`` handlers.

Its time is the monotonic clock of the operating system, relative to when the loop was made: a stock loop reads a clock
that freezegun freezes, and then sleeps for ever or spins.
"""

from __future__ import annotations

import asyncio

from . import clock

__all__ = ["EngineLoop"]


class EngineLoop(asyncio.SelectorEventLoop):
    """A selector loop on real, relative time."""

    def __init__(self) -> None:
        self._base = clock.monotonic()
        super().__init__()

    def time(self) -> float:
        """Return real seconds since the loop was made."""
        return clock.monotonic() - self._base
