"""Transactions of steps: what a handler writes, and the fact that it has returned, are one commit.

Rules:

1. Such a transaction has a connection of its own and holds the write lock from its first moment, so that what the
   handler reads is what it will have read at the commit; and the side-file lock, as all that writes does.
2. Invariant: a step's transaction is committed only while its attempt stands on disk as the one that runs: not once
   another engine has taken its run over, nor once the attempt was given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import peewee

from ..dsl.errors import OwnershipLost, UsageError
from .connection import Connection

__all__ = ["Apart"]

_RECORD: Final = """
    UPDATE workflow_steps SET status = 'completed', value = ?, error = NULL, completed_at = ?
    WHERE execution = ? AND key = ? AND status = 'running' AND attempts = ?
"""


class Apart:
    """One step's transaction; it is what the handler sees as ``ctx.transaction``.

    Attributes:
        connection: The connection whose transaction it is.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @property
    def link(self) -> Connection:
        """The connection as the statements of this room know it."""
        link: Connection = self.connection
        return link

    @property
    def is_open(self) -> bool:
        """Whether the transaction is open."""
        return bool(self.connection.in_transaction)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Execute a statement and return its cursor."""
        return self.connection.execute(sql, parameters)

    @contextlib.contextmanager
    def using(self, database: Any, /) -> Iterator[Any]:
        """Have a peewee database work within this transaction, on this thread.

        Raises:
            UsageError: It is no peewee database for SQLite, or in a transaction of its own.
        """
        if not isinstance(database, peewee.SqliteDatabase) or database.in_transaction():
            raise UsageError(f"using takes a peewee SqliteDatabase that is in no transaction, not {database!r}")
        with self._lent(database):
            yield database

    @contextlib.contextmanager
    def _lent(self, database: Any) -> Iterator[None]:
        """Lend a peewee database this connection."""
        lent = database
        state = lent._state  # noqa: SLF001 - of this thread; peewee has no other way to lend a connection
        own = None if state.closed else state.conn
        state.set_connection(self.connection)
        state.transactions.append(self)  # so that atomic() makes savepoints
        try:
            yield
        finally:
            state.reset()
            if own is not None:
                state.set_connection(own)

    def record(self, run: int, key: str, attempt: int, value: str, now: int) -> None:
        """Write that the attempt has returned this value.

        Raises:
            UsageError: The handler has ended the transaction by itself.
            OwnershipLost: The attempt was given up.
        """
        if not self.is_open:
            raise UsageError("the handler has ended the step's transaction: leave commit and rollback to the engine")
        written = self.link.execute(_RECORD, (value, now, run, key, attempt)).rowcount
        if written != 1:
            raise OwnershipLost("the attempt was given up meanwhile; nothing that it wrote was committed")

    def commit(self) -> None:
        """Make everything durable."""
        self.connection.execute("COMMIT")
