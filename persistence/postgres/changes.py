"""Notices that somebody has written to the server, by the number of the newest transaction."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

import psycopg

from ..faults import NOTHING_WRITTEN
from .faults import explain
from .server import Server

__all__ = ["ServerChanges"]

_PAUSE: Final = 0.2
_NEWEST: Final = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, pg_snapshot_xmin(pg_current_snapshot())::text"


class ServerChanges:
    """Looks at one server, for one thread at a time; other databases of it count: to look once more does no harm."""

    def __init__(self, url: str) -> None:
        """Begin: what is committed from now on is noticed."""
        self._server = Server(url)
        self._session = self._server.connect(purpose="perdure", settings={})
        self._seen = self._newest()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._session.close()

    def _newest(self) -> object:
        try:
            return self._session.execute(_NEWEST).fetchone()
        except psycopg.Error as error:
            raise explain(error, self._server.name, NOTHING_WRITTEN) from error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something was committed since the last call; tell whether it was.

        Args:
            timeout: Real seconds; None waits for ever.
        """
        deadline = None if timeout is None else time.clock_gettime(time.CLOCK_MONOTONIC) + timeout
        while (newest := self._newest()) == self._seen:
            if deadline is not None and time.clock_gettime(time.CLOCK_MONOTONIC) >= deadline:
                return False
            time.sleep(_PAUSE)
        self._seen = newest
        return True
