"""An address that stands on a session of its own.

The session holds the advisory lock of that number, and listens to the channel of that name. The server ends it when
nothing was said in it for some seconds, by its own clock. So the lock of a process that was stopped, or cut off, goes
like that of one that died; and no clock is compared with another.
"""

from __future__ import annotations

import contextlib
import math
import select
from typing import Final

import psycopg

from ...dsl.errors import StoreUnavailable
from ..faults import NOTHING_WRITTEN
from .faults import explain
from .footing import SILENCE, channel, keyspace_of, there
from .server import Server, Session, pooler_in_between

__all__ = ["BySession"]

_SILENCE: Final = round(SILENCE * 1000)
_SETTINGS: Final = {"idle_session_timeout": _SILENCE, "lock_timeout": 2000, "client_min_messages": "warning"}

_LOCK: Final = """
    SELECT pg_try_advisory_lock($1, $2),
    (SELECT setting::bigint FROM pg_settings WHERE name = 'idle_session_timeout')
"""
_UNLOCK: Final = "SELECT pg_advisory_unlock($1, $2)"


class BySession:
    """A session for one address."""

    lapses_at = math.inf
    """Never: the server ends the session, and that is how it is told."""

    def __init__(self, server: Server, address: int, wake: int) -> None:
        self._server = server
        self.address = address
        self._wake = wake
        self._session: Session | None = None
        self._arrived: list[str] = []
        self.keyspace = 0

    def take(self) -> None:
        """Open the session, lock and listen."""
        if self._session is not None:
            self._session.close()
        session = self._server.connect(purpose=f"perdure presence {self.address}", settings=_SETTINGS)
        # A notice may come with the answer to a statement as well.
        session.add_notify_handler(lambda notice: self._arrived.append(notice.payload))
        try:
            self.keyspace = keyspace_of(session)
            session.execute(f"LISTEN {channel(self.keyspace, self.address)}")  # pyright: ignore[reportCallIssue, reportArgumentType] - ours
            taken, silence = session.execute(_LOCK, (self.keyspace, self.address)).fetchone() or (False, 0)
        except psycopg.Error as error:
            session.close()
            raise explain(error, self._server.name, NOTHING_WRITTEN) from error
        if silence != _SILENCE:
            session.close()
            raise pooler_in_between(self._server.name, "it has not passed on what a session was to begin with")
        if not taken:
            session.close()
            raise StoreUnavailable(f"another process is engine {self.address} of {self._server.name!r}")
        self._session = session

    @property
    def _open(self) -> Session:
        assert self._session is not None, "an address is taken first"
        return self._session

    def receive(self, seconds: float) -> list[str]:
        """Wait for notices."""
        if not self._arrived:
            waiting = select.poll()
            waiting.register(self._wake, select.POLLIN)
            waiting.register(self._open.fileno(), select.POLLIN)
            if waiting.poll(seconds * 1000):
                self._open.pgconn.consume_input()
            while (notice := self._open.pgconn.notifies()) is not None:
                self._arrived.append(notice.extra.decode())
        arrived, self._arrived = self._arrived, []
        return arrived

    def renew(self) -> None:
        """Say something."""
        self._open.execute("SELECT 1")

    def look(self) -> set[int]:
        """Ask who is there, which is to say something."""
        return there(self._open, self.keyspace)

    def let_go(self) -> None:
        """Unlock, and end the session."""
        with contextlib.suppress(psycopg.Error):
            self._open.execute(_UNLOCK, (self.keyspace, self.address))
        self._open.close()
