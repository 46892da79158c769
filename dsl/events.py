"""Everything worth knowing about a run, as typed events.

Each is sent once, after the fact it tells of is on disk, in order within its run, on the bus's thread. Every event has
the fields of `Event` and its own. The docs' tables are compared with these classes by a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple

from .facts import ErrorRecord

__all__ = [
    "EVENT_TYPES",
    "CompensationCompleted",
    "CompensationFailed",
    "CompensationParked",
    "CompensationStarted",
    "Event",
    "EventName",
    "ListenerError",
    "SignalReceived",
    "SignalReminder",
    "SignalTimedOut",
    "StepCancelled",
    "StepCompleted",
    "StepFailed",
    "StepLate",
    "StepParked",
    "StepProgress",
    "StepRetry",
    "StepSkipped",
    "StepStarted",
    "StepThrottled",
    "StepTimedOut",
    "TimerFired",
    "WaitingFor",
    "WorkflowAdmitted",
    "WorkflowCancelled",
    "WorkflowCompensating",
    "WorkflowCompleted",
    "WorkflowFailed",
    "WorkflowForked",
    "WorkflowPaused",
    "WorkflowQuarantined",
    "WorkflowQueued",
    "WorkflowResumed",
    "WorkflowRetried",
    "WorkflowStarted",
    "WorkflowWaiting",
]


class WaitingFor(NamedTuple):
    """One thing a run waits for.

    Attributes:
        name: Name of the node.
        event: Name of the signal, or None for a sleep.
        since: When the wait began.
        deadline: When it ends by itself, or None.
        needed: How many signals of this event open the gate.
        received: How many have come that no gate has taken; told where a gate wants more than one signal.
        limit: Name of the limit that the run, or an attempt of the step, waits for.
        key: Whose run or attempt it is, where the limit has keys.
    """

    name: str
    event: str | None
    since: datetime
    deadline: datetime | None
    needed: int = 1
    received: int = 0
    limit: str | None = None
    key: str | None = None

    @property
    def what(self) -> str:
        """What it is, in a few words: the signal, the slot or token of a limit, or the node."""
        if self.limit is None:
            return self.event or self.name
        whose = "" if self.key is None else f" for {self.key!r}"
        return f"a {'slot' if self.name == '__slot' else 'token'} of {self.limit!r}{whose}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Event:
    """What every event carries.

    Attributes:
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        at: When it happened, UTC.
        sequence: 1, 2, 3 … within the run.
    """

    type: ClassVar[str] = ""

    execution_id: str
    workflow_name: str
    at: datetime
    sequence: int

    # Said once for all events: to have each class given its own takes half of what it takes to import this file.

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        said = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
        return f"{type(self).__qualname__}({', '.join(said)})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self) if field.compare)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowStarted(Event):
    """The run exists and begins."""

    type: ClassVar[str] = "workflow:started"
    input: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowWaiting(Event):
    """Nothing is left to do until a signal comes or time has passed."""

    type: ClassVar[str] = "workflow:waiting"
    waiting_for: Sequence[WaitingFor] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowQueued(Event):
    """There is no slot for the run: it waits in line."""

    type: ClassVar[str] = "workflow:queued"
    limit: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowAdmitted(Event):
    """The run has a slot of its workflow's limit, after so many seconds in line, and goes on."""

    type: ClassVar[str] = "workflow:admitted"
    limit: str
    key: str = ""
    waited: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowPaused(Event):
    """An operator has paused the run: nothing more begins until it is resumed."""

    type: ClassVar[str] = "workflow:paused"
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowResumed(Event):
    """A waiting or paused run goes on, or a quarantined one was given another chance."""

    type: ClassVar[str] = "workflow:resumed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowRetried(Event):
    """An operator has a run that had ended try again what had failed."""

    type: ClassVar[str] = "workflow:retried"
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowForked(Event):
    """The run begins with what another run had recorded; comes after ``workflow:started``."""

    type: ClassVar[str] = "workflow:forked"
    source: str
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowCompensating(Event):
    """The run has failed or was cancelled, and what it completed is being undone."""

    type: ClassVar[str] = "workflow:compensating"
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowCompleted(Event):
    """The run has ended well."""

    type: ClassVar[str] = "workflow:completed"
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowFailed(Event):
    """The run has failed, and whatever it owed was undone as far as possible."""

    type: ClassVar[str] = "workflow:failed"
    error: ErrorRecord | None = None
    rollback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowCancelled(Event):
    """The run was cancelled, or undone because its parent failed."""

    type: ClassVar[str] = "workflow:cancelled"
    rollback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WorkflowQuarantined(Event):
    """The run was set aside: it cannot go on until a person has looked at it."""

    type: ClassVar[str] = "workflow:quarantined"
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepStarted(Event):
    """An attempt begins. ``attempt`` and ``max_attempts`` are None for a map or a sub-workflow."""

    type: ClassVar[str] = "step:started"
    step: str
    attempt: int | None = None
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepCompleted(Event):
    """A result is recorded."""

    type: ClassVar[str] = "step:completed"
    step: str
    attempt: int | None = None
    max_attempts: int | None = None
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepFailed(Event):
    """The last attempt has failed."""

    type: ClassVar[str] = "step:failed"
    step: str
    attempt: int | None = None
    max_attempts: int | None = None
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepProgress(Event):
    """A running handler has told how far it has come; of several in a quarter of a second, the last."""

    type: ClassVar[str] = "step:progress"
    step: str
    attempt: int
    done: float
    total: float | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepParked(Event):
    """The step has failed for good, or was interrupted, and waits for an operator: an incident."""

    type: ClassVar[str] = "step:parked"
    step: str
    attempt: int
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepSkipped(Event):
    """An operator has put a value in the place of the step's result; it owes no compensation."""

    type: ClassVar[str] = "step:skipped"
    step: str
    result: Any = None
    reason: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepRetry(Event):
    """An attempt has failed and another will follow."""

    type: ClassVar[str] = "step:retry"
    step: str
    attempt: int
    max_attempts: int
    error: ErrorRecord | None = None
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepThrottled(Event):
    """An attempt waits until it may begin by the step's rate."""

    type: ClassVar[str] = "step:throttled"
    step: str
    limit: str
    key: str = ""
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepTimedOut(Event):
    """An attempt did not finish in time; ``step:retry`` or ``step:failed`` follows."""

    type: ClassVar[str] = "step:timeout"
    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepCancelled(Event):
    """A step was stopped, or never tried again, because its group was decided without it."""

    type: ClassVar[str] = "step:cancelled"
    step: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepLate(Event):
    """A handler returned after its attempt had timed out or its run had moved on; what it returned is thrown away."""

    type: ClassVar[str] = "step:late"
    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SignalReceived(Event):
    """A signal is stored."""

    type: ClassVar[str] = "signal:received"
    event: str
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SignalReminder(Event):
    """A gate still waits, and the time of its next reminder has come."""

    type: ClassVar[str] = "signal:reminder"
    event: str
    number: int
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SignalTimedOut(Event):
    """No signal came before the gate's deadline."""

    type: ClassVar[str] = "signal:timeout"
    event: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CompensationStarted(Event):
    """A completed step is being undone."""

    type: ClassVar[str] = "compensation:started"
    step: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CompensationCompleted(Event):
    """A step is undone."""

    type: ClassVar[str] = "compensation:completed"
    step: str
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CompensationFailed(Event):
    """A step could not be undone; the others still are."""

    type: ClassVar[str] = "compensation:failed"
    step: str
    attempt: int | None = None
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CompensationParked(Event):
    """A compensation has failed for good and waits for an operator: an incident; the rollback goes on after it."""

    type: ClassVar[str] = "compensation:parked"
    step: str
    attempt: int
    error: ErrorRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class TimerFired(Event):
    """A durable sleep is over."""

    type: ClassVar[str] = "timer:fired"
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ListenerError(Event):
    """A listener raised; the run and the other listeners go on."""

    type: ClassVar[str] = "listener:error"
    listener: str
    event: Event
    error: BaseException = field(repr=False)


