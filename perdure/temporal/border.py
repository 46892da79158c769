"""What crosses the border between workflows, activities and callers: JSON of our own making.

Values inside are text in the form of perdure's codec, so that what a handler sees is what it would see of an engine's
database. A data converter's encryption still applies: it works on the bytes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from ..dsl.facts import ErrorRecord, Fact
from ..dsl.parcel import Parcel
from ..persistence.records import ExecutionRow, SignalRow, Stored

__all__ = ["HANDLER", "QUESTION", "RUN", "SIGNAL", "SNAPSHOT"]
__all__ += ["Answer", "Begin", "Failure", "Left", "Sent", "Snapshot", "Stop", "Task", "pack", "to_text", "unpack"]

RUN = "perdure"
"""Name of the one workflow that runs all others."""

HANDLER, QUESTION = "perdure:handler", "perdure:question"
"""Names of the activities."""

SIGNAL, SNAPSHOT = "perdure:signal", "perdure:snapshot"
"""Names of the signal and the query."""

T = TypeVar("T")


class Left(msgspec.Struct, frozen=True):
    """What a sub-workflow has left that may have to be undone.

    Attributes:
        facts: What it has recorded.
        left: What its own sub-workflows have left, by the keys of their facts.
    """

    facts: list[Fact]
    left: dict[str, Left]


class Begin(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run begins with, be it new, continued, or there to undo another one.

    Attributes:
        workflow: Name of its workflow.
        input: Encoded input.
        graphs: The graph of its workflow and of all it may start, by name.
        heartbeat: Seconds without a sign of life after which a worker counts as dead.
        most_events: Length of the history after which the run continues as a new one; when Temporal says so if None.
        created_at: When it was started, in microseconds.
        deadline: When its time as a whole is up.
        order: Number of the last fact.
        facts: What it has recorded.
        signals: What it was sent.
        left: What sub-workflows have left that may have to be undone, by the keys of their facts.
        undoes: Whether it is there to undo what another run has recorded.
        error: Why it is being undone.
        cancelled: Whether it ends as cancelled.
        tags: Encoded tags.
    """

    workflow: str
    input: str
    graphs: dict[str, Any]
    heartbeat: float
    most_events: int | None = None
    created_at: int = 0
    deadline: int | None = None
    order: int = 0
    facts: list[Fact] = []
    signals: list[SignalRow] = []
    left: dict[str, Left] = {}
    undoes: bool = False
    error: ErrorRecord | None = None
    cancelled: bool = False
    tags: str | None = None


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of user code to be run.

    Attributes:
        way: See `Code.way`.
        role: See `Code.role`.
        parcel: What it sees.
        turn: The turn that a condition may ask for.
        as_bool: Whether only the truth of its answer counts.
        failure: Why the run is being undone, for a compensation.
        timeout: Seconds that a handler may take.
    """

    workflow: str
    version: str | None
    execution_id: str
    input: str
    way: tuple[str, ...]
    role: str
    parcel: Parcel
    turn: int | None = None
    as_bool: bool = False
    failure: ErrorRecord | None = None
    timeout: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """What user code has returned, encoded, and in which attempt."""

    value: str
    attempt: int = 1


class Failure(msgspec.Struct, frozen=True):
    """What user code has raised, in which attempt; travels in the details of an application error."""

    error: ErrorRecord
    attempt: int = 1


class Sent(msgspec.Struct, frozen=True):
    """A signal."""

    event: str
    payload: str
    key: str | None = None


class Stop(msgspec.Struct, frozen=True):
    """Why a run is cancelled, and whether what it did is undone."""

    compensate: bool = True
    reason: str = "cancelled"


class Snapshot(msgspec.Struct, frozen=True):
    """What a run looks like; travels in the details of the error of one that has failed."""

    execution: ExecutionRow
    facts: list[Fact]
    signals: list[SignalRow]
    left: dict[str, Left] = {}

    def stored(self) -> Stored:
        """Return it as a store would."""
        return Stored(self.execution, self.facts, self.signals)


def pack(message: msgspec.Struct) -> RawValue:
    """Return a message as it travels."""
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=msgspec.json.encode(message)))


def unpack(sent: RawValue, cls: type[T]) -> T:
    """Return the message that has arrived."""
    return msgspec.json.decode(sent.payload.data, type=cls)


def to_text(message: msgspec.Struct) -> str:
    """Return a message as it stands in the details of an error."""
    return msgspec.json.encode(message).decode()
