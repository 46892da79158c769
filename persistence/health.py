"""How a database is: its file, its schema, the engines that have it open, and the runs nobody drives.

Only looks. Whether an engine is alive is asked of its hold, as the engines do it among themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from .connection import Connection
from .migrations import MIGRATIONS

__all__ = ["EngineHealth", "Ground", "Health", "StuckRun", "engines_of", "examine"]

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


class Ground(NamedTuple):
    """What a database stands on, as far as that sort of database can tell.

    Attributes:
        damage: What is wrong with it, or None.
        schema: Version of the schema.
        size: Its bytes.
        wal_size: Bytes of the write-ahead log beside it.
        left_locks: Lock files of engines that are gone.
    """

    damage: str | None
    schema: int
    size: int
    wal_size: int = 0
    left_locks: tuple[str, ...] = ()


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


def examine(
    connection: Connection, *, overdue_before: int, is_held: Callable[[int], bool], ground: Callable[[set[int]], Ground]
) -> Health:
    """Look at everything.

    Args:
        connection: One that reads.
        overdue_before: Timers that were due before this instant should have fired.
        is_held: Whether the engine of this number lives.
        ground: Tells what the database stands on, given the engines that live.
    """
    engines = engines_of(connection, is_held)
    alive = {engine.id for engine in engines if engine.state == "alive"}
    drivers = {engine.id: engine.driver for engine in engines}
    stuck = [
        StuckRun(name, workflow, state, why)
        for name, workflow, state, owner, due in connection.execute(_UNFINISHED, (overdue_before,))
        if (why := _why(state, drivers.get(owner) in alive, due, overdue_before))
    ]
    found = ground(alive)
    return Health(
        damage=found.damage,
        schema=found.schema,
        newest_schema=MIGRATIONS[-1].number,
        size=found.size,
        wal_size=found.wal_size,
        engines=engines,
        states=dict(connection.execute(_STATES).fetchall()),
        stuck=stuck,
        left_locks=list(found.left_locks),
    )


def engines_of(connection: Connection, is_held: Callable[[int], bool]) -> list[EngineHealth]:
    """Return the engines that have a database open, or had and left runs behind."""
    return [
        EngineHealth(number, driver, pid, host, started_at, _state_of(number, driver, is_held))
        for number, driver, started_at, pid, host in connection.execute(_ENGINES).fetchall()
    ]


def _state_of(engine: int, driver: int | None, is_held: Callable[[int], bool]) -> str:
    if is_held(engine):
        return "alive"
    if driver is None:
        return "closed"
    return "dead" if driver == engine else "taken over"


def _why(state: str, is_driven: bool, due: int | None, overdue_before: int) -> str | None:  # noqa: FBT001
    if state == "quarantined":
        return "quarantined"
    if not is_driven:
        return "undriven"
    return "overdue" if due is not None and due <= overdue_before else None
