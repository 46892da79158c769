"""How schedules are kept: small rows that several engines may want to change.

Invariant: a row is written only in place of the revision that was read. So of two engines that act on the same tick
one writes, with the run it starts in the same transaction, and the other is refused as a whole.
"""

# ruff: noqa: S608 - the pieces are names of columns.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ..dsl.errors import DuplicateRow
from .connection import Connection
from .models import ScheduleModel, columns
from .records import ScheduleChange, ScheduleRow
from .rows import listed

__all__ = ["read_one", "read_schedules", "write_schedules"]

_NAMES: Final = columns(ScheduleModel)
_READ: Final = f"SELECT {listed(ScheduleModel)} FROM workflow_schedules"
_READ_ONE: Final = f"{_READ} WHERE name = ?"
_READ_ALL: Final = f"{_READ} ORDER BY name"
_INSERT: Final = f"INSERT INTO workflow_schedules ({listed(ScheduleModel)}) VALUES ({', '.join('?' * len(_NAMES))})"
_UPDATE: Final = (
    f"UPDATE workflow_schedules SET {', '.join(f'{name} = ?' for name in _NAMES)} WHERE name = ? AND revision = ?"
)
_DELETE: Final = "DELETE FROM workflow_schedules WHERE name = ? AND revision = ?"


def read_one(connection: Connection, name: str) -> ScheduleRow | None:
    """Return the schedule of this name."""
    row = connection.execute(_READ_ONE, (name,)).fetchone()
    return None if row is None else _record(row)


def read_schedules(connection: Connection) -> list[ScheduleRow]:
    """Return all schedules, by name."""
    return list(map(_record, connection.execute(_READ_ALL).fetchall()))


def write_schedules(connection: Connection, changes: Mapping[str, ScheduleChange]) -> None:
    """Write, add or delete schedules, inside a transaction.

    Raises:
        DuplicateRow: Another engine has changed one of them since it was read.
    """
    for name, change in changes.items():
        if change.row is None:
            written = connection.execute(_DELETE, (name, change.replaces)).rowcount
        elif change.replaces is None:
            written = connection.execute(_INSERT, _parameters(change.row)).rowcount
        else:
            written = connection.execute(_UPDATE, (*_parameters(change.row), name, change.replaces)).rowcount
        if written != 1:
            raise DuplicateRow(f"another engine has changed the schedule {name!r} meanwhile; nothing was written")


def _record(row: Sequence[Any]) -> ScheduleRow:
    record = ScheduleRow._make(row)
    return record._replace(
        paused=bool(record.paused),
        queued=msgspec.json.decode(row[_NAMES.index("queued")], type=tuple[int, ...]),
        running=msgspec.json.decode(row[_NAMES.index("running")], type=tuple[str, ...]),
    )


def _parameters(row: ScheduleRow) -> list[Any]:
    columns_of: dict[str, Any] = row._asdict()
    columns_of.update(
        paused=int(row.paused),
        queued=msgspec.json.encode(row.queued).decode(),
        running=msgspec.json.encode(row.running).decode(),
    )
    return list(columns_of.values())
