"""What can be read of a database by any thread, and without an engine: it is all as it was last committed.

This file must never write, nor ask anything of whoever drives the runs.
"""

# ruff: noqa: S608 - the pieces are names of columns.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from .connection import Connection
from .database import BUSY_SECONDS
from .figures import Figures, figures
from .health import EngineHealth, Health, engines_of, examine
from .kind import Durability, Kind, Progress
from .looking import By, Cursor, Filter, Order, count_statement, list_statement
from .models import AttemptModel, ExecutionModel, SignalModel, StepModel
from .oversight import read_audit, read_incidents
from .places import database_at
from .records import AttemptRow, AuditRow, ExecutionRow, IncidentRow, ScheduleRow, Stored
from .rows import attempt_row, execution_row, fact, listed, signal_row
from .schedules import read_schedules

__all__ = ["RUN", "RUN_BY_KEY", "RUN_BY_NAME", "Reader"]

RUN: Final = f"SELECT {listed(ExecutionModel)} FROM workflow_executions"
RUN_BY_NAME: Final = f"{RUN} WHERE execution_id = ?"
RUN_BY_KEY: Final = f"{RUN} WHERE workflow = ? AND idempotency_key = ?"
_OF_WORKFLOW: Final = f"{RUN} WHERE workflow = ? AND finished_at IS NULL AND id > ? ORDER BY id LIMIT ?"
_UNFINISHED_BY_NAME: Final = (
    "SELECT workflow, version, count(*) FROM workflow_executions WHERE finished_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
)
_OUTCOME: Final = "SELECT status, attempts FROM workflow_steps WHERE execution = ? AND key = ?"
_FACTS: Final = f"SELECT {listed(StepModel)} FROM workflow_steps WHERE execution = ? ORDER BY position, key"
_SIGNALS: Final = f"SELECT {listed(SignalModel)} FROM workflow_signals WHERE execution = ? ORDER BY id"
_ATTEMPTS: Final = (
    f"SELECT {listed(AttemptModel)} FROM workflow_attempts WHERE execution = ? ORDER BY position, attempt"
)
_NAME: Final = "SELECT execution_id FROM workflow_executions WHERE id = ?"
_ARCHIVED: Final = "SELECT count(*) FROM workflow_executions_archive"
_EVERYTHING: Final = Filter()


