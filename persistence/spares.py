"""Private databases that were closed, emptied and kept for whoever opens the next.

Tests open them by the thousand, and most of what that takes is SQLite reading a schema and preparing statements.

Rules:

1. Only what nobody else can know of is kept: its path was never told, nothing of its last user is under way, and no
   statement of anybody's but ours was ever executed there.
2. The next user finds nothing of the last one's, and numbers begin anew.
3. They are of the process that has loaded this file. A child that is forked has none, and keeps none: SQLite forbids it
   even to close what its parent has opened, and it may end without a chance to remove files.
"""

# ruff: noqa: S608 - the pieces are names of tables.

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from typing import Any, Final, NamedTuple

from peewee import SqliteDatabase

from .models import MODELS, MigrationModel
from .private import PrivateFile

__all__ = ["Spare", "keep", "take"]

_MOST: Final = 4
_PAGES: Final = 128
"""How large a file may be: to empty a larger one takes longer than to make another."""

_TABLES: Final = [model._meta.table_name for model in MODELS if model is not MigrationModel]  # noqa: SLF001
_EMPTY: Final = [f"DELETE FROM {table}" for table in (*_TABLES, "sqlite_sequence")]


class Spare(NamedTuple):
    """One that is ready.

    Attributes:
        file: Its file.
        database: The connection to it, which is open.
        identity: What tells the file from any other.
    """

    file: PrivateFile
    database: SqliteDatabase
    identity: tuple[int, int] | None

    def is_sound(self) -> bool:
        """Tell whether it is where a new one would be, and nobody has taken the file away."""
        return self.file.lies_in(PrivateFile.place()) and self.file.identity() == self.identity

    def throw_away(self) -> None:
        """Close it and remove the file."""
        self.database.close()
        self.file.remove()


_process: Final = os.getpid()
_guard: Final = threading.Lock()
_spares: Final[list[Spare]] = []


def take() -> Spare | None:
    """Return one, which is the caller's now."""
    while os.getpid() == _process:
        with _guard:
            if not _spares:
                return None
            spare = _spares.pop()
        if spare.is_sound():
            return spare
        spare.throw_away()
    return None


def keep(file: PrivateFile, database: SqliteDatabase) -> bool:
    """Empty one and keep it; False if it is not worth it, or cannot be done: then it is the caller's to close."""
    if os.getpid() != _process or not _emptied(database.connection()):  # type: ignore[no-untyped-call]
        return False
    with _guard:
        if room := len(_spares) < _MOST:
            _spares.append(Spare(file, database, file.identity()))
    return room


def _emptied(connection: Any) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
        small: bool = connection.execute("PRAGMA page_count").fetchone()[0] <= _PAGES
        for statement in _EMPTY if small else ():
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error:
        return False
    return small


def _throw_away() -> None:
    while _spares and os.getpid() == _process:
        _spares.pop().throw_away()


@atexit.register
def _at_the_end() -> None:
    with _guard:
        _throw_away()


def _before_fork() -> None:
    _guard.acquire()  # until the fork is done, so that no other thread keeps one that the child would have
    _throw_away()


os.register_at_fork(before=_before_fork, after_in_parent=_guard.release, after_in_child=_guard.release)
