"""An address that stands on a lease, by the server's clock; for sessions that a pooler lends by transaction.

Rules:

1. The lease is a row that is written anew twice a second. Whoever has not done so for some seconds is not there; of the
   clocks, only the server's is asked.
2. Invariant: a holder thinks that its lease has lapsed before anybody else does, since it counts from before it asked
   the server to renew it. From then on it writes nothing until it was renewed; that it is too late is for the fence.
3. What is sent to the address is rows that go with the lease. They are looked for every fifth of a second, and more
   often while some arrive.
"""

# ruff: noqa: S608 - the pieces are ours.

from __future__ import annotations

import contextlib
import select
from typing import Final, LiteralString

import psycopg

from ..faults import NOTHING_WRITTEN
from .faults import explain
from .footing import INTERVAL, SILENCE, keyspace_of, now, there
from .server import Server, Session

__all__ = ["ByLease"]

_OFTEN: Final = 0.02
_SELDOM: Final = 0.2

# None of it must be on disk; so no transaction waits for that.
_HURRY: Final = "(SELECT set_config('synchronous_commit', 'off', true)) AS hurry"
_UNTIL: Final = f"clock_timestamp() + {INTERVAL}"
_TAKE: Final = f"""
    INSERT INTO workflow_presence (address, until) SELECT $1, {_UNTIL} FROM {_HURRY}
    ON CONFLICT (address) DO UPDATE SET until = excluded.until
"""
_RENEW: Final = f"UPDATE workflow_presence SET until = {_UNTIL} FROM {_HURRY} WHERE address = $1"
_LET_GO: Final = f"DELETE FROM workflow_presence USING {_HURRY} WHERE address = $1"
_CLEAR: Final = f"DELETE FROM workflow_presence USING {_HURRY} WHERE until < clock_timestamp() - interval '1 hour'"
_RECEIVE: Final = f"DELETE FROM workflow_notices USING {_HURRY} WHERE address = $1 RETURNING id, body"


class ByLease:
    """A lease for one address."""

    def __init__(self, server: Server, address: int, wake: int) -> None:
        self._server = server
        self.address = address
        self._wake = wake
        self._session: Session | None = None
        self._pause = _SELDOM
        self.keyspace = 0
        self.lapses_at = 0.0

    def take(self) -> None:
        """Write the lease, and clear away those of others that died long ago."""
        if self._session is not None:
            self._session.close()
        session = self._server.connect(purpose="perdure", settings={})
        try:
            self.keyspace = keyspace_of(session)
            session.execute(_CLEAR)
            self._prolong(session, _TAKE)
        except psycopg.Error as error:
            session.close()
            raise explain(error, self._server.name, NOTHING_WRITTEN) from error
        self._session = session

    @property
    def _open(self) -> Session:
        assert self._session is not None, "an address is taken first"
        return self._session

    def _prolong(self, session: Session, statement: LiteralString) -> None:
        asked_at = now()
        if session.execute(statement, (self.address,)).rowcount != 1:
            raise psycopg.OperationalError("the lease was taken away")
        self.lapses_at = asked_at + SILENCE

    def receive(self, seconds: float) -> list[str]:
        """Look for rows, again and again."""
        until = now() + seconds
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        while not (found := self._found()) and (left := until - now()) > 0:
            if waiting.poll(min(left, self._pause) * 1000):
                break
            self._pause = min(2 * self._pause, _SELDOM)
        if found:
            self._pause = _OFTEN
        return found

    def _found(self) -> list[str]:
        return [body for _, body in sorted(self._open.execute(_RECEIVE, (self.address,)).fetchall())]

    def renew(self) -> None:
        """Write the lease anew."""
        self._prolong(self._open, _RENEW)

    def look(self) -> set[int]:
        """Write the lease anew, and ask who is there."""
        self.renew()
        return there(self._open, self.keyspace)

    def let_go(self) -> None:
        """Delete the lease, with what was sent."""
        with contextlib.suppress(psycopg.Error):
            self._open.execute(_LET_GO, (self.address,))
        self._open.close()
