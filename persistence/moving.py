"""Everything that is in one database, carried over to another of whatever kind: unfinished runs go on there.

Rules:

1. At every instant at most one of the two may be driven: `moves` says which, and what a process that is killed leaves.
   The same move again goes on from there.
2. What is moved is of one moment, since nobody writes to what is leaving; it arrives as a whole or not at all.
3. What was moved is driven by nobody where it came from: no engine can open it, and those that were taken for dead find
   a driver that does not exist.
4. Numbers are never used again: those that are given in the new place come after all that were moved.
"""

# ruff: noqa: S608 - the pieces are names of tables and columns.

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from peewee import Model

from ..dsl.errors import StoreError, UsageError
from .connection import Connection
from .kind import Kind
from .models import MODELS, EngineModel, InboxModel, MigrationModel, MoveModel, columns, key_of
from .moves import Move, arrive, arriving, bring, depart, leave, lock_moves, stay, under_way
from .rows import listed

__all__ = ["Progress", "move", "take_back"]

Progress = Callable[[int], None]
"""Told how many rows more are there."""

_AT_ONCE: Final = 500
_NOWHERE: Final = -1
"""Number of the driver of what was moved away: no engine ever has it."""

_MOVED: Final = tuple(model for model in MODELS if model not in (MigrationModel, MoveModel))
_HIDE: Final = f"UPDATE workflow_engines SET driver = {_NOWHERE}"
_FREE: Final = "UPDATE workflow_engines SET driver = NULL"
_ENGINES: Final = "SELECT id FROM workflow_engines WHERE driver = id ORDER BY id"
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
        target: One that was not opened yet, and is empty, or does not exist, or into which this move was begun before.
        progress: Told after every piece.

    Raises:
        UsageError: An engine has the source open; it was moved elsewhere already; or the target is not empty.
        StoreError: One of them failed. What is moved is driven in the old place, or in neither until this is called
            again.
    """
    source.read(lambda reading: _check_unused(source, reading))
    brought = target.open(arriving)
    this = source.write(lambda writing: _leave(source, target, writing, brought))
    if brought is None or brought.id != this.id:
        brought = _bring(source, target, this, progress)
    if this.state == "leaving":
        source.write(lambda writing: depart(writing, this))
    target.write(lambda writing: arrive(writing, this))
    return brought.moved


def take_back(source: Kind) -> None:
    """Have what was about to leave a database driven there, after all.

    Raises:
        UsageError: Nothing is leaving it, or it has left.
        StoreError: It could not be written.
    """

    def write(connection: Connection) -> None:
        this = under_way(connection)
        if this is None or this.state == "arriving":
            raise UsageError(f"nothing is being moved from {source.name!r}: there is nothing to take back")
        if not _stay(connection, this):
            raise UsageError(f"it is too late to take anything back: {this.refusal(source.name)}")

    source.write(write)


def _check_unused(source: Kind, connection: Connection) -> None:
    for (engine,) in connection.execute(_ENGINES).fetchall():
        if source.is_held(engine):
            raise UsageError(f"engine {engine} has {source.name!r} open: close it first")


def _leave(source: Kind, target: Kind, connection: Connection, brought: Move | None) -> Move:
    """Have the old database written by nobody; return the move, which may have begun before."""
    lock_moves(connection)
    this = under_way(connection)
    if this is not None and this.state != "arriving" and brought is not None and brought.id == this.id:
        return this
    if this is not None and not stay(connection, this):
        raise UsageError(this.refusal(source.name))
    _check_unused(source, connection)
    connection.execute(_HIDE)
    return leave(connection, target.name)


def _bring(source: Kind, target: Kind, this: Move, progress: Progress) -> Move:
    """Write everything to the new database; if that fails, the old one is as it was."""

    def write(writing: Connection) -> Move:
        lock_moves(writing)
        _check_empty(target, writing)
        moved = source.read(lambda reading: _write(target, writing, reading, progress))
        bring(writing, this, source.name, moved)
        return this._replace(moved=moved)

    try:
        return target.write(write)
    except BaseException:
        with contextlib.suppress(StoreError):  # then nobody may write there until the same move is done again
            source.write(lambda writing: _stay(writing, this))
        raise


def _stay(connection: Connection, this: Move) -> bool:
    staying = stay(connection, this)
    if staying:
        connection.execute(_FREE)
    return staying


def _write(target: Kind, writing: Connection, reading: Connection, progress: Progress) -> int:
    moved = sum(_copy(model, reading, writing, progress) for model in _MOVED)
    writing.execute(_FREE)
    writing.execute(_NEXT_ENGINE, ((reading.execute(_HIGHEST).fetchone()[0] or 0) + 1,))
    for model in (EngineModel, InboxModel):
        target.number_on(writing, _table(model))
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
