"""Which engine drives which runs.

Each open engine has a row and a hold, which dies with its process; of what sort is the database's business. A run's
row names the engine that wrote it last; that engine's row names its *driver*: itself while it lives, the engine that
took it over after it died, or nobody after it was closed. So taking over a million waiting runs writes one row, and
is at once the fence: an engine that finds another driver in its row has lost its right to write.

Whether an engine is alive is asked of its hold, never of a clock of ours.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ..dsl.errors import OwnershipLost
from .connection import Connection
from .kind import Hold, Kind
from .moves import ask_if_moved

__all__ = ["Membership"]

_FENCE: Final = "SELECT driver FROM workflow_engines WHERE id = ? /*lock FOR SHARE*/"
_REGISTER: Final = """
    INSERT INTO workflow_engines (started_at, pid, host)
    VALUES (CAST(strftime('%s', 'now') AS INTEGER) * 1000000, ?, ?)
"""
_OTHERS: Final = "SELECT id, driver FROM workflow_engines WHERE (driver = id AND id <> ?) OR driver IS NULL ORDER BY id"
# Two engines that want the same dead one: one has it, the other goes on without.
_STILL: Final = f"{_OTHERS} /*lock FOR UPDATE SKIP LOCKED*/"
_DRIVEN: Final = "SELECT id FROM workflow_engines WHERE driver = ? ORDER BY id"
# A crash in which a run took no part must not bring it nearer to quarantine. So those are not counted that only wait,
# be it for a signal, for the time of the next attempt or for a child.
_COUNT_ADOPTIONS: Final = """
    UPDATE workflow_executions SET adoptions = adoptions + 1
    WHERE finished_at IS NULL AND state IN ('running', 'compensating')
    AND owner IN (SELECT id FROM workflow_engines WHERE driver = ?)
    AND (
        EXISTS (
            SELECT 1 FROM workflow_steps
            WHERE execution = workflow_executions.id AND status = 'running' AND attempts > 0
        ) OR NOT EXISTS (
            SELECT 1 FROM workflow_steps
            WHERE execution = workflow_executions.id
            AND (status = 'retrying' OR (status = 'running' AND kind IN ('child', 'undo')))
        )
    )
"""
_TAKE: Final = "UPDATE workflow_engines SET driver = ? WHERE driver = ? OR id = ?"
_FORGET: Final = """
    DELETE FROM workflow_engines WHERE driver = ?1 AND id <> ?2 AND NOT EXISTS
    (SELECT 1 FROM workflow_executions WHERE owner = workflow_engines.id AND finished_at IS NULL)
"""
# By their roots: a run and its children tell each other of their ends inside one engine.
_FAMILIES: Final = """
    WITH RECURSIVE family (id) AS (
        SELECT id FROM (
            SELECT id FROM workflow_executions
            WHERE finished_at IS NULL AND parent_id IS NULL
            AND owner IN (SELECT id FROM workflow_engines WHERE driver = ?1)
            AND workflow = ?2 AND version IS ?3 ORDER BY id LIMIT ?4
        ) AS roots
        UNION ALL
        SELECT child.id FROM workflow_executions AS child JOIN family ON child.parent_id = family.id
    )
    SELECT id FROM family
