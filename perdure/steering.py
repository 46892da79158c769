"""What operators ask of runs, checked and sent, and what waits for them.

Every wish is one message to the run it concerns; what is legal when is decided there, by the table in `legality`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from . import arguments
from .actors.clock import from_micros
from .actors.starting import ToRun
from .dsl import messages as msg
from .dsl.errors import ExecutionNotFound, IllegalTransition, StepNotOpen, UsageError
from .dsl.facts import UNDO, ErrorRecord, Fact, FactKind
from .machine import Machine
from .persistence import codec
from .persistence.records import AuditRow
from .registry import Registry

__all__ = ["SAME", "AuditEntry", "How", "Incident", "Steering", "entry_of", "incident_of"]

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
        step=fact._replace(key=fact.key.removeprefix(UNDO)).name,
        compensation=fact.kind is FactKind.UNDO,
        error=fact.error,
        attempts=fact.attempts,
        since=from_micros(fact.completed_at or fact.started_at),
    )


class Steering:
    """The operator's side of one engine."""

    def __init__(self, machine: Machine, registry: Registry) -> None:
        self._machine = machine
        self._registry = registry

    def ask(self, id: str, message: Any, verb: str) -> Any:
        """Send a wish to a run; return the answer once all it causes at once is on disk."""
        self._machine.check_open(verb)
        arguments.check_text(id, "the id of a run")
        for name in ("by", "reason", "step"):
            value = getattr(message, name, None)
            if value is not None:
                arguments.check_text(value, name)
        return self._machine.ask(ToRun(id, message), verb)

    def settle(self, id: str, step: str, result: Any, reason: str | None, by: str | None, *, skip: bool) -> None:
        """Put a value in the place of a step's result."""
        verb = "skip" if skip else "complete_step"
        self._machine.check_open(verb)
        arguments.check_text(step, "step")
        value = arguments.encode(result, None, f"the result given for step {step!r}")
        self.ask(id, msg.Settle(step, skip, value, reason, by), verb)

    def resolve(
        self,
        what: str | Incident | Iterable[str | Incident],
        how: How,
        *,
        step: str | None,
        result: Any,
        reason: str | None,
        by: str | None,
    ) -> int:
        """End incidents in one way; return how many. Of several, those that have ended meanwhile are passed over."""
        self._machine.check_open("resolve")
        if how not in get_args(How):
            msg_ = f"an incident ends by one of {get_args(How)}, not {how!r}"
            raise UsageError(msg_)
        value = arguments.encode(result, None, "the result given for an incident")
        if isinstance(what, (str, Incident)):
            return self._resolve_one(what, msg.Resolve(how, step, value, reason, by))
        if not isinstance(what, Iterable):
            msg_ = f"resolve takes the id of a run, an incident, or several of them, not {what!r}"
            raise UsageError(msg_)
        ended = 0
        for one in list(what):
            try:
                ended += self._resolve_one(one, msg.Resolve(how, step, value, reason, by))
            except (IllegalTransition, StepNotOpen, ExecutionNotFound):
                continue
        return ended

    def _resolve_one(self, what: str | Incident, wish: msg.Resolve) -> int:
        if isinstance(what, Incident):
            named = msg.Resolve(wish.how, what.step, wish.value, wish.reason, wish.by)
            return self.ask(what.execution_id, named, "resolve") or 0
        return self.ask(what, wish, "resolve") or 0

    def fork(
        self,
        id: str,
        *,
        at: str | None,
        input: Any,
        steps: Mapping[str, Any] | None,
        new_id: str | None,
        reason: str | None,
        by: str | None,
    ) -> tuple[str, str]:
        """Make a new run of what another one has recorded; return its id and the name of its workflow."""
        self._machine.check_open("fork")
        arguments.check_text(id, "the id of a run")
        if at is not None:
            arguments.check_text(at, "at")
        if new_id is not None:
            arguments.check_id(new_id)
        if steps is not None and not isinstance(steps, Mapping):
            msg_ = f"steps must be a mapping of steps to results, got {steps!r}"
            raise UsageError(msg_)
        stored = self._machine.read("fork", lambda store: store.snapshot(id))
        if stored is None:
            raise ExecutionNotFound(id)
        row = stored.execution
        encoded = None
        if input is not SAME:
            definition = self._registry.definition(row.workflow, row.version)
            encoded = arguments.encode(input, definition.input_type, f"the input of workflow {row.workflow!r}")
        given = {
            arguments.check_text(name, "the name of a step"): arguments.encode(value, None, f"the result of {name!r}")
            for name, value in (steps or {}).items()
        }
        new_id = new_id or self._machine.supervisor.new_execution_id()
        self.ask(id, msg.Fork(new_id, at, encoded, given, reason, by), "fork")
        return new_id, row.workflow

    # ---- looking

    def incidents(self, workflow: str | None, limit: int) -> list[Incident]:
        """Return what waits for an operator, longest first."""
        self._machine.check_open("list incidents")
        if workflow is not None:
            arguments.check_text(workflow, "workflow")
        arguments.check_page(limit, 0)
        found = self._machine.read("list incidents", lambda store: store.incidents(workflow=workflow, limit=limit))
        return [incident_of(*row) for row in found]

    def audit(self, id: str) -> list[AuditEntry]:
        """Return what was asked of a run, oldest first."""
        self._machine.check_open("read the audit trail")
        arguments.check_text(id, "the id of a run")
        rows = self._machine.read("read the audit trail", lambda store: store.audit(id))
        if not rows and self._machine.read("read the audit trail", lambda store: store.snapshot(id)) is None:
            raise ExecutionNotFound(id)
        return list(map(entry_of, rows))


def entry_of(row: AuditRow) -> AuditEntry:
    """Return what a row of the audit trail says."""
    detail: Any = codec.decode(row.detail)
    return AuditEntry(from_micros(row.at), row.verb, row.actor, row.reason, row.step, detail)
