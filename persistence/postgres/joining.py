"""Callers' own connections to PostgreSQL, in whose transactions runs may be started."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import peewee
import psycopg
from psycopg.pq import TransactionStatus

from ...dsl.errors import UsageError
from ..connection import Connection
from .link import Link

__all__ = ["Joined", "identity_of", "part_of"]

_PAUSE: Final = 0.02
_XID: Final = "SELECT pg_current_xact_id()::text"
_UNDER_WAY: Final = "SELECT ?::xid8 >= pg_snapshot_xmin(pg_current_snapshot())"
_IDENTITY: Final = """
    SELECT current_database(), current_schema(), pg_postmaster_start_time()::text,
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def identity_of(connection: Connection) -> tuple[Any, ...]:
    """Return what tells a database and schema from any other."""
    return tuple(connection.execute(_IDENTITY).fetchone())


@contextlib.contextmanager
def part_of(tx: Any, identity: tuple[Any, ...], name: str) -> Iterator[Link]:
    """Give the connection on which a caller's transaction is open, for one part of it: all of it is done, or none.

    Args:
        tx: A ``psycopg.Connection``, or a peewee database.
        identity: What tells the engine's database.
        name: The engine's database, for messages.

    Raises:
        UsageError: It is neither, no transaction is open on it, or it is another database's.
    """
    link = Link(_connection_of(tx))
    if not link.in_transaction:
        if link.session.autocommit:
            raise UsageError(
                "tx has no transaction open: begin one first, so that the run and your rows are one commit"
            )
        link.execute("BEGIN")
    if identity_of(link) != identity:
        raise UsageError(f"tx is a connection to another database or schema than the engine's, {name!r}")
    link.execute("SAVEPOINT perdure")
    try:
        yield link
    except BaseException:
        link.execute("ROLLBACK TO perdure")
        raise
    finally:
        link.execute("RELEASE perdure")


def _connection_of(tx: Any) -> psycopg.Connection[Any]:
    connection: Any = tx
    if isinstance(tx, peewee.Database) and not tx.is_closed():
        connection = tx.connection()  # type: ignore[no-untyped-call]
    if not isinstance(connection, psycopg.Connection):
        raise UsageError(f"tx must be an open psycopg.Connection or peewee database, not {tx!r}")
    if connection.pgconn.transaction_status == TransactionStatus.INERROR:
        raise UsageError("tx is a transaction that has failed: roll it back first")
    return connection


class Joined:
    """The transactions that were joined and may not have ended yet."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: set[str] = set()

    def note(self, link: Link) -> None:
        """Remember the transaction that is open."""
        number = str(next(iter(link.execute(_XID)))[0])
        with self._guard:
            self._open.add(number)

    def wait(self, read: Callable[[Callable[[Connection], bool]], bool], seconds: float) -> bool:
        """Wait until those that are known now have ended, for so many real seconds; tell whether they have."""
        with self._guard:
            waited_for = set(self._open)
        deadline = time.clock_gettime(time.CLOCK_MONOTONIC) + seconds
        for number in sorted(waited_for):
            while read(_under_way(number)):
                if time.clock_gettime(time.CLOCK_MONOTONIC) >= deadline:
                    return False
                time.sleep(_PAUSE)
            with self._guard:
                self._open.discard(number)
        return True


def _under_way(number: str) -> Callable[[Connection], bool]:
    return lambda connection: bool(connection.execute(_UNDER_WAY, (number,)).fetchone()[0])
