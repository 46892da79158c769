"""The inbox: messages for runs, kept until an engine that can act on them takes them.

A message stands in a row from the moment its sender was told that it is on disk. The engine that acts on it deletes the
row in the transaction that holds what the message caused, so it counts once, whoever dies when.

This file must never know what a message says.
"""

# ruff: noqa: S608 - the pieces are names of columns.

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import msgspec

from ..dsl.errors import DuplicateRow
from .connection import Connection
from .kind import Kind
from .models import InboxModel, columns
from .moves import ask_if_moved
from .records import InboxRow
from .rows import listed

__all__ = ["Begun", "Inbox", "Whereabouts", "consume"]

_WRITTEN: Final = [name for name in columns(InboxModel) if name != "id"]
_PUT: Final = f"INSERT INTO workflow_inbox ({', '.join(_WRITTEN)}) VALUES ({', '.join('?' * len(_WRITTEN))})"
_READ: Final = f"SELECT {listed(InboxModel)} FROM workflow_inbox"
_PAGE: Final = f"{_READ} WHERE id > ? ORDER BY id LIMIT ?"
_OF_RUN: Final = f"{_READ} WHERE execution_id = ? ORDER BY id"
_UNTIL: Final = f"""
    {_READ} WHERE id <= ?1 AND execution_id = (SELECT execution_id FROM workflow_inbox WHERE id = ?1) ORDER BY id
"""
_PENDING: Final = "SELECT 1 FROM workflow_inbox WHERE execution_id = ? AND workflow IS NOT NULL LIMIT 1"
_CONSUME: Final = "DELETE FROM workflow_inbox WHERE id IN (SELECT value FROM json_each(?))"
_BEGUN: Final = """
    SELECT execution_id, workflow FROM workflow_executions
    WHERE execution_id = ?1 AND NOT (?4 AND workflow = ?2 AND finished_at IS NOT NULL)
    UNION ALL
    SELECT execution_id, workflow FROM workflow_inbox WHERE execution_id = ?1 AND workflow IS NOT NULL
    UNION ALL
    SELECT execution_id, workflow FROM workflow_executions
    WHERE workflow = ?2 AND idempotency_key = ?3 AND NOT (?4 AND finished_at IS NOT NULL)
    AND (key_until IS NULL OR key_until > ?5)
    UNION ALL
    SELECT execution_id, workflow FROM workflow_inbox WHERE workflow = ?2 AND idempotency_key = ?3
    LIMIT 1
"""
_STATE: Final = "SELECT state FROM workflow_executions WHERE execution_id = ?"
_WHEREABOUTS: Final = """
    SELECT run.execution_id, run.state, engine.driver
    FROM workflow_executions AS run LEFT JOIN workflow_engines AS engine ON engine.id = run.owner
    WHERE run.execution_id IN (SELECT value FROM json_each(?))
"""
_LIVING: Final = "SELECT id FROM workflow_engines WHERE driver = id ORDER BY id"


class Begun(NamedTuple):
    """A run that was started, or will be as soon as an engine takes its start."""

    execution_id: str
    workflow: str


class Whereabouts(NamedTuple):
    """What a run is doing, and which engine drives it; None when that engine was closed."""

    execution_id: str
    state: str
    driver: int | None


