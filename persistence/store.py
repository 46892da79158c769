"""The store: the few operations by which runs are kept.

Two sorts of callers. Whoever holds the core (one thread at a time, not always the same) may call everything, and
reads what it wrote. Any other thread may call what the `Reader` has; it reads what was committed.

This file must never decide what a run does next: it keeps what it is given, whole or not at all.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from ..dsl.errors import StoreError
from . import retention
from .apart import Apart
from .connection import Connection
from .database import BUSY_SECONDS
from .inbox import Inbox
from .joined import Joined
from .kind import Durability
from .limits import GIVEN
from .moves import ask_if_moved
from .ownership import Membership
from .reader import RUN, RUN_BY_KEY, RUN_BY_NAME, Reader
from .records import Batch, ExecutionRow, ScheduleChange, ScheduleRow, Stored, TimerRow
from .schedules import read_one, read_schedules, write_schedules
from .writing import MAY_BE_WRITTEN, write_batch

__all__ = ["Durability", "Store"]

_FOREVER: Final = 2**63 - 1
_FIRST_TIMER: Final = TimerRow(-(2**63), 0, "")

_DUE: Final = """
    SELECT step.due_at, step.execution, step.key
    FROM workflow_steps AS step INDEXED BY workflow_timers
    CROSS JOIN workflow_executions AS run ON run.id = step.execution
    WHERE step.due_at IS NOT NULL AND step.due_at <= ? AND (step.due_at, step.execution, step.key) > (?, ?, ?)
    AND run.owner IN ({}) AND run.finished_at IS NULL
    ORDER BY step.due_at, step.execution, step.key LIMIT ?
