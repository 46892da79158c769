"""What an address stands on: how a process is known to be there, and how it receives what is sent to it.

There are two: a session of its own (`by_session`), and, where a pooler lends sessions by transaction, a lease
(`by_lease`). Who uses which is seen by everybody, so both can be on one database: a client behind a pooler, and engines
that reach the server itself.
"""

# ruff: noqa: S608 - the pieces are ours.

from __future__ import annotations

import time
import zlib
from typing import Final, Protocol

from .server import Session

__all__ = ["INTERVAL", "SILENCE", "Footing", "channel", "is_dead", "keyspace_of", "now", "there"]

SILENCE: Final = 3.0
"""Seconds without a sign of life, by the server's clock, after which an address is free."""

INTERVAL: Final = "interval '3 seconds'"
"""The same, for the server."""

# A server's clock goes on while our machine is suspended. macOS has one that does so under the other name.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# A server that has just been started has held no lease to account: whoever had one is given time to come back.
_THERE: Final = f"""
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION
    SELECT address FROM workflow_presence
    WHERE greatest(until, pg_postmaster_start_time() + {INTERVAL}) >= clock_timestamp()
"""
# So are the sessions of engines that were there before the server was started; they are known to the second.
_DEAD: Final = f"""
    SELECT $2 NOT IN ({_THERE}) AND NOT EXISTS (
        SELECT 1 FROM workflow_engines WHERE id = $2
        AND to_timestamp(started_at / 1000000.0) < date_trunc('second', pg_postmaster_start_time())
        AND clock_timestamp() < pg_postmaster_start_time() + {INTERVAL}
    )
"""


class Footing(Protocol):
    """One address, as long as it is held; for one thread.

    Every method but `let_go` raises ``psycopg.Error`` when the server cannot be had, or has given the address up: then
    `take` is called again. A thread that waits is woken by the descriptor it was given.

    Attributes:
        address: The number.
        keyspace: What our locks and channels have in common.
        lapses_at: The time, as `now` tells it, from which on others may think that nobody is here.
    """

    address: int
    keyspace: int
    lapses_at: float

    def take(self) -> None:
        """Be there: others can see and call this address when this returns.

        Raises:
            StoreUnavailable: The server cannot be reached, or somebody else has the address.
        """
        ...

    def receive(self, seconds: float) -> list[str]:
        """Return what has arrived, once something has, the thread is woken, or so many real seconds have passed."""
        ...

    def renew(self) -> None:
        """Give a sign of life."""
        ...

    def look(self) -> set[int]:
        """Give a sign of life, and return the addresses that are taken."""
        ...

    def let_go(self) -> None:
        """Be there no longer."""
        ...


def now() -> float:
    """Return real seconds that never go back, and go on while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


def keyspace_of(session: Session) -> int:
    """Return what tells our locks and channels from those of others in one database: it depends on the schema."""
    schema = session.execute("SELECT current_schema()").fetchone()
    return zlib.crc32(f"perdure {schema}".encode()) & 0x7FFF_FFFF


def there(session: Session, keyspace: int) -> set[int]:
    """Return the addresses that are taken."""
    return {int(row[0]) for row in session.execute(_THERE, (keyspace,)).fetchall()}


def is_dead(session: Session, keyspace: int, engine: int) -> bool:
    """Tell whether an engine is gone for good, so that it may be taken over."""
    found = session.execute(_DEAD, (keyspace, engine)).fetchone()
    return found is not None and bool(found[0])


def channel(keyspace: int, address: int) -> str:
    """Return the channel on which an address is called that has a session of its own."""
    return f"perdure_{keyspace:08x}_{address}"
