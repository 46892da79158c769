"""Starts within transactions of callers: the run exists if and only if the caller's rows do.

Rules:

1. The run's row is written on the caller's own connection, by the caller's thread. Until the caller commits nobody
   sees it; once that is done it is a run that was begun by nobody yet, as after a crash: whoever finds it begins it.
2. SQLite tells nobody of commits. While such a transaction is open, one thread waits for the database's write lock,
   which the transaction holds: whoever gets it after that knows how the transaction has ended.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl.errors import DuplicateExecution, StoreError
from ..dsl.facts import Fact, FactKind, FactStatus
from ..dsl.programs import DELAY
from ..persistence.records import Batch
from . import clock
from .core import Core, Letter
from .starting import Claim, Start, claim, of_singleton

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .lanes import ThreadLanes
    from .supervisor import Supervisor

__all__ = ["Joining", "Revive"]

_PATIENCE = 0.2
"""Real seconds for one wait for the lock; after that it looks whether the engine is closing."""


class Revive(msgspec.Struct, frozen=True):
    """A run is on disk that was written outside the core: see that it lives."""

    run: int


class Joining:
    """Starts runs within callers' transactions, and begins those that were committed."""

    def __init__(self, core: Core, office: Supervisor, lanes: ThreadLanes) -> None:
        self._core = core
        self._office = office
        self._lanes = lanes
        self._new = queue.SimpleQueue[int | None]()
        self._pending: set[int] = set()
        self._guard = threading.Lock()
        self._closed = threading.Event()

    def start(self, message: Start, definition: Definition, tx: Any) -> str:
        """Write a run on the caller's connection, or find the one that is there; return its id.

        Raises:
            UsageError: ``tx`` is no transaction on the engine's database.
            DuplicateExecution: The id or key exists, and was to be rejected.
            StoreError: It could not be written.
        """
        message = of_singleton(message, definition)
        with self._core.store.joined(tx) as joined:
            by_id = None if message.execution_id is None else joined.find(message.execution_id)
            by_key = None if message.key is None else joined.find_key(message.workflow, message.key)
            found = claim(message, by_id, by_key, clock.micros())
            if isinstance(found, DuplicateExecution):
                raise found
            if not isinstance(found, Claim):
                return found.execution_id
            row = self._office.newcomers.row_for(message, definition)
            batch = Batch({row.id: row}, replaced=found.replaced, freed=found.freed)
            if message.start_at is not None:
                batch.facts[row.id, DELAY] = Fact(
                    DELAY, FactKind.SLEEP, FactStatus.WAITING, (), 1, started_at=row.created_at, due_at=message.start_at
                )
            joined.write(batch)
        self._expect(row.id)
        return row.execution_id

    def _expect(self, run: int) -> None:
        with self._guard:
            self._pending.add(run)
        self._new.put(run)
        self._lanes.aside("joining", self._watch)

    def look(self) -> bool:
        """Begin every run whose transaction was committed; tell whether there was any. From any thread."""
        committed = [run for run in list(self._pending) if self._core.store.name_of(run) is not None]
        with self._guard:
            begun = [run for run in committed if run in self._pending]
            self._lanes.hold()  # what is expected no longer is under way from now on: `settle` sees one or the other
            self._pending.difference_update(begun)
        for run in begun:
            self._core.post(self._office, Letter(Revive(run)))
        self._lanes.release()
        return bool(begun)

    def close(self) -> None:
        """Have the thread end."""
        self._closed.set()
        self._new.put(None)

    def _watch(self) -> None:
        while (run := self._new.get()) is not None:
            waited_for = {run}
            while waited_for:
                try:
                    over = self._core.store.wait_for_writers(_PATIENCE)
                    self.look()
                except StoreError:
                    if self._closed.wait(_PATIENCE):
                        return
                    continue  # the next engine will find it, if this one does not
                with self._guard:
                    if over:  # what is not there now was rolled back
                        self._pending -= waited_for
                    waited_for &= self._pending
                if self._closed.is_set():
                    return
