"""A session, as the statements of the room above know a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from .dialect import translate

__all__ = ["Link", "Numbered"]


class Numbered(psycopg.RawCursor[Any]):
    """A cursor whose statements have numbered parameters."""

    @property
    def lastrowid(self) -> int | None:
        """The number that the database has given to the row that was inserted."""
        row = self.fetchone()
        return None if row is None else int(row[0])


class Link:
    """Executes SQLite's statements on PostgreSQL.

    Attributes:
        session: The session behind it.
    """

    def __init__(self, session: psycopg.Connection[Any], spell: Callable[[str], str] = translate) -> None:
        self.session = session
        self._spell = spell

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; with a session that is lost, none is."""
        return self.session.pgconn.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    def execute(self, sql: str, parameters: Any = (), /) -> Numbered:
        """Execute a statement."""
        cursor = Numbered(self.session)
        cursor.execute(self._spell(sql), parameters or None)  # pyright: ignore[reportArgumentType] - written here, or by peewee
        return cursor

    def executemany(self, sql: str, parameters: Any, /) -> Numbered:
        """Execute a statement once for each row of parameters."""
        cursor = Numbered(self.session)
        cursor.executemany(self._spell(sql), list(parameters))  # pyright: ignore[reportArgumentType] - written here, or by peewee
        return cursor
