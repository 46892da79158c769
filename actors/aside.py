"""A handler that waits for another run steps aside: others may use what it holds until that run has ended.

While it waits it holds no slot of ``concurrency``, a thread beyond the limit stands in for its own, and it does not
count as in flight; so the run that it waits for can always begin, and time can be moved on to what that run waits for.

Invariant: a handler counts as in flight again before the news that it waits for is on its way to it.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attempt import Attempt
    from .crew import Crew

__all__ = ["Aside", "AsideQueue"]


class Aside:
    """One wait of one handler; its methods may be called from any thread."""

    def __init__(self, crew: Crew, attempt: Attempt) -> None:
        self._crew = crew
        self._attempt = attempt
        self._guard = threading.Lock()
        self._news = 0
        self._away = False

    def step_aside(self) -> None:
        """Let others go on, unless there is news already."""
        with self._guard:
            if not self._away and self._news == 0:
                self._away = True
                self._crew.lend(self._attempt)

    def call_back(self) -> None:
        """Say that there is news: the handler goes on."""
        with self._guard:
            self._news += 1
            self._return()

    def come_back(self) -> None:
        """Go on without news."""
        with self._guard:
            self._return()

    def heard(self) -> None:
        """Say that one piece of news was taken in."""
        with self._guard:
            self._news -= 1

    def _return(self) -> None:
        if self._away:
            self._away = False
            self._crew.take_back(self._attempt)


class AsideQueue:
    """What `queue.SimpleQueue` is to others, for a handler: it steps aside while nothing is there."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, item: Any) -> None:
        """Put an item in, from any thread."""
        self._aside.call_back()
        self._items.put(item)

    def get(self, timeout: float | None = None) -> Any:
        """Take the next item out.

        Raises:
            queue.Empty: none came in time.
        """
        self._aside.step_aside()
        try:
            item = self._items.get(timeout=timeout)
        finally:
            self._aside.come_back()
        self._aside.heard()
        return item
