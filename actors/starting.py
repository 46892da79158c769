"""Starting runs on behalf of callers: which run a start means, and what has to make way for a new one.

Rules:

1. An id is one run's, an idempotency key one run's of its workflow. A run that ended may have to give them up: its key
   is taken from it, or, where a new run gets its id, it goes to the archive. Both happen in the new run's first commit.
2. A signal that comes with a start is stored in the commit that the run begins with.

This file decides what a start means; the supervisor knows which runs there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from ..dsl import messages as msg
from ..dsl.errors import DuplicateExecution, UnknownWorkflow
from ..dsl.states import FINAL, State
from ..persistence.records import ExecutionRow
from . import clock
from .reply import Instead
from .slot import SINGLETON

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor

__all__ = ["Claim", "IfExists", "Start", "Starting", "ToRun", "claim", "execution_id_of", "of_singleton"]

IfExists = Literal["return", "reject", "replace_if_finished"]


class Start(msgspec.Struct, frozen=True):
    """A caller: start a run; the answer is its id, given once it is on disk.

    Attributes:
        new_id: Id of the run if one is started and the caller has chosen none.
        key_until: When the key may be used for another run, whatever this one does.
        priority: How much it matters beside others that queue.
        debounced: Whether a run of this key that is still put off begins later instead, with this input.
        singleton: Whether a run that has ended gives up its key in any case.
        signal: What the run is sent at once, be it new or not.
    """

    at: ClassVar[int] = -1  # the moment of its arrival decides nothing

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
    priority: int = 0
    debounced: bool = False
    singleton: bool = False
    signal: msg.Signalled | None = None

    def for_existing(self) -> msg.Signalled | msg.Postpone:
        """Return what a run that is there already is told."""
        return self.signal or msg.Postpone(self.input, self.start_at or 0)


class ToRun(msgspec.Struct, frozen=True):
    """A caller: hand this message to a run, waking it if need be."""

    execution_id: str
    message: Any


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
        message = of_singleton(message, office.definitions.find(message.workflow, message.version))
        by_id = None if message.execution_id is None else office.row_of(message.execution_id)
        by_key = None if message.key is None else self._find_key(message.workflow, message.key)
        found: Claim | ExecutionRow | DuplicateExecution
        if by_id is not None and by_id.state in FINAL and not office.is_on_disk(by_id):
            by_id = replace(by_id, state=State.RUNNING)  # its end is in this very cycle
        if message.debounced and by_key is not None:
            put_off = office.is_put_off(by_key.id)
            found = by_key if put_off else Claim(freed=(by_key.id,))  # one that has begun minds no more calls
        elif by_id is None and by_key is None:
            found = _NEW
        else:
            found = claim(message, by_id, by_key, clock.micros())
        if isinstance(found, Claim):
            self._begin(message, reply, found)
        elif isinstance(found, DuplicateExecution):
            office.turn.replies.append((reply, found))
        elif message.signal is None and not message.debounced:
            office.confirm(found, reply)
        else:
            office.to_run(found.execution_id, message.for_existing(), Instead(reply, found.execution_id))

    def _begin(self, message: Start, reply: Any, claimed: Claim) -> None:
        office = self._office
        definition = office.definitions.find(message.workflow, message.version)
        if definition is None:
            office.turn.replies.append((reply, UnknownWorkflow(message.workflow, office.definitions.names())))
            return
        for run in claimed.replaced:
            office.drop(run)
        row = office.newcomers.row_for(message, definition)
        begin = msg.Begin(message.start_at, claimed.replaced, claimed.freed)
        if message.signal is None:
            office.begin(row, begin, reply)
        else:  # both letters are there before the run takes its first turn: one turn, one commit
            office.begin(row, begin)
            office.deliver(row.id, message.signal, Instead(reply, row.execution_id))

    def _find_key(self, workflow: str, key: str) -> ExecutionRow | None:
        run = self._keys.get((workflow, key))  # a run started in this very cycle is not on disk yet
        return self._office.live_row(run) if run is not None else self._office.core.store.find_key(workflow, key)


def of_singleton(message: Start, definition: Definition | None) -> Start:
    """Return a start as it is meant where there is one unfinished run at a time: with a key, which an end frees."""
    if definition is None or not definition.is_singleton:
        return message
    key = SINGLETON if message.key is None else message.key
    return msgspec.structs.replace(message, key=key, singleton=True)


class Claim(NamedTuple):
    """What has to make way for a new run.

    Attributes:
        replaced: Finished runs whose id it gets.
        freed: Runs whose idempotency key it gets.
    """

    replaced: tuple[int, ...] = ()
    freed: tuple[int, ...] = ()


_NEW = Claim()


def claim(
    message: Start, by_id: ExecutionRow | None, by_key: ExecutionRow | None, now: int
) -> Claim | ExecutionRow | DuplicateExecution:
    """Tell what a start means: a new run, one that is there, or an error.

    Args:
        message: The start.
        by_id: The run that has the id that was asked for.
        by_key: The run that has the idempotency key.
        now: What time it is.
    """
    if by_id is not None and not _may_be_replaced(by_id, message):
        return _exists(by_id, "under this id", message)
    if by_key is not None and (by_id is None or by_key.id != by_id.id) and not _gives_key_up(by_key, message, now):
        return _exists(by_key, f"with the idempotency key {message.key!r}", message)
    return Claim(() if by_id is None else (by_id.id,), () if by_key is None else (by_key.id,))


def _exists(row: ExecutionRow, why: str, message: Start) -> ExecutionRow | DuplicateExecution:
    if message.if_exists == "reject" or row.workflow != message.workflow:
        return DuplicateExecution(row.execution_id, f"{why}, of workflow {row.workflow!r}")
    return row


def _may_be_replaced(row: ExecutionRow, message: Start) -> bool:
    """Tell whether a run may go to the archive: it has ended, and no other run may have to undo it."""
    wanted = message.if_exists == "replace_if_finished" and row.workflow == message.workflow
    return wanted and row.parent_id is None and row.state in FINAL


def _gives_key_up(row: ExecutionRow, message: Start, now: int) -> bool:
    expired = row.key_until is not None and row.key_until <= now
    is_free = message.singleton or message.if_exists == "replace_if_finished"
    return expired or (is_free and row.state in FINAL)


def execution_id_of(now: int, random_bits: Callable[[int], int]) -> str:
    """Return an id that sorts by time: 11 digits of milliseconds, 13 of chance, in hexadecimal."""
    return f"{now // 1000:011x}{random_bits(52):013x}"
