"""Notices that another connection has changed a database, by a counter that SQLite keeps in shared memory.

Asking costs some microseconds and reads nothing from the disk.
"""

from __future__ import annotations

import sqlite3
import time
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from .faults import NOTHING_WRITTEN, explain

__all__ = ["Watch"]

_PAUSE: Final = 0.05


class Watch:
    """Looks at one database; for one thread at a time."""

    def __init__(self, path: str) -> None:
        """Begin: what is committed from now on is noticed.

        Raises:
            StoreError: It cannot be read; so does `wait`.
        """
        self._path = path
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise explain(error, path, NOTHING_WRITTEN) from error
        self._seen = self._version()

    def __enter__(self) -> Self:
        """Return the watch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._connection.close()

    def _version(self) -> int:
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise explain(error, self._path, NOTHING_WRITTEN) from error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something was committed since the last call; tell whether it was.

        Args:
            timeout: Real seconds; None waits for ever.
        """
        deadline = None if timeout is None else time.clock_gettime(time.CLOCK_MONOTONIC) + timeout
        while (version := self._version()) == self._seen:
            if deadline is not None and time.clock_gettime(time.CLOCK_MONOTONIC) >= deadline:
                return False
            time.sleep(_PAUSE)
        self._seen = version
        return True
