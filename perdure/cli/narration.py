"""What the demo says of an event: its type and the rest of the line."""

from __future__ import annotations

from datetime import timedelta

from ..dsl.events import (
    CompensationCompleted,
    Event,
    SignalReceived,
    StepCompleted,
    StepFailed,
    StepRetry,
    StepStarted,
    WaitingFor,
    WorkflowCompensating,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    WorkflowWaiting,
)

__all__ = ["narrate"]

_WIDTH = 24


def narrate(event: Event) -> str | None:
    """Return the line for an event, or None for one that the next line implies."""
    told = _told_of_the_run(event) or _told_of_a_step(event)
    return None if told is None else f"{event.type:<{_WIDTH}}{told}"


def _told_of_the_run(event: Event) -> str | None:
    match event:
        case WorkflowStarted() | WorkflowCompleted():
            return event.execution_id
        case WorkflowWaiting(waiting_for=gates):
            return ", ".join(f"for {gate.what}{_at_most(gate)}" for gate in gates)
        case SignalReceived():
            return f"{event.event}: {event.payload}"
        case WorkflowCompensating(error=error):
            return f"{event.execution_id}, because of {error.step if error else 'a cancellation'}"
        case WorkflowFailed(rollback=rollback):
            return f"{event.execution_id}, rollback {rollback}"
        case _:
            return None


def _told_of_a_step(event: Event) -> str | None:
    match event:
        # The first start of a step says no more than its end will.
        case StepStarted(attempt=int(attempt)) if attempt > 1:
            return f"{event.step}, attempt {attempt}"
        case StepCompleted():
            return f"{event.step} -> {event.result}"
        case StepRetry(error=error, next_attempt_at=again):
            delay = "" if again is None else f"; again in {(again - event.at).total_seconds():.1f} s"
            return f"{event.step}, attempt {event.attempt} of {event.max_attempts}: {error}{delay}"
        case StepFailed(error=error):
            return f"{event.step}: {error}"
        case CompensationCompleted():
            return f"{event.step} is undone"
        case _:
            return None


def _at_most(gate: WaitingFor) -> str:
    return "" if gate.deadline is None else f", {(gate.deadline - gate.since) / timedelta(hours=1):g} hours at most"
