"""What waits for an operator, and what operators have asked: the records that callers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from msgspec.structs import replace

from .actors.clock import from_micros
from .dsl.facts import UNDO, ErrorRecord, Fact, FactKind
from .persistence import codec
from .persistence.records import AuditRow

__all__ = ["SAME", "AuditEntry", "How", "Incident", "entry_of", "incident_of"]

How = Literal["retry", "skip", "complete", "fail"]
"""How an incident may end."""


class _Same:
    """Stands for what the source of a fork has."""

    def __repr__(self) -> str:
        return "<the same>"


SAME: Final[Any] = _Same()
"""The input of the run that is forked."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A step or a compensation that waits for an operator.

    Attributes:
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        step: Name of the step; an item's with its index.
        compensation: Whether it is the step's compensation that has failed.
        error: Why the last attempt failed, or how it was interrupted.
        attempts: How often the handler began.
        since: When it was parked.
    """

    execution_id: str
    workflow_name: str
    step: str
    compensation: bool
    error: ErrorRecord | None
    attempts: int
    since: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was asked of a run, and heeded.

    Attributes:
        at: When.
        verb: What, such as ``cancel`` or ``skip``.
        by: Who, if they said so.
        reason: Why, if they said so.
        step: The step it was about, if it was about one.
        detail: What else was said, such as the result of a step that was skipped.
    """

    at: datetime
    verb: str
    by: str | None
    reason: str | None
    step: str | None
    detail: Mapping[str, Any]


def incident_of(execution_id: str, workflow: str, fact: Fact) -> Incident:
    """Return the incident that a parked fact is."""
    return Incident(
        execution_id=execution_id,
        workflow_name=workflow,
        step=replace(fact, key=fact.key.removeprefix(UNDO)).name,
        compensation=fact.kind is FactKind.UNDO,
        error=fact.error,
        attempts=fact.attempts,
        since=from_micros(fact.completed_at or fact.started_at),
    )


def entry_of(row: AuditRow) -> AuditEntry:
    """Return what a row of the audit trail says."""
    detail: Any = codec.decode(row.detail)
    return AuditEntry(from_micros(row.at), row.verb, row.actor, row.reason, row.step, detail)
