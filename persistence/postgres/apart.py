"""Transactions of steps on PostgreSQL: what a handler writes, and the fact that it has returned, are one commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import peewee
import psycopg
from psycopg.pq import TransactionStatus

from ...dsl.errors import UsageError
from ..apart import Apart
from ..connection import Connection
from ..faults import NOTHING_WRITTEN, OUTCOME_UNKNOWN
from .faults import explain
from .link import Link
from .server import Session

__all__ = ["ServerApart"]


class ServerApart(Apart):
    """One step's transaction; it is what the handler sees as ``ctx.transaction``.

    Attributes:
        connection: The psycopg connection whose transaction it is.
    """

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session)
        self._session = session
        self._name = name

    @property
    def link(self) -> Connection:
        """The session as the statements of this room know it."""
        return Link(self._session)

    @property
    def is_open(self) -> bool:
        """Whether the transaction is open."""
        return self._session.pgconn.transaction_status == TransactionStatus.INTRANS

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Execute a statement, with ``%s`` where parameters go, and return its cursor."""
        cursor = psycopg.Cursor(self._session)
        cursor.execute(sql, parameters or None)  # pyright: ignore[reportArgumentType] - it is the handler's own
        return cursor

    @contextlib.contextmanager
    def using(self, database: Any, /) -> Iterator[Any]:
        """Have a peewee database work within this transaction, on this thread.

        Raises:
            UsageError: It is no peewee database for PostgreSQL by way of psycopg 3, or in a transaction of its own.
        """
        if not isinstance(database, peewee.PostgresqlDatabase) or database.in_transaction():
            raise UsageError(f"using takes a peewee PostgresqlDatabase that is in no transaction, not {database!r}")
        with self._lent(database):
            yield database

    def commit(self) -> None:
        """Make everything durable."""
        try:
            self._session.execute("COMMIT")
        except psycopg.Error as error:
            raise explain(error, self._name, OUTCOME_UNKNOWN) from error

    def record(self, run: int, key: str, attempt: int, value: str, now: int) -> None:
        """Write that the attempt has returned this value."""
        try:
            super().record(run, key, attempt, value, now)
        except psycopg.Error as error:
            raise explain(error, self._name, NOTHING_WRITTEN) from error