"""
_RUN_BY_ID: Final = f"{RUN} WHERE id = ?"
_CHILDREN: Final = f"{RUN} WHERE parent_id = ? ORDER BY id"
_UNFINISHED: Final = f"{RUN} WHERE owner = ? AND state = ? AND finished_at IS NULL AND id > ? ORDER BY id LIMIT ?"
_COUNT: Final = (
    "SELECT count(*) FROM workflow_executions WHERE owner = ? AND state = ? AND finished_at IS NULL AND id > ?"
)


class Store(Reader):
    """Runs, their facts and their signals, in one SQLite file.

    Attributes:
        path: The file.
        engine_id: This engine's number in the database; 0 until it is open.
        inbox: Messages from those who do not drive the run they are for.

    Example:
        >>> store = Store(None)
        >>> store.open()
        >>> store.find("nobody")
        >>> store.close()
    """

    def __init__(
        self, path: str | None, *, durability: Durability = "full", busy_timeout: float = BUSY_SECONDS
    ) -> None:
        """Make a store; nothing is touched until `open`.

        Args:
            path: The database, or None for a private one that `close` deletes.
            durability: With ``full`` a commit survives the loss of power, with ``normal`` the death of the process.
            busy_timeout: Real seconds to wait for another program's lock.
        """
        super().__init__(path, durability=durability, busy_timeout=busy_timeout)
        self._membership = Membership(self._database)
        self.inbox = Inbox(self._database)
        self._counter = itertools.count(1)
        self._upsert_condition = ""
        self._due = ""

    # Life ------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Create the database or bring it to the newest schema, and register this engine.

        Migration and registration are a transaction each; an older database is copied beside itself first.

        Raises:
            StoreUnavailable: It cannot be written, or another program keeps it locked.
            StoreCorrupt: It is not a database, or damaged; nothing was touched.
            SchemaTooNew: A newer release wrote it; nothing was touched.
            StoreMoved: What is in it was moved to another database.
        """
        self._database.open(self._membership.join)
        self._drive()

    def attach(self) -> None:
        """Make ready to read and to send messages, without becoming an engine; nothing is touched.

        Raises:
            StoreUnavailable: There is no database, or one of an older release.
            StoreCorrupt, SchemaTooNew: As for `open`.
        """
        self._database.attach()

    def rejoin(self) -> bool:
        """Register this engine anew if it was taken over: under another number, driving nothing; tell whether it was.

        Raises:
            StoreError: As for `commit`.
        """
        if self._database.consult(self._membership.is_valid):
            return False
        self._membership.die()
        self._database.prepare(self._membership.join)
        self._drive()
        return True

    def hand_over(self, workflow: str, version: str | None, to: int, *, limit: int = 500) -> list[int]:
        """Make another living engine the owner of this one's unfinished runs of a workflow, with all their children.

        Args:
            workflow: Name of the workflow.
            version: Its version.
            to: The engine's number.
            limit: How many runs at most, not counting their children.

        Returns:
            The runs that were handed over.

        Raises:
            StoreError: As for `commit`.
        """

        def hand(connection: Connection) -> list[int]:
            self._membership.check(connection)
            return self._membership.hand_over(connection, workflow, version, to, limit)

        return self._database.write(hand)

    def close(self) -> None:
        """Give the unfinished runs to whoever comes next and close the database. Harmless the second time.

        Never raises because the engine was fenced off or the disk failed: then the runs are found by its lock, which
        is free now.
        """
        if self.engine_id and not self._database.is_private:
            with contextlib.suppress(StoreError):
                self._database.write(self._membership.leave)
        self._database.close()
        self._membership.close()

    def put_by(self) -> None:
        """Close as `close` does, but let the next store have a private database, if that is worth it.

        Only for whoever has told nobody of it, and has nothing under way there.
        """
        if not self._database.is_private:
            self.close()
            return
        self._membership.close()  # before another engine can have it, with the same number
        self._database.put_by()

    def abandon(self) -> None:
        """Let go of everything as the death of the process would: the next engine finds this one dead; for tests.

        A private file stays, for the store that opens it next.
        """
        self._database.abandon()
        self._membership.die()

    @property
    def _drivers(self) -> dict[int, int]:
        return self._membership.drivers

    @property
    def engine_id(self) -> int:
        """This engine's number in the database."""
        return self._membership.engine_id

    def new_id(self) -> int:
        """Return a number for a run or signal: never given before in this database, ascending. From any thread."""
        return self.engine_id << 32 | next(self._counter)

    def take_over(self) -> list[int]:
        """Become the driver of all runs whose engine has died or was closed; return those engines.

        One transaction: the engines lose their right to write, their runs are this engine's, and those that were
        running or compensating when their engine died have one adoption more.

        Raises:
            OwnershipLost: This engine was itself taken over; nothing was written.
            StoreError: As for `commit`.
        """
        dead = self._database.consult(self._membership.find_dead)
        locks = [lock for _, lock in dead if lock is not None]
        try:
            taken = self._database.write(lambda writer: self._membership.take_over(writer, dead)) if dead else []
        except BaseException:
            for lock in locks:
                lock.close()
            raise
        for lock in locks:
            lock.remove()
        # Every time: a take-over whose outcome was unknown may have succeeded.
        self._database.consult(self._membership.recall)
        self._drive()
        return taken

    def _drive(self) -> None:
        """Keep the SQL that depends on whose runs this engine drives."""
        driven = ", ".join(map(str, sorted(self._membership.drivers)))
        self._upsert_condition = MAY_BE_WRITTEN.format(driven)
        self._due = _DUE.format(driven)

    # Writing: the core's holder only ---------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction: all of it is on disk when this returns, or none of it after an error.

        Rows replace those with the same primary key, except for what a run was started with (ids, workflow, input,
        keys, parent, created_at), which never changes. This engine becomes the owner of every run it writes.

        Raises:
            OwnershipLost: This engine was taken over, or a run in the batch belongs to another one; nothing was
                written.
            DuplicateRow: Another run has the execution id or idempotency key, or another signal the key, or another
                engine has changed a schedule since it was read; nothing was written.
            StoreUnavailable: Locked, full, read-only: nothing was written. An I/O error: the message says that the
                outcome is unknown; the connection is opened anew, so what is read next is what is there.
            StoreCorrupt: The file is damaged.
            StoreError: The file was deleted or replaced; nothing was written.
        """
        self._database.write(lambda connection: self._write(connection, batch))

    def _write(self, connection: Connection, batch: Batch) -> None:
        # This engine's right to write is asked for first, and all checks are looked at before anything is committed:
        # last, since whoever looks at what a statement has done waits for a server.
        may_write = self._membership.ask(connection)
        try:
            checks = write_batch(connection, batch, self._membership.engine_id, self._upsert_condition)
        except Exception:
            may_write()  # what a fenced engine wants to write may be there already, by its successor
            raise
        for check in (may_write, *checks):
            check()

    @contextlib.contextmanager
    def apart(self) -> Iterator[Apart]:
        """Give a step's own transaction, on the thread of its handler; what is not committed is undone.

        Raises:
            OwnershipLost: This engine was taken over.
            StoreError: As for `commit`: nothing was written.
        """
        with self._database.apart() as transaction:
            self._membership.check(transaction.link)
            yield transaction

    @contextlib.contextmanager
    def joined(self, tx: Any) -> Iterator[Joined]:
        """Read and write within a caller's own transaction, on the caller's thread; it is the caller who commits.

        Raises:
            UsageError: It is no transaction on this database.
            OwnershipLost: This engine was taken over; nothing was written.
            StoreError: As for `commit`; the caller's transaction is as it was.
        """
        with self._database.joined(tx) as connection:
            self._membership.check(connection)
            yield Joined(connection, self._row, lambda batch: self._write(connection, batch))

    def wait_for_writers(self, seconds: float) -> bool:
        """Wait until no transaction of anybody that has written is open; tell whether that came to pass in time."""
        return self._database.wait_for_writers(seconds)

    def cleanup(self, *, older_than: int, states: frozenset[str], limit: int = 1000) -> int:
        """Delete runs that finished before an instant, oldest first, with their facts and signals; return how many.

        One transaction. Only final states; a run whose parent is unfinished stays. Call again until it returns less
        than `limit`.

        Raises:
            UsageError: A state is not final.
            StoreError: As for `commit`.
        """
        return self._retire(
            lambda connection: retention.cleanup(connection, older_than=older_than, states=states, limit=limit)
        )

    def archive(
        self, *, older_than: int, states: frozenset[str], limit: int = 1000, archived_at: int | None = None
    ) -> int:
        """Move runs that finished before an instant to the archive, oldest first; return how many.

        One transaction, and the rules of `cleanup`.

        Args:
            older_than: The instant.
            states: Final states.
            limit: How many at most.
            archived_at: When this happens; None for SQLite's own clock.

        Raises:
            UsageError: A state is not final.
            StoreError: As for `commit`.
        """
        return self._retire(
            lambda connection: retention.archive(
                connection, older_than=older_than, states=states, limit=limit, archived_at=archived_at
            )
        )

    # Reading: the core's holder only ---------------------------------------------------------------------------------

    def load(self, execution: int) -> Stored | None:
        """Return a run with its facts, in their order, and its signals, in order of acceptance."""
        return self._database.consult(lambda connection: self._load(connection, _RUN_BY_ID, execution))

    def find(self, execution_id: str) -> ExecutionRow | None:
        """Return the run of this id."""
        return next(iter(self._runs(RUN_BY_NAME, execution_id)), None)

    def find_key(self, workflow: str, idempotency_key: str) -> ExecutionRow | None:
        """Return the run of a workflow that was started with this key."""
        return next(iter(self._runs(RUN_BY_KEY, workflow, idempotency_key)), None)

    def children(self, parent: int) -> list[ExecutionRow]:
        """Return the runs that a run has started, oldest first."""
        return self._runs(_CHILDREN, parent)

    def unfinished(self, states: Collection[str], *, after: int = 0, limit: int = 1000) -> list[ExecutionRow]:
        """Return runs that this engine drives and that are in one of these states, by ascending id.

        Args:
            states: Names of states.
            after: Only ids above this one: the last of the page before.
            limit: Size of the page.
        """
        found = [
            row
            for owner in self._membership.drivers
            for state in states
            for row in self._runs(_UNFINISHED, owner, str(state), after, limit)
        ]
        found.sort(key=lambda row: row.id)
        return found[:limit]

    def count_driven(self, states: Collection[str], *, after: int = 0) -> int:
        """Return how many runs above this id `unfinished` would return, if it had no limit."""
        return sum(
            self._database.consult(
                lambda connection, owner=owner, state=state: connection.execute(  # type: ignore[misc]
                    _COUNT, (owner, str(state), after)
                ).fetchone()[0]
            )
            for owner in self._membership.drivers
            for state in states
        )

    def due(self, until: int | None = None, *, after: TimerRow | None = None, limit: int = 1000) -> list[TimerRow]:
        """Return pending timers of unfinished runs that this engine drives, in order of due time.

        Args:
            until: Only those due at this instant or before; None for all.
            after: Only those behind this one: the last of the page before.
            limit: Size of the page.
        """
        begin = after or _FIRST_TIMER
        rows = self._database.consult(
            lambda connection: connection.execute(
                self._due, (_FOREVER if until is None else until, *begin, limit)
            ).fetchall()
        )
        return list(map(TimerRow._make, rows))

    def given_slots(self) -> list[tuple[int, int | None]]:
        """Return the runs that were given a slot and do not know yet, each with the engine that drives it."""
        return self._database.consult(lambda connection: connection.execute(GIVEN).fetchall())

    def schedule(self, name: str) -> ScheduleRow | None:
        """Return the schedule of this name."""
        return self._database.consult(lambda connection: read_one(connection, name))

    def change_schedule(self, name: str, change: ScheduleChange) -> None:
        """Write one schedule by itself, for whoever drives nothing; an engine writes it with the run it starts.

        Raises:
            DuplicateRow: It has been changed since it was read; nothing was written.
            StoreMoved: What is in the database was moved to another one.
            StoreError: As for `commit`.
        """

        def write(connection: Connection) -> None:
            still_here = ask_if_moved(connection, self._database.name)
            write_schedules(connection, {name: change})
            still_here()

        self._database.write(write)

    def schedules(self) -> list[ScheduleRow]:
        """Return all schedules, by name."""
        return self._database.consult(read_schedules)

    # ------------------------------------------------------------------------------------------------------------------

    def _retire(self, work: Callable[[Connection], int]) -> int:
        def fenced(connection: Connection) -> int:
            self._membership.check(connection)
            return work(connection)

        return self._database.write(fenced)

    def _runs(self, sql: str, *parameters: object) -> list[ExecutionRow]:
        rows = self._database.consult(lambda connection: connection.execute(sql, parameters).fetchall())
        return [self._row(row) for row in rows]
