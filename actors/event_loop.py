"""The engine's own asyncio loop, for ``async def`` handlers.

Its time is the monotonic clock of the operating system, relative to when the loop was made: a stock loop reads a clock
that freezegun freezes, and then sleeps for ever or spins.
"""

from __future__ import annotations

import asyncio
import threading

from . import clock

__all__ = ["EngineLoop"]


class EngineLoop(asyncio.SelectorEventLoop):
    """A selector loop on real, relative time.

    Attributes:
        thread: The number of the thread that runs it, once one does.
    """

    def __init__(self) -> None:
        self._base = clock.monotonic()
        self.thread = 0
        super().__init__()

    def run_forever(self) -> None:
        """Run on this thread until the loop is stopped."""
        self.thread = threading.get_ident()
        super().run_forever()

    def time(self) -> float:
        """Return real seconds since the loop was made."""
        return clock.monotonic() - self._base
