"""How a database is: its file, its schema, the engines that have it open, and the runs nobody drives.

Only looks. Whether an engine is alive is asked of its lock, as the engines do it among themselves.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from .locks import FileLock
from .migrations import MIGRATIONS, version_of

__all__ = ["EngineHealth", "Health", "StuckRun", "engines_of", "examine"]

_ENGINES: Final = "SELECT id, driver, started_at, pid, host FROM workflow_engines ORDER BY id"
_STATES: Final = "SELECT state, count(*) FROM workflow_executions GROUP BY state ORDER BY state"
_UNFINISHED: Final = """
    SELECT run.execution_id, run.workflow, run.state, run.owner, min(step.due_at)
    FROM workflow_executions AS run LEFT JOIN workflow_steps AS step
    ON step.execution = run.id AND step.due_at IS NOT NULL
    WHERE run.finished_at IS NULL AND (run.state <> 'waiting' OR step.due_at <= ?)
    GROUP BY run.id ORDER BY run.id
"""


class EngineHealth(NamedTuple):
    """An engine that has the database open, or had.

    Attributes:
        id: Its number.
        driver: Number of the engine that drives its runs, or None.
        pid: Its process.
        host: Its machine.
        started_at: When it opened the database, in microseconds.
        state: ``alive``; ``dead``; ``closed`` with unfinished runs left behind, or dead and ``taken over`` by another.
    """

    id: int
    driver: int | None
    pid: int
    host: str
    started_at: int
    state: str


class StuckRun(NamedTuple):
    """A run that should be doing something and is not.

    Attributes:
        id: Its id.
        workflow: Name of its workflow.
        state: Its state.
        why: ``undriven``: no living engine drives it. ``overdue``: its timer is long due.
            ``quarantined``: it was set aside until a person has looked at it.
    """

    id: str
    workflow: str
    state: str
    why: str


class Health(NamedTuple):
    """What was found.

    Attributes:
        damage: What is wrong with the file, or None.
        schema: Version of the schema.
        newest_schema: Version this release writes.
        size: Bytes of the file.
        wal_size: Bytes of the write-ahead log beside it.
        engines: The engines.
        states: How many runs there are in each state.
        stuck: Runs that should be doing something and are not.
        left_locks: Lock files of engines that are gone.
    """

    damage: str | None
    schema: int
    newest_schema: int
    size: int
    wal_size: int
    engines: list[EngineHealth]
    states: dict[str, int]
    stuck: list[StuckRun]
    left_locks: list[str]


def examine(connection: sqlite3.Connection, path: str, *, overdue_before: int) -> Health:
    """Look at everything; the file is read from end to end.

    Args:
        connection: One that reads.
        path: The file.
        overdue_before: Timers that were due before this instant should have fired.
    """
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    engines = engines_of(connection, path)
    alive = {engine.id for engine in engines if engine.state == "alive"}
    drivers = {engine.id: engine.driver for engine in engines}
    stuck = [
        StuckRun(name, workflow, state, why)
        for name, workflow, state, owner, due in connection.execute(_UNFINISHED, (overdue_before,))
        if (why := _why(state, drivers.get(owner) in alive, due, overdue_before))
    ]
    return Health(
        damage=None if damage == "ok" else str(damage),
        schema=version_of(connection),
        newest_schema=MIGRATIONS[-1].number,
        size=_size(path),
        wal_size=_size(f"{path}-wal"),
        engines=engines,
        states=dict(connection.execute(_STATES).fetchall()),
        stuck=stuck,
        left_locks=_left_locks(path, alive),
    )


def engines_of(connection: sqlite3.Connection, path: str) -> list[EngineHealth]:
    """Return the engines that have a database open, or had and left runs behind."""
    return [
        EngineHealth(number, driver, pid, host, started_at, _state_of(path, number, driver))
        for number, driver, started_at, pid, host in connection.execute(_ENGINES).fetchall()
    ]


def _state_of(path: str, engine: int, driver: int | None) -> str:
    if _is_locked(f"{path}-engine-{engine}"):
        return "alive"
    if driver is None:
        return "closed"
    return "dead" if driver == engine else "taken over"


def _is_locked(path: str) -> bool:
    """Tell whether a lock is held by a process, without making its file."""
    if not Path(path).exists():
        return False
    lock = FileLock(path)
    try:
        return not lock.try_acquire()
    finally:
        lock.close()


def _why(state: str, is_driven: bool, due: int | None, overdue_before: int) -> str | None:  # noqa: FBT001
    if state == "quarantined":
        return "quarantined"
    if not is_driven:
        return "undriven"
    return "overdue" if due is not None and due <= overdue_before else None


def _left_locks(path: str, alive: set[int]) -> list[str]:
    file = Path(path)
    found = {int(number): lock for lock in file.parent.glob(f"{_plain(file.name)}-engine-*")
             if (number := lock.name.rpartition("-")[2]).isdecimal()}  # fmt: skip
    return [str(lock) for number, lock in sorted(found.items()) if number not in alive and not _is_locked(str(lock))]


def _plain(name: str) -> str:
    """Return the pattern that matches a name and nothing else."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
