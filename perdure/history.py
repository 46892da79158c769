"""What a run has done, attempt by attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from .actors.clock import from_micros
from .actors.course import PARDON
from .dsl.facts import UNDO, ErrorRecord, Fact, FactKind, FactStatus
from .persistence import codec
from .persistence.records import AttemptRow

__all__ = ["AttemptRecord", "history_of"]

_SHOWN: Final = {
    FactKind.STEP: "step",
    FactKind.MAP: "map",
    FactKind.CHILD: "sub_workflow",
    FactKind.GATE: "wait_for",
    FactKind.SLEEP: "sleep",
    FactKind.UNDO: "compensation",
}
_WITH_ATTEMPTS: Final = (FactKind.STEP, FactKind.UNDO)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt of a step or compensation; or a map, sub-workflow, gate or sleep, which have only one.

    Attributes:
        step: Name of the node; an item's with its index.
        kind: ``step``, ``compensation``, ``map``, ``sub_workflow``, ``wait_for`` or ``sleep``.
        attempt: Its number, from 1; it goes on after an interruption.
        turn: Turns of the enclosing loops, outermost first; empty outside loops.
        outcome: ``completed``, ``failed``, ``timed_out``, ``interrupted``, ``running`` or ``waiting``; ``skipped`` when
            an operator has put a result in its place, ``parked`` while it waits for one.
        result: What it returned, or the payload a gate took; None unless it completed.
        error: Why it failed.
        started_at: When it began; of what a crash interrupted, when it was to begin.
        ended_at: When it ended, or was found to have been interrupted; None while it goes on.
        next_attempt_at: When the next attempt was due, after one that was to be tried again.
    """

    step: str
    kind: str
    attempt: int
    turn: tuple[int, ...]
    outcome: str
    result: Any
    error: ErrorRecord | None
    started_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None = None


def history_of(facts: Iterable[Fact], attempts: Sequence[AttemptRow]) -> list[AttemptRecord]:
    """Return every attempt that is known of, in order of beginning.

    Facts tell how each node stands; the rows tell of attempts that did not succeed, also in a loop's earlier turns.
    """
    facts = list(facts)
    shown = {fact.order: fact for fact in facts if fact.kind in _SHOWN}
    pardons = {fact.order: fact for fact in facts if fact.key.startswith(PARDON)}
    rows: dict[int, list[AttemptRow]] = {order: [] for order in shown}
    for row in attempts:
        rows.setdefault(row.position, []).append(row)
    found = [record for order in rows for record in _of_one(shown.get(order), rows[order], pardons.get(order))]
    return sorted(found, key=lambda record: record.started_at)


def _of_one(fact: Fact | None, rows: list[AttemptRow], pardon: Fact | None) -> list[AttemptRecord]:
    """Return the attempts of one node in one turn; its fact is gone once a later turn's has taken its place.

    The attempt behind those that an operator has pardoned began with the pardon.
    """
    begins = fact.started_at if fact is not None else rows[0].started_at or rows[0].ended_at
    records = []
    for row in rows:
        records.append(_ended(row, row.started_at or begins, fact))
        if pardon is not None and (pardon.turn, pardon.attempts) == (row.turn, row.attempt):
            begins = pardon.started_at
        else:
            begins = row.next_at or row.ended_at
    if fact is not None and _tells_more(fact, rows):
        records.append(_standing(fact, begins))
    return records


def _tells_more(fact: Fact, rows: list[AttemptRow]) -> bool:
    """Tell whether the fact's own attempt is missing from the rows: it goes on, or has succeeded, or is older."""
    if fact.succeeded:  # if not by an attempt, then by an operator's hand
        return True
    return fact.status is not FactStatus.RETRYING and all(row.attempt != fact.attempts for row in rows)


def _ended(row: AttemptRow, began: int, fact: Fact | None) -> AttemptRecord:
    undo = row.key.startswith(UNDO)
    name = Fact(row.key.removeprefix(UNDO), FactKind.STEP, FactStatus.FAILED).name
    return AttemptRecord(
        step=name,
        kind="compensation" if undo else "step" if fact is None else _SHOWN[fact.kind],
        attempt=row.attempt,
        turn=row.turn,
        outcome=row.outcome,
        result=None,
        error=row.error,
        started_at=from_micros(began),
        ended_at=from_micros(row.ended_at),
        next_attempt_at=None if row.next_at is None else from_micros(row.next_at),
    )


def _standing(fact: Fact, began: int) -> AttemptRecord:
    return AttemptRecord(
        step=replace(fact, key=fact.key.removeprefix(UNDO)).name,
        kind=_SHOWN[fact.kind],
        attempt=max(fact.attempts, 1) if fact.kind in _WITH_ATTEMPTS else 1,
        turn=fact.turn,
        outcome=str(fact.status),
        result=codec.decode(fact.value) if fact.succeeded and fact.value is not None else None,
        error=fact.error if fact.settled else None,
        started_at=from_micros(began),
        ended_at=None if fact.completed_at is None else from_micros(fact.completed_at),
    )
