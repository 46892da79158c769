"""What a run has learned, one record per fact.

The walk reads facts, the execution actor writes them, the store keeps them. A fact's value is text in the codec's
form: this room never looks inside it.

This file must never hold behaviour that needs a clock, a thread or a database.
"""

from __future__ import annotations

import re
from collections.abc import Container
from enum import StrEnum
from typing import NamedTuple

import msgspec

__all__ = [
    "CHECKPOINT",
    "ITEMS",
    "PROGRESS",
    "UNDO",
    "ErrorRecord",
    "Fact",
    "FactKind",
    "FactStatus",
    "Place",
    "is_beside",
    "kept_beside",
    "node_of",
    "without_indices",
    "without_turn",
]


PROGRESS = "__progress:"
"""What the key of the fact begins with that tells how far a handler has come; the rest is the key of its own fact."""

CHECKPOINT = "__checkpoint:"
"""What the key of the fact begins with that holds what a handler's next attempt should begin with."""

ITEMS = "__items:"
"""What the name of the question for a `for_each`'s items begins with; the rest is the name of the loop."""

UNDO = "__undo:"
"""What the key of a fact on the way back begins with; the rest is the key of what is undone."""

_TURN = re.compile(r"@\d+(\.\d+)*$")
_INDICES = re.compile(r"(:\d+)+$")


class FactKind(StrEnum):
    """What sort of question the fact answers."""

    STEP = "step"
    MAP = "map"
    DECISION = "decision"
    ITEMS = "items"
    GATE = "gate"
    REMINDER = "reminder"
    SLEEP = "sleep"
    CHILD = "child"
    UNDO = "undo"
    PROGRESS = "progress"
    CHECKPOINT = "checkpoint"
    CONTROL = "control"
    SLOT = "slot"
    KEY = "key"


class FactStatus(StrEnum):
    """How far the fact has come.

    Attributes:
        settled: Whether a fact that has come so far answers the walk.
    """

    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    PARKED = "parked"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"

    settled: bool


# An attribute of the members, and not a set of them: to look into a set would hash the member, in Python.
for _status in FactStatus:
    _status.settled = _status.name in {"COMPLETED", "SKIPPED", "FAILED", "CANCELLED"}


class ErrorRecord(NamedTuple):
    """An exception as it is kept: text only, never a pickle.

    Attributes:
        type: Qualified name of the exception's class, such as ``ValueError``.
        message: What ``str()`` of the exception gave.
        step: Name of the node whose user code raised, when there is one.
        traceback: The traceback as text; empty for errors of the engine itself.
        causes: Further failures this one carries: strands of a parallel group, a child's own failure.
    """

    type: str
    message: str
    step: str | None = None
    traceback: str = ""
    causes: tuple[ErrorRecord, ...] = ()

    def __str__(self) -> str:
        """Read like the last line of a traceback."""
        return f"{self.type}: {self.message}"


class Place(msgspec.Struct, frozen=True):
    """Where in a run a fact belongs.

    Attributes:
        key: Unique within the run. The node's name, ``:index`` for each enclosing item, ``@turn`` when earlier turns
            of the enclosing loops are kept for compensation. Never a position in the graph.
        name: What users see: the key without its turn.
        turn: Turns of the enclosing loops, outermost first; empty outside loops.
    """

    key: str
    name: str
    turn: tuple[int, ...] = ()


class Fact(msgspec.Struct, frozen=True):
    """One row of the journal. Instants are microseconds since the epoch, UTC.

    Attributes:
        key: See `Place.key`.
        kind: What sort of question it answers.
        status: How far it has come.
        turn: See `Place.turn`.
        order: Position in the run's order of starts, for compensation.
        attempts: How often the handler began.
        interruptions: How many of those attempts a crash or shutdown cut short.
        value: Encoded result, decision or payload; of a gate that still waits, its event.
        error: Why it failed, or why the last attempt did.
        started_at: When it was first asked for.
        completed_at: When it was settled, or parked.
        due_at: When its timer fires; present exactly while a durable timer is pending.
        sequence: Number of the run's last event when this was recorded, so that numbers go on after a restart.
    """

    key: str
    kind: FactKind
    status: FactStatus
    turn: tuple[int, ...] = ()
    order: int = 0
    attempts: int = 0
    interruptions: int = 0
    value: str | None = None
    error: ErrorRecord | None = None
    started_at: int = 0
    completed_at: int | None = None
    due_at: int | None = None
    sequence: int = 0

    @property
    def name(self) -> str:
        """The key without the turn."""
        return without_turn(self.key)

    @property
    def settled(self) -> bool:
        """Whether this fact answers the walk."""
        return self.status.settled

    @property
    def succeeded(self) -> bool:
        """Whether this fact holds an answer, found by the walk or put there by an operator."""
        return self.status is FactStatus.COMPLETED or self.status is FactStatus.SKIPPED


def without_turn(key: str) -> str:
    """Return a fact's key without the turns of its loops: its name."""
    return _TURN.sub("", key)


def without_indices(name: str) -> str:
    """Return a fact's name without what looks like the indices of items: where nobody knows the graph."""
    return _INDICES.sub("", name)


def node_of(name: str, names: Container[str]) -> tuple[str, str] | None:
    """Return which of these names a fact's begins with, and the indices of items behind it; None without one."""
    base, indices = name, ""
    while base not in names:
        base, colon, index = base.rpartition(":")
        if not index.isdecimal():
            return None
        indices = f"{colon}{index}{indices}"
    return base, indices


def kept_beside(key: str) -> str:
    """Return the key of a turn's fact while the next turn's stands in its place: that of turn 0, which no loop has."""
    return f"{key}.0" if _TURN.search(key) else f"{key}@0"


def is_beside(key: str) -> bool:
    """Tell whether a key is one that `kept_beside` has made."""
    turn = _TURN.search(key)
    return turn is not None and turn[0].endswith(("@0", ".0"))