class Inbox:
    """The messages in one database."""

    def __init__(self, database: Kind) -> None:
        self._database = database

    # Writing: by one thread at a time ---------------------------------------------------------------------------------

    def send(self, row: InboxRow, check: Callable[[str | None], None] | None = None) -> int:
        """Keep a message; return its number once it is on disk.

        Args:
            row: The message; its number is made up here.
            check: Given the state of the run it is for, or None if there is none; refuses the message by raising. Not
                asked while the start of that run is in the inbox itself.

        Raises:
            StoreMoved: What is in the database was moved to another one.
            StoreError: As for `Store.commit`.
        """

        def write(connection: Connection) -> int:
            still_here = ask_if_moved(connection, self._database.name)
            if check is not None and not _is_pending(connection, row.execution_id):
                found = connection.execute(_STATE, (row.execution_id,)).fetchone()
                check(None if found is None else found[0])
            number = _put(connection, row)
            still_here()
            return number

        return self._database.write(write)

    def send_start(self, row: InboxRow, *, replace: bool = False) -> int | Begun:
        """Keep a start, unless its id or key has started a run already, or will; return its number, or that run.

        Args:
            row: The start; its number is made up here.
            replace: Whether a run that has ended makes way.

        Raises:
            StoreMoved: What is in the database was moved to another one.
            StoreError: As for `Store.commit`.
        """
        wanted = (row.execution_id, row.workflow, row.idempotency_key, replace, row.accepted_at)

        def write(connection: Connection) -> int | Begun:
            still_here = ask_if_moved(connection, self._database.name)
            found = connection.execute(_BEGUN, wanted).fetchone()
            begun = _put(connection, row) if found is None else Begun(*found)
            still_here()
            return begun

        return self._database.write(write)

    # Reading: the core's holder only ----------------------------------------------------------------------------------

    def page(self, after: int, limit: int) -> list[InboxRow]:
        """Return messages behind this one, oldest first."""
        found = self._database.consult(lambda connection: connection.execute(_PAGE, (after, limit)).fetchall())
        return list(map(InboxRow._make, found))

    def until(self, row: int) -> list[InboxRow]:
        """Return a message, and those before it that are for the same run, oldest first; nothing if it is gone."""
        found = self._database.consult(lambda connection: connection.execute(_UNTIL, (row,)).fetchall())
        return list(map(InboxRow._make, found))

    def of_run(self, execution_id: str) -> list[InboxRow]:
        """Return the messages for one run, oldest first."""
        found = self._database.consult(lambda connection: connection.execute(_OF_RUN, (execution_id,)).fetchall())
        return list(map(InboxRow._make, found))

    def has_start(self, execution_id: str) -> bool:
        """Tell whether the start of a run of this id is among the messages."""
        return self._database.consult(lambda connection: _is_pending(connection, execution_id))

    def neighbours(self) -> list[int]:
        """Return what `living` does, without a connection of its own."""
        found = self._database.consult(lambda connection: connection.execute(_LIVING).fetchall())
        return [engine for (engine,) in found]

    # Reading: any thread ----------------------------------------------------------------------------------------------

    def whereabouts(self, execution_ids: Collection[str]) -> list[Whereabouts]:
        """Return what is known of these runs; of some, nothing may be."""
        parameters = (_list(execution_ids),)
        found = self._database.read(lambda connection: connection.execute(_WHEREABOUTS, parameters).fetchall())
        return list(map(Whereabouts._make, found))

    def start_of(self, execution_id: str) -> InboxRow | None:
        """Return the start of a run of this id, if it is among the messages."""
        found = self._database.read(lambda connection: connection.execute(_OF_RUN, (execution_id,)).fetchall())
        return next((row for row in map(InboxRow._make, found) if row.workflow is not None), None)

    def living(self) -> list[int]:
        """Return the engines that live, as far as the rows tell."""
        found = self._database.read(lambda connection: connection.execute(_LIVING).fetchall())
        return [engine for (engine,) in found]


def consume(connection: Connection, rows: Collection[int]) -> Callable[[], None]:
    """Delete messages with what they have caused, inside a transaction; return what makes sure that they were there.

    That raises ``DuplicateRow`` if another engine has taken one of them.
    """
    deleted = connection.execute(_CONSUME, (_list(rows),))

    def check() -> None:
        if deleted.rowcount != len(rows):
            raise DuplicateRow("another engine has taken a message from the inbox; nothing was written")

    return check


def _put(connection: Connection, row: InboxRow) -> int:
    return connection.execute(_PUT, row[1:]).lastrowid or 0


def _is_pending(connection: Connection, execution_id: str) -> bool:
    return connection.execute(_PENDING, (execution_id,)).fetchone() is not None


def _list(items: Collection[Any]) -> str:
    return msgspec.json.encode(list(items)).decode()