EVENT_TYPES: dict[str, type[Event]] = {
    cls.type: cls
    for cls in (
        WorkflowStarted,
        WorkflowWaiting,
        WorkflowQueued,
        WorkflowAdmitted,
        WorkflowPaused,
        WorkflowResumed,
        WorkflowRetried,
        WorkflowForked,
        WorkflowCompensating,
        WorkflowCompleted,
        WorkflowFailed,
        WorkflowCancelled,
        WorkflowQuarantined,
        StepStarted,
        StepCompleted,
        StepFailed,
        StepProgress,
        StepRetry,
        StepThrottled,
        StepParked,
        StepSkipped,
        StepTimedOut,
        StepCancelled,
        StepLate,
        SignalReceived,
        SignalReminder,
        SignalTimedOut,
        CompensationStarted,
        CompensationCompleted,
        CompensationFailed,
        CompensationParked,
        TimerFired,
        ListenerError,
    )
}
"""Every event class by its type string."""

EventName = Literal[
    "workflow:started",
    "workflow:waiting",
    "workflow:queued",
    "workflow:admitted",
    "workflow:paused",
    "workflow:resumed",
    "workflow:retried",
    "workflow:forked",
    "workflow:compensating",
    "workflow:completed",
    "workflow:failed",
    "workflow:cancelled",
    "workflow:quarantined",
    "step:started",
    "step:completed",
    "step:failed",
    "step:progress",
    "step:retry",
    "step:throttled",
    "step:parked",
    "step:skipped",
    "step:timeout",
    "step:cancelled",
    "step:late",
    "signal:received",
    "signal:reminder",
    "signal:timeout",
    "compensation:started",
    "compensation:completed",
    "compensation:failed",
    "compensation:parked",
    "timer:fired",
    "listener:error",
]
"""The type strings, for type checkers; a test compares it with the classes."""