"""
_GIVE: Final = "UPDATE workflow_executions SET owner = ? WHERE id IN (SELECT value FROM json_each(?))"
_RELEASE: Final = "UPDATE workflow_engines SET driver = NULL WHERE driver = ?"


class _Other(NamedTuple):
    id: int
    driver: int | None


class Membership:
    """This engine among the engines of one database.

    Attributes:
        engine_id: This engine's number, never used before nor again in this database.
        drivers: For each engine whose runs this one drives: this engine's number.
    """

    def __init__(self, database: Kind) -> None:
        self._database = database
        self._hold: Hold | None = None
        self.engine_id = 0
        self.drivers: dict[int, int] = {}

    def join(self, connection: Connection) -> None:
        """Add this engine's row, with its hold taken before anybody can see the row. Brings its own transaction.

        Raises:
            StoreMoved: What is in the database was moved to another one.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            ask_if_moved(connection, self._database.name)()
            engine_id = connection.execute(_REGISTER, (os.getpid(), socket.gethostname())).lastrowid or 0
            connection.execute(_TAKE, (engine_id, engine_id, engine_id))
            self._hold = self._database.hold(engine_id)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.close()
            raise
        self.engine_id = engine_id
        self.drivers = {engine_id: engine_id}

    def check(self, connection: Connection) -> None:
        """Refuse to go on if another engine has taken this one over. The first statement of every transaction.

        Raises:
            OwnershipLost: It has; nothing was written.
        """
        self.ask(connection)()

    def ask(self, connection: Connection) -> Callable[[], None]:
        """Ask as `check` does, and return what looks at the answer and raises."""
        asked = connection.execute(_FENCE, (self.engine_id,))

        def check() -> None:
            if asked.fetchone() != (self.engine_id,):
                raise OwnershipLost(
                    f"engine {self.engine_id} of {self._database.name!r} was taken for dead and its runs were taken"
                    " over; nothing was written: stop its work and open a new engine"
                )

        return check

    def is_valid(self, connection: Connection) -> bool:
        """Tell whether this engine may still write."""
        row = connection.execute(_FENCE, (self.engine_id,)).fetchone()
        return row is not None and row[0] == self.engine_id

    def find_dead(self, connection: Connection) -> list[tuple[_Other, Hold | None]]:
        """Return the engines that have died or were closed, each with its hold taken by us, if it was a death."""
        dead: list[tuple[_Other, Hold | None]] = []
        for other in map(_Other._make, connection.execute(_OTHERS, (self.engine_id,)).fetchall()):
            if other.driver is None:
                dead.append((other, None))
            elif (hold := self._database.try_hold(other.id)) is not None:
                dead.append((other, hold))
        return dead

    def take_over(self, connection: Connection, dead: list[tuple[_Other, Hold | None]]) -> list[int]:
        """Become the driver of dead engines' runs, inside a transaction; return those that were still to be had."""
        self.check(connection)
        still = set(map(_Other._make, connection.execute(_STILL, (self.engine_id,)).fetchall()))
        taken = [other for other, _ in dead if other in still]
        for other in taken:
            connection.execute(_COUNT_ADOPTIONS, (other.id,))  # none, if it was closed: then it drives nothing any more
            connection.execute(_TAKE, (self.engine_id, other.id, other.id))
        connection.execute(_FORGET, (self.engine_id, self.engine_id))
        return [other.id for other in taken]

    def recall(self, connection: Connection) -> None:
        """Read whose runs this engine drives."""
        driven = connection.execute(_DRIVEN, (self.engine_id,)).fetchall()
        self.drivers = {engine: self.engine_id for (engine,) in driven}

    def hand_over(self, connection: Connection, workflow: str, version: str | None, to: int, limit: int) -> list[int]:
        """Make a living engine the owner of runs, each with all its children, inside a transaction; return them."""
        if connection.execute(_FENCE, (to,)).fetchone() != (to,):
            return []
        found = connection.execute(_FAMILIES, (self.engine_id, workflow, version, limit)).fetchall()
        runs = [run for (run,) in found]
        connection.execute(_GIVE, (to, msgspec.json.encode(runs).decode()))
        return runs

    def leave(self, connection: Connection) -> None:
        """Give this engine's runs to whoever comes next, which counts as no adoption; inside a transaction."""
        connection.execute(_FORGET, (self.engine_id, 0))
        connection.execute(_RELEASE, (self.engine_id,))

    def die(self) -> None:
        """Let go of this engine's hold, as the death of the process would."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def close(self) -> None:
        """Let go of this engine's hold, and leave no trace of it."""
        if self._hold is not None:
            self._hold.remove()
            self._hold = None
