"""Starting runs on behalf of callers: which run a start means, and what has to make way for a new one.

Rules:

1. An id is one run's, an idempotency key one run's of its workflow. A run that ended may have to give them up: its key
   is taken from it, or, where a new run gets its id, it goes to the archive. Both happen in the new run's first commit.
2. A signal that comes with a start is stored in the commit that the run begins with.

This file decides what a start means; the supervisor knows which runs there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..dsl import messages as msg
from ..dsl.errors import DuplicateExecution, UnknownWorkflow
from ..dsl.states import FINAL
from ..persistence.records import ExecutionRow
from . import clock
from .reply import Instead

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["IfExists", "Start", "Starting"]

IfExists = Literal["return", "reject", "replace_if_finished"]


class Start(msgspec.Struct, frozen=True):
    """A caller: start a run; the answer is its id, given once it is on disk.

    Attributes:
        new_id: Id of the run if one is started and the caller has chosen none.
        key_until: When the key may be used for another run, whatever this one does.
        signal: What the run is sent at once, be it new or not.
    """

    workflow: str
    input: str
    new_id: str
    version: str | None = None
    execution_id: str | None = None
    key: str | None = None
    key_until: int | None = None
    start_at: int | None = None
    tags: str | None = None
    business_key: str | None = None
    if_exists: IfExists = "return"
    signal: msg.Signalled | None = None


class Starting:
    """The supervisor's knowledge of how runs are started, and of the keys of those in memory."""

    def __init__(self, office: Supervisor) -> None:
        self._office = office
        self._keys: dict[tuple[str, str], int] = {}

    def came(self, row: ExecutionRow) -> None:
        """Hear that a run is in memory."""
        if row.idempotency_key is not None:
            self._keys[row.workflow, row.idempotency_key] = row.id

    def left(self, row: ExecutionRow) -> None:
        """Hear that a run has left memory."""
        key = (row.workflow, row.idempotency_key or "")
        if self._keys.get(key) == row.id:
            del self._keys[key]

    def start(self, message: Start, reply: Any) -> None:
        """Start a run, or answer for the one that is there already."""
        office = self._office
        by_id = None if message.execution_id is None else office.row_of(message.execution_id)
        if by_id is not None and not self._may_replace(by_id, message):
            self._exists(by_id, "under this id", message, reply)
            return
        by_key = None if message.key is None else self._find_key(message.workflow, message.key)
        if by_key is not None and by_key != by_id and not _gives_key_up(by_key, message):
            self._exists(by_key, f"with the idempotency key {message.key!r}", message, reply)
            return
        self._begin(message, reply, by_id, by_key)

    def _begin(self, message: Start, reply: Any, by_id: ExecutionRow | None, by_key: ExecutionRow | None) -> None:
        office = self._office
        definition = office.find_definition(message.workflow, message.version)
        if definition is None:
            office.turn.replies.append((reply, UnknownWorkflow(message.workflow, office.names())))
            return
        if by_id is not None:
            office.drop(by_id.id)
        row = office.new_row(definition, message.input, execution_id=message.execution_id or message.new_id)._replace(
            idempotency_key=message.key,
            key_until=message.key_until,
            tags=message.tags,
            business_key=message.business_key,
        )
        begin = msg.Begin(
            message.start_at,
            replaces=None if by_id is None else by_id.id,
            takes_key_of=None if by_key is None else by_key.id,
        )
        if message.signal is None:
            office.begin(row, begin, reply)
        else:  # both letters are there before the run takes its first turn: one turn, one commit
            office.begin(row, begin)
            office.deliver(row.id, message.signal, Instead(reply, row.execution_id))

    def _exists(self, row: ExecutionRow, why: str, message: Start, reply: Any) -> None:
        office = self._office
        if message.if_exists == "reject" or row.workflow != message.workflow:
            error = DuplicateExecution(row.execution_id, f"{why}, of workflow {row.workflow!r}")
            office.turn.replies.append((reply, error))
        elif message.signal is None:
            office.confirm(row, reply)
        else:
            office.to_run(row.execution_id, message.signal, Instead(reply, row.execution_id))

    def _may_replace(self, row: ExecutionRow, message: Start) -> bool:
        """Tell whether a run that has the id may go: its end is on disk, and no other run may have to undo it."""
        if message.if_exists != "replace_if_finished" or row.workflow != message.workflow or row.parent_id is not None:
            return False
        stored = self._office.core.store.find(row.execution_id)
        return stored is not None and stored.state in FINAL and row.state in FINAL

    def _find_key(self, workflow: str, key: str) -> ExecutionRow | None:
        run = self._keys.get((workflow, key))  # a run started in this very cycle is not on disk yet
        return self._office.live_row(run) if run is not None else self._office.core.store.find_key(workflow, key)


def _gives_key_up(row: ExecutionRow, message: Start) -> bool:
    if row.key_until is not None and row.key_until <= clock.micros():
        return True
    return message.if_exists == "replace_if_finished" and row.state in FINAL
