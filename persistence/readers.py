"""Connections to one SQLite file that only read: from any thread, and kept for whoever asks next."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from .looking import teach

__all__ = ["Readers"]

_IDLE: Final = 4


class Readers:
    """The readers of one file."""

    def __init__(self, path: str, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []
        self._guard = threading.Lock()

    def take(self) -> sqlite3.Connection:
        """Return one that nobody uses."""
        with self._guard:
            if self._idle:
                return self._idle.pop()
        return self.make()

    def give_back(self, reader: sqlite3.Connection, wanted: Callable[[], bool]) -> None:
        """Keep one for the next who asks, if it is wanted still and there are not enough."""
        with self._guard:
            if wanted() and len(self._idle) < _IDLE:
                self._idle.append(reader)
                return
        reader.close()

    def make(self) -> sqlite3.Connection:
        """Return a new one, which is the caller's to close or to give back."""
        reader = sqlite3.connect(
            f"file:{quote(self._path)}?mode=ro",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        teach(reader)
        return reader

    def close(self) -> None:
        """Close those that nobody uses."""
        with self._guard:
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()
