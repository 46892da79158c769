"""What pages and assistants are told of runs, as plain JSON: short enough to look at, without what must not be seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from .dsl.events import WaitingFor
from .dsl.facts import ErrorRecord
from .execution import Execution
from .history import AttemptRecord

__all__ = ["Redact", "Shower", "moment"]

Redact = Callable[[str, str, Any], Any]
"""Given the id of a run, a name such as ``input``, ``result``, ``step:charge`` or ``signal:approval``, and the value:
returns what to show instead."""

_LONGEST_VALUE: Final = 20_000
_LONGEST_TEXT: Final = 4_000
_LONGEST_BRIEF: Final = 300
_FEW_ATTEMPTS: Final = 100
_LONGEST_OF_MANY: Final = 1_000
"""Of each result, where there are so many that all of them would not fit."""


class Shower:
    """Turns what the engine tells into JSON."""

    def __init__(self, redact: Redact | None) -> None:
        """Take what hides values, if anything does."""
        self._redact = redact

    def value(self, run: str, name: str, value: Any, longest: int = _LONGEST_VALUE) -> dict[str, Any]:
        """Return a value as text that was laid out, cut where it is too long."""
        if self._redact is not None:
            value = self._redact(run, name, value)
        text = json.dumps(_plain(value), indent=2, ensure_ascii=False)
        return {"text": text[:longest], "length": len(text), "cut": len(text) > longest}

    def brief(self, execution: Execution) -> dict[str, Any]:
        """Return what a list shows of a run."""
        return {
            "id": execution.id,
            "workflow": execution.workflow_name,
            "version": execution.version,
            "state": str(execution.state),
            "created_at": moment(execution.created_at),
            "finished_at": moment(execution.finished_at),
            "error": _error(execution.error, brief=True),
            "waiting_for": [_gate(gate) for gate in execution.waiting_for],
        }

    def whole(self, execution: Execution, history: list[AttemptRecord]) -> dict[str, Any]:
        """Return what the page of a run shows."""
        run = execution.id
        longest = _LONGEST_VALUE if len(history) <= _FEW_ATTEMPTS else _LONGEST_OF_MANY
        return {
            **self.brief(execution),
            "error": _error(execution.error, brief=False),
            "rollback": execution.rollback,
            "parent": execution.parent_id,
            "tags": self.value(run, "tags", dict(execution.tags)) if execution.tags else None,
            "input": self.value(run, "input", execution.input),
            "result": self.value(run, "result", execution.result) if execution.state == "completed" else None,
            "signals": {
                name: self.value(run, f"signal:{name}", payload) for name, payload in execution.signals.items()
            },
            "history": [self._attempt(run, attempt, longest) for attempt in history],
        }

    def _attempt(self, run: str, attempt: AttemptRecord, longest: int) -> dict[str, Any]:
        has_result = attempt.outcome == "completed"
        return {
            "step": attempt.step,
            "kind": attempt.kind,
            "attempt": attempt.attempt,
            "turn": list(attempt.turn),
            "outcome": attempt.outcome,
            "result": self.value(run, f"step:{attempt.step}", attempt.result, longest) if has_result else None,
            "error": _error(attempt.error, brief=False),
            "started_at": moment(attempt.started_at),
            "ended_at": moment(attempt.ended_at),
            "next_attempt_at": moment(attempt.next_attempt_at),
        }


def moment(at: datetime | None) -> str | None:
    """Return a point in time as browsers read it."""
    return None if at is None else at.isoformat()


def _gate(gate: WaitingFor) -> dict[str, Any]:
    return {
        "name": gate.name,
        "event": gate.event,
        "what": gate.what,
        "since": moment(gate.since),
        "deadline": moment(gate.deadline),
    }


def _error(error: ErrorRecord | None, *, brief: bool) -> dict[str, Any] | None:
    if error is None:
        return None
    message = error.message[: _LONGEST_BRIEF if brief else _LONGEST_TEXT]
    shown: dict[str, Any] = {"type": error.type, "message": message, "step": error.step}
    if not brief:
        shown["traceback"] = error.traceback[-_LONGEST_TEXT:]
        shown["causes"] = [_error(cause, brief=False) for cause in error.causes[:20]]
    return shown


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot is shown as Python writes it."""
    if isinstance(value, timedelta):
        return str(value)
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_foreign)
    except (TypeError, ValueError, NotImplementedError, RecursionError):
        return repr(value)


def _foreign(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    return repr(value)
