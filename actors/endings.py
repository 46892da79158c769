"""Who waits for the end of which run, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ..persistence.records import ExecutionRow

__all__ = ["Ending", "Endings"]


class Ending:
    """The end of one run, as whoever has started it will see it.

    Attributes:
        row: The run's row at its first end, once that has been announced.
    """

    __slots__ = ("__weakref__", "row")

    def __init__(self) -> None:
        self.row: ExecutionRow | None = None


class Endings:
    """Callbacks by execution id; each is called once: at the announcement of the end, or with None at the close."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Callable[[ExecutionRow | None], None]]] = {}
        self._expected: WeakValueDictionary[str, Ending] = WeakValueDictionary()

    def expect(self, execution_id: str) -> Ending:
        """Return the end of a run that is about to be started; it is kept as long as the caller keeps it."""
        ending = self._expected[execution_id] = Ending()
        return ending

    def when(self, execution_id: str, callback: Callable[[ExecutionRow | None], None]) -> Callable[[], None]:
        """Have the callback called with the row at the next end of this run; return what takes it back."""
        with self._lock:
            self._waiting.setdefault(execution_id, []).append(callback)

        def withdraw() -> None:
            with self._lock:
                callbacks = self._waiting.get(execution_id, [])
                if callback in callbacks:
                    callbacks.remove(callback)
                if not callbacks:
                    self._waiting.pop(execution_id, None)

        return withdraw

    def waited_for(self) -> set[str]:
        """Return the runs that somebody waits for."""
        with self._lock:
            return set(self._waiting)

    def close(self) -> None:
        """Call everybody with None: no end will be announced any more."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for callbacks in waiting.values():
            for callback in callbacks:
                callback(None)

    def ended(self, row: ExecutionRow) -> None:
        """Call whoever waits for this run."""
        if (ending := self._expected.pop(row.execution_id, None)) is not None:
            ending.row = row
        if not self._waiting:
            return
        with self._lock:
            callbacks = self._waiting.pop(row.execution_id, ())
        for callback in callbacks:
            callback(row)
