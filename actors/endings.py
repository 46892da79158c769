"""Who waits for the end of which run, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..persistence.records import ExecutionRow

__all__ = ["Endings"]


class Endings:
    """Callbacks by execution id; each is called once: at the announcement of the end, or with None at the close."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Callable[[ExecutionRow | None], None]]] = {}

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

    def close(self) -> None:
        """Call everybody with None: no end will be announced any more."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for callbacks in waiting.values():
            for callback in callbacks:
                callback(None)

    def ended(self, row: ExecutionRow) -> None:
        """Call whoever waits for this run."""
        if not self._waiting:
            return
        with self._lock:
            callbacks = self._waiting.pop(row.execution_id, ())
        for callback in callbacks:
            callback(row)
