"""Where time is frozen and nobody is there to move it, a wait without a limit may never end: it is told here.

Rules:

1. Nothing is said while anything may still come: while an engine of this process has something to do or a handler in
   flight, while time moves, or while any thread is there that is neither an engine's nor the one that waits.
2. Other processes may speak to a database that is shared. Who waits for a run on one is let wait for longer.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, Final

from .actors import clock
from .actors.interrupts import News, next_of

__all__ = ["Stillness"]

_NAP: Final = 0.1


class Stillness:
    """One wait without a limit; it is looked at only while time is frozen.

    Args:
        patience: Tells for how many real seconds nothing may happen before nothing will; None if anything may.
    """

    def __init__(self, patience: Callable[[], float | None]) -> None:
        self._patience = patience
        self._since: float | None = None

    def next_of(self, news: News) -> Any:
        """Wait for the next item.

        Raises:
            queue.Empty: none will come.
        """
        while clock.is_frozen():
            before = clock.micros()
            try:
                return next_of(news, _NAP)
            except queue.Empty:
                if self._lasts(time_stood=clock.micros() == before):
                    return next_of(news, 0)  # what was under way may have come to its end between the two looks
        return next_of(news)

    def _lasts(self, *, time_stood: bool) -> bool:
        """Tell whether nothing has happened for so long that nothing will."""
        patience = self._patience() if time_stood else None
        if patience is None:
            self._since = None
            return False
        now = clock.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since >= patience
