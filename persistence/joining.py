"""Callers' own connections, in whose transactions runs may be started."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee

from ..dsl.errors import StoreUnavailable, UsageError

__all__ = ["part_of", "wait_for_writers"]


@contextlib.contextmanager
def part_of(tx: Any, path: str) -> Iterator[sqlite3.Connection]:
    """Give the connection on which a caller's transaction is open, for one part of it: all of it is done, or none.

    Args:
        tx: A ``sqlite3.Connection``, or a peewee database.
        path: The engine's database.

    Raises:
        UsageError: It is neither, no transaction is open on it, or it is another database's.
    """
    connection = _connection_of(tx)
    factory, connection.row_factory = connection.row_factory, None  # the caller's may make anything of a row
    text_factory, connection.text_factory = connection.text_factory, str
    try:
        _check_file(connection, path)
        if not connection.in_transaction:  # Python would begin one with the caller's next change
            connection.execute("BEGIN IMMEDIATE")
        connection.execute("SAVEPOINT perdure")
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:  # a full disk has ended all of it
                connection.execute("ROLLBACK TO perdure")
                connection.execute("RELEASE perdure")
            raise
        connection.execute("RELEASE perdure")
    finally:
        connection.row_factory = factory
        connection.text_factory = text_factory


def _connection_of(tx: Any) -> sqlite3.Connection:
    connection: Any = tx
    if isinstance(tx, peewee.Database) and not tx.is_closed():
        connection = tx.connection()  # type: ignore[no-untyped-call]
    if not isinstance(connection, sqlite3.Connection):
        raise UsageError(f"tx must be an open sqlite3.Connection or peewee database, not {tx!r}")
    if not connection.in_transaction and connection.isolation_level is None:
        raise UsageError("tx has no transaction open: begin one first, so that the run and your rows are one commit")
    return connection


def _check_file(connection: sqlite3.Connection, path: str) -> None:
    file = next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    if not file or not Path(file).samefile(path):
        raise UsageError(f"tx is a connection to {file or 'a database in memory'!r}, and the engine's is {path!r}")


def wait_for_writers(path: str, seconds: float) -> bool:
    """Wait until no transaction that has written is open any more; tell whether that came to pass in time.

    Raises:
        StoreUnavailable: The database is gone.
    """
    try:
        connection = sqlite3.connect(path, timeout=seconds, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path!r} cannot be opened: {error}") from error
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:  # somebody writes
        return False
    finally:
        connection.close()
    return True