class Reader:
    """A database that is only looked at. Every method may be called from any thread.

    Example:
        >>> from perdure.persistence.store import Store
        >>> store = Store(None)  # which is a reader, too
        >>> store.open()
        >>> store.count()
        0
        >>> store.close()
    """

    def __init__(
        self, path: str | None, *, durability: Durability = "full", busy_timeout: float = BUSY_SECONDS
    ) -> None:
        """Make a reader; nothing is touched until `open`."""
        self._database = database_at(path, durability=durability, busy_timeout=busy_timeout)

    @property
    def path(self) -> str:
        """The file, or what opens a database on a server again."""
        return self._database.path

    def open(self) -> None:
        """Open the database for reading: no engine is registered, and nothing is written or migrated.

        Raises:
            StoreUnavailable: There is none, or it cannot be read.
            StoreCorrupt: It is not a database of ours.
            SchemaTooNew: A newer release wrote it.
            SchemaTooOld: An older release wrote it, and no engine of this one has opened it since.
        """
        self._database.open_to_read()

    def close(self) -> None:
        """Close the database. Harmless the second time."""
        self._database.close()

    def __enter__(self) -> Self:
        """Open it."""
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    @property
    def _drivers(self) -> dict[int, int]:
        """For each engine whose runs this one drives: this engine's number."""
        return {}

    @property
    def name(self) -> str:
        """What the database is called in messages: its path, without anything secret."""
        return self._database.name

    @property
    def database(self) -> Kind:
        """What runs are kept in."""
        return self._database

    # ---- one run

    def snapshot(self, execution_id: str) -> Stored | None:
        """Return a run with its facts and signals."""
        return self._database.read(lambda connection: self._load(connection, RUN_BY_NAME, execution_id))

    def snapshot_with_attempts(self, execution_id: str) -> tuple[Stored, list[AttemptRow]] | None:
        """Return a run with its facts, its signals and the attempts that ended without success, in order of start."""

        def look(connection: Connection) -> tuple[Stored, list[AttemptRow]] | None:
            stored = self._load(connection, RUN_BY_NAME, execution_id)
            if stored is None:
                return None
            rows = connection.execute(_ATTEMPTS, (stored.execution.id,)).fetchall()
            return stored, list(map(attempt_row, rows))

        return self._database.read(look)

    def name_of(self, execution: int) -> str | None:
        """Return the id by which callers know a run."""
        row = self._database.read(lambda connection: connection.execute(_NAME, (execution,)).fetchone())
        return None if row is None else str(row[0])

    def audit(self, execution_id: str) -> list[AuditRow]:
        """Return what operators have asked of a run, oldest first."""
        return self._database.read(lambda connection: read_audit(connection, execution_id))

    # ---- many runs

    def incidents(self, *, workflow: str | None = None, limit: int = 1000) -> list[IncidentRow]:
        """Return what waits for an operator, longest first."""
        return self._database.read(lambda connection: read_incidents(connection, workflow, limit))

    def runs(
        self,
        chosen: Filter = _EVERYTHING,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Cursor | None = None,
        order: Order = "newest",
    ) -> list[ExecutionRow]:
        """Return the rows of runs, without facts and signals.

        Args:
            chosen: Which.
            limit: How many at most.
            offset: How many to skip.
            after: Only those behind this one.
            order: Which come first.
        """
        sql, parameters = list_statement(chosen, limit=limit, offset=offset, after=after, order=order)
        rows = self._database.read(lambda connection: connection.execute(sql, parameters).fetchall())
        return list(map(self._row, rows))

    def snapshots(
        self,
        chosen: Filter = _EVERYTHING,
        *,
        limit: int = 100,
        offset: int = 0,
        after: Cursor | None = None,
        order: Order = "newest",
    ) -> list[Stored]:
        """Return runs as `runs` does, each with its facts and signals, all as of one moment."""
        sql, parameters = list_statement(chosen, limit=limit, offset=offset, after=after, order=order)

        def look(connection: Connection) -> list[Stored]:
            return [self._complete(connection, row) for row in connection.execute(sql, parameters).fetchall()]

        return self._database.read(look)

    def count(self, chosen: Filter = _EVERYTHING) -> int:
        """Return how many runs there are."""
        sql, parameters = count_statement(chosen)
        return int(self._database.read(lambda connection: connection.execute(sql, parameters).fetchone())[0])

    def counts(self, by: By, chosen: Filter = _EVERYTHING) -> Mapping[str, int]:
        """Return how many runs there are of each state or workflow that occurs, by name."""
        sql, parameters = count_statement(chosen, by)
        return dict(self._database.read(lambda connection: connection.execute(sql, parameters).fetchall()))

    def unfinished_of(self, workflow: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        """Return unfinished runs of a workflow, whoever drives them, by ascending key above `after`."""

        def look(connection: Connection) -> list[Stored]:
            rows = connection.execute(_OF_WORKFLOW, (workflow, after, limit)).fetchall()
            return [self._complete(connection, row) for row in rows]

        return self._database.read(look)

    def has_recorded(self, execution: int, key: str, attempt: int) -> bool:
        """Tell whether it is on disk that this attempt of a step has completed."""
        found = self._database.read(lambda connection: connection.execute(_OUTCOME, (execution, key)).fetchone())
        return found is not None and tuple(found) == ("completed", attempt)

    def count_unfinished(self) -> dict[tuple[str, str | None], int]:
        """Return how many unfinished runs there are, by workflow and version."""
        rows = self._database.read(lambda connection: connection.execute(_UNFINISHED_BY_NAME).fetchall())
        return {(workflow, version): count for workflow, version, count in rows}

    # ---- everything else

    def figures(self, *, since: int, now: int) -> Figures:
        """Return what there is to count; ``since`` is where rates are counted from."""
        return self._database.read(lambda connection: figures(connection, since=since, now=now))

    def archived_count(self) -> int:
        """Return how many runs are in the archive."""
        return int(self._database.read(lambda connection: connection.execute(_ARCHIVED).fetchone())[0])

    def list_schedules(self) -> list[ScheduleRow]:
        """Return all schedules, by name."""
        return self._database.read(read_schedules)

    def verify(self) -> None:
        """Read the whole file and check its structure; takes about a second per gigabyte.

        Raises:
            StoreCorrupt: It is damaged; says where.
        """
        self._database.verify()

    def examine(self, *, overdue_before: int) -> Health:
        """Look at the file, the engines and the runs nobody drives; reads the whole file.

        Args:
            overdue_before: Timers that were due before this instant should have fired.
        """
        database = self._database
        return database.read(
            lambda connection: examine(
                connection,
                overdue_before=overdue_before,
                is_held=database.is_held,
                ground=lambda alive: database.ground(connection, alive),
            )
        )

    def engines(self) -> list[EngineHealth]:
        """Return the engines that have the database open, or had and left runs behind."""
        return self._database.read(lambda connection: engines_of(connection, self._database.is_held))

    def backup(self, path: str, progress: Progress | None = None) -> None:
        """Copy the database, as it is now, to a file that is not there yet; whoever uses it is not held up.

        Raises:
            UsageError: There is a file of this name.
            StoreUnavailable: It cannot be written; nothing is left of it.
        """
        self._database.backup(path, progress)

    # ------------------------------------------------------------------------------------------------------------------

    def _row(self, row: tuple[Any, ...]) -> ExecutionRow:
        return execution_row(row, self._drivers)

    def _load(self, connection: Connection, sql: str, key: int | str) -> Stored | None:
        row = connection.execute(sql, (key,)).fetchone()
        return None if row is None else self._complete(connection, row)

    def _complete(self, connection: Connection, row: tuple[Any, ...]) -> Stored:
        facts = connection.execute(_FACTS, (row[0],)).fetchall()
        signals = connection.execute(_SIGNALS, (row[0],)).fetchall()
        return Stored(self._row(row), list(map(fact, facts)), list(map(signal_row, signals)))
