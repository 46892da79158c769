"""Private databases that were closed, emptied and kept for whoever opens the next.

Tests open them by the thousand, and most of what that takes is SQLite reading a schema and preparing statements.

Rules:

1. Only what nobody else can know of is kept: its path was never told, and nothing of its last user is under way.
2. The next user finds nothing of the last one's, and numbers begin anew.
3. A child that is forked finds none: SQLite forbids it even to close what its parent has opened.
"""

# ruff: noqa: S608 - the pieces are names of tables.

from __future__ import annotations

import atexit
import os
import sqlite3
from typing import Any, Final, NamedTuple

from peewee import SqliteDatabase

from .models import MODELS, MigrationModel
from .private import PrivateFile

__all__ = ["Spare", "keep", "take"]

_MOST: Final = 4
_PAGES: Final = 512
"""How large a file may be: to empty a larger one takes longer than to make another."""

_TABLES: Final = [model._meta.table_name for model in MODELS if model is not MigrationModel]  # noqa: SLF001
_EMPTY: Final = [f"DELETE FROM {table}" for table in (*_TABLES, "sqlite_sequence")]


class Spare(NamedTuple):
    """One that is ready.

    Attributes:
        file: Its file.
        database: The connection to it, which is open.
    """

    file: PrivateFile
    database: SqliteDatabase


_spares: list[Spare] = []


def take() -> Spare | None:
    """Return one that lies where a new one would; it is the caller's now."""
    place = PrivateFile.place()
    for spare in _spares.copy():
        if spare.file.lies_in(place):
            try:
                _spares.remove(spare)
            except ValueError:  # another thread has just taken it
                continue
            return spare
    return None


def keep(file: PrivateFile, database: SqliteDatabase) -> bool:
    """Empty one and keep it, or tell that it is not worth it: then it is as it was."""
    connection: Any = database.connection()  # type: ignore[no-untyped-call]
    if len(_spares) >= _MOST:
        return False
    try:
        connection.execute("BEGIN IMMEDIATE")
        small: bool = connection.execute("PRAGMA page_count").fetchone()[0] <= _PAGES
        for statement in _EMPTY if small else ():
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error:
        return False
    if small:
        _spares.append(Spare(file, database))
    return small


@atexit.register
def _throw_away() -> None:
    while _spares:
        file, database = _spares.pop()
        database.close()
        file.remove()


os.register_at_fork(before=_throw_away)
