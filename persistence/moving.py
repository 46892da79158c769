"""Everything that is in one database, carried over to another of whatever kind: unfinished runs go on there.

Rules:

1. What is moved is of one moment, and arrives as a whole or not at all.
2. What was moved is driven by nobody where it came from: its engines have a driver that does not exist.
3. Numbers are never used again: those that are given in the new place come after all that were moved.
"""

# ruff: noqa: S608 - the pieces are names of tables and columns.

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from peewee import Model

from ..dsl.errors import UsageError
from .connection import Connection
from .kind import Kind
from .models import MODELS, EngineModel, InboxModel, MigrationModel, columns, key_of
from .rows import listed

__all__ = ["Progress", "move"]

Progress = Callable[[int], None]
"""Told how many rows more are there."""

_AT_ONCE: Final = 500
_NOWHERE: Final = -1
"""Number of the driver of what was moved away: no engine ever has it."""

_MOVED: Final = tuple(model for model in MODELS if model is not MigrationModel)
_HIDE: Final = f"UPDATE workflow_engines SET driver = {_NOWHERE}"
_FREE: Final = "UPDATE workflow_engines SET driver = NULL"
_ENGINES: Final = "SELECT id FROM workflow_engines WHERE driver = id ORDER BY id"
_HIDDEN: Final = f"SELECT 1 FROM workflow_engines WHERE driver = {_NOWHERE} LIMIT 1"
# A number is an engine's with 32 bits of its own behind it; of some engines only such numbers are left.
_HIGHEST: Final = """
    SELECT max(number) FROM (
        SELECT max(id) AS number FROM workflow_engines
        UNION ALL SELECT max(id) / 4294967296 FROM workflow_executions
        UNION ALL SELECT max(id) / 4294967296 FROM workflow_executions_archive
        UNION ALL SELECT max(id) / 4294967296 FROM workflow_signals
        UNION ALL SELECT max(id) / 4294967296 FROM workflow_audit
    ) AS numbers
"""
_NEXT_ENGINE: Final = "INSERT INTO workflow_engines (id, driver, started_at, pid, host) VALUES (?, NULL, 0, 0, '')"


def move(source: Kind, target: Kind, progress: Progress) -> int:
    """Carry everything over; return how many rows that were.

    Args:
        source: A database that is attached, and that no engine has open.
        target: One that was not opened yet, and is empty or does not exist.
        progress: Told after every piece.

    Raises:
        UsageError: An engine has the source open; it was moved already; or the target is not empty.
        StoreError: One of them failed; nothing has arrived.
    """

    def carry(reading: Connection) -> int:
        _check_unused(source, reading)
        moved = target.open(lambda writing: _write(target, writing, reading, progress))
        reading.execute(_HIDE)
        return moved

    return source.write(carry)


def _check_unused(source: Kind, connection: Connection) -> None:
    if connection.execute(_HIDDEN).fetchone() is not None:
        raise UsageError(f"what is in {source.name!r} was moved to another database already")
    for (engine,) in connection.execute(_ENGINES).fetchall():
        if source.is_held(engine):
            raise UsageError(f"engine {engine} has {source.name!r} open: close it first")


def _write(target: Kind, writing: Connection, reading: Connection, progress: Progress) -> int:
    writing.execute("BEGIN IMMEDIATE")
    try:
        _check_empty(target, writing)
        moved = sum(_copy(model, reading, writing, progress) for model in _MOVED)
        writing.execute(_FREE)
        writing.execute(_NEXT_ENGINE, ((reading.execute(_HIGHEST).fetchone()[0] or 0) + 1,))
        for model in (EngineModel, InboxModel):
            target.number_on(writing, _table(model))
        writing.execute("COMMIT")
    except BaseException:
        if writing.in_transaction:
            writing.execute("ROLLBACK")
        raise
    return moved


def _check_empty(target: Kind, connection: Connection) -> None:
    for model in _MOVED:
        if connection.execute(f"SELECT 1 FROM {_table(model)} LIMIT 1").fetchone() is not None:
            raise UsageError(f"{target.name!r} is not empty: give a new database")


def _copy(model: type[Model], reading: Connection, writing: Connection, progress: Progress) -> int:
    names = columns(model)
    insert = f"INSERT INTO {_table(model)} ({listed(model)}) VALUES ({', '.join('?' * len(names))})"
    moved = 0
    for page in _pages(model, names, reading):
        writing.executemany(insert, page)
        moved += len(page)
        progress(len(page))
    return moved


def _pages(model: type[Model], names: list[str], reading: Connection) -> Iterator[list[Any]]:
    """Give the rows of a table, so many at once, in the order of their primary key."""
    key = key_of(model)
    order, places = ", ".join(f'"{name}"' for name in key), [names.index(name) for name in key]
    select = f"SELECT {listed(model)} FROM {_table(model)}"
    page = reading.execute(f"{select} ORDER BY {order} LIMIT ?", (_AT_ONCE,)).fetchall()
    behind = f"{select} WHERE ({order}) > ({', '.join('?' * len(key))}) ORDER BY {order} LIMIT ?"
    while page:
        yield page
        last = page[-1]
        page = reading.execute(behind, (*(last[place] for place in places), _AT_ONCE)).fetchall()


def _table(model: Any) -> str:
    return str(model._meta.table_name)  # noqa: SLF001 - how peewee is asked
