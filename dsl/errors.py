"""Every error of the engine, in one tree whose first level says whose fault it is.

::

    EngineError
    ├── DefinitionError            the author of the workflow
    │   ├── UnknownExecutor, NotSendable
    ├── UsageError                 the caller
    │   ├── ExecutionNotFound, ExecutionFinished, DuplicateExecution
    │   ├── UnknownWorkflow, UnknownSignal, InvalidPayload, IllegalTransition, StepNotOpen
    │   ├── UnknownSchedule, DuplicateSchedule
    │   ├── EngineBusy, EngineClosed, EngineForked, WaitTimeout, WouldDeadlock, MissingExtra, OutOfReach
    ├── RunError                   the run: what ``run.result()`` raises
    │   ├── WorkflowFailed, WorkflowCancelled, WorkflowQuarantined
    ├── StepError                  the handler
    │   ├── StepFailed, StepTimeout, StepInterrupted, SchemaError, NotStorable, MaxIterationsExceeded
    │   ├── ParallelFailed, SignalTimeout, ChildFailed, UnknownPath, NotIterable, NonRetryable, RetryAfter
    │   ├── WorkflowTimeout, NotEnoughItems, WorkerLost
    ├── StoreError                 the disk
    │   ├── StoreUnavailable, StoreCorrupt, StoreMoved, SchemaTooNew, SchemaTooOld, OwnershipLost, DuplicateRow
    └── InternalError              us: please report

A message says what happened, to which execution and step, and what to do next. This file must never import anything of
ours but the record types.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import timedelta

from .facts import ITEMS, ErrorRecord

__all__ = [
    "ChildFailed",
    "DefinitionError",
    "DuplicateExecution",
    "DuplicateRow",
    "DuplicateSchedule",
    "EngineBusy",
    "EngineClosed",
    "EngineError",
    "EngineForked",
    "ExecutionFinished",
    "ExecutionNotFound",
    "IllegalTransition",
    "InternalError",
    "InvalidPayload",
    "MaxIterationsExceeded",
    "MissingExtra",
    "NonRetryable",
    "NotEnoughItems",
    "NotIterable",
    "NotSendable",
    "NotStorable",
    "OutOfReach",
    "OwnershipLost",
    "ParallelFailed",
    "RetryAfter",
    "RunError",
    "SchemaError",
    "SchemaTooNew",
    "SchemaTooOld",
    "SignalTimeout",
    "StepError",
    "StepFailed",
    "StepInterrupted",
    "StepNotOpen",
    "StepTimeout",
    "StoreCorrupt",
    "StoreError",
    "StoreMoved",
    "StoreUnavailable",
    "UnknownExecutor",
    "UnknownPath",
    "UnknownSchedule",
    "UnknownSignal",
    "UnknownWorkflow",
    "UsageError",
    "WaitTimeout",
    "WorkerLost",
    "WorkflowCancelled",
    "WorkflowFailed",
    "WorkflowQuarantined",
    "WorkflowTimeout",
    "WouldDeadlock",
    "did_you_mean",
]

_YEAR = 366 * 24 * 3600


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt name: the nearest known one, else all of them, else nothing."""
    names = sorted(map(str, known))
    if near := difflib.get_close_matches(wrong, names, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(map(repr, names))}" if names else ""


class EngineError(Exception):
    """Root of everything the engine raises on purpose."""


class DefinitionError(EngineError):
    """A workflow's definition is wrong; raised while it is built or registered."""


class UnknownExecutor(DefinitionError):
    """A step names an executor that the engine does not have."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"{what}: this engine has no executor {name!r}{did_you_mean(name, known)}"
            f" (Engine(executors={{{name!r}: ...}}) gives it one)"
        )


class NotSendable(DefinitionError):
    """A handler, schema or type cannot be sent to another process."""

    def __init__(self, what: str, executor: str, why: str) -> None:
        super().__init__(
            f"{what} cannot be sent to executor {executor!r}: {why}; define it at the top level of a module that can be"
            " imported there"
        )


class UsageError(EngineError):
    """The caller asked for something that cannot be done."""


class ExecutionNotFound(UsageError):
    """No execution has this id.

    Attributes:
        execution_id: The id that was asked for.
    """

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"no execution {execution_id!r}: it was never started here, or was cleaned up or archived")
        self.execution_id = execution_id


class ExecutionFinished(UsageError):
    """The execution has ended, or is being undone, and takes no more messages of this sort.

    Attributes:
        execution_id: The execution.
        state: The state it is in.
    """

    def __init__(self, execution_id: str, state: str, verb: str) -> None:
        super().__init__(f"execution {execution_id!r} is {state} and cannot {verb}; start a new one")
        self.execution_id = execution_id
        self.state = state


class DuplicateExecution(UsageError):
    """Another execution already has this id.

    Attributes:
        execution_id: The id of the execution that exists.
    """

    def __init__(self, execution_id: str, why: str) -> None:
        super().__init__(f"execution {execution_id!r} exists already {why}")
        self.execution_id = execution_id


class IllegalTransition(UsageError):
    """The verb is not legal where the execution stands.

    Attributes:
        execution_id: The execution.
        state: Where it stands, as the table in the documentation calls it.
    """

    def __init__(self, execution_id: str, state: str, verb: str, legal: Iterable[str]) -> None:
        super().__init__(f"cannot {verb} execution {execution_id!r}: it is {state}; legal in: {', '.join(legal)}")
        self.execution_id = execution_id
        self.state = state


class StepNotOpen(UsageError):
    """The execution does not stand at the step that was named, or has no incident there.

    Attributes:
        execution_id: The execution.
        step: The step that was named, or None.
        open: Where the execution stands.
    """

    def __init__(self, execution_id: str, step: str | None, verb: str, open_steps: Iterable[str]) -> None:
        self.open = tuple(open_steps)
        where = f"it stands at {', '.join(map(repr, self.open))}" if self.open else "it stands at no step"
        what = verb if step is None else f"{verb} step {step!r}"
        super().__init__(f"cannot {what} of execution {execution_id!r}: {where}")
        self.execution_id = execution_id
        self.step = step


class UnknownWorkflow(UsageError):
    """No workflow of this name is registered with the engine."""

    def __init__(
        self, name: str, known: Iterable[str], *, version: str | None = None, parent: str | None = None
    ) -> None:
        known = set(known)
        if name in known:
            which = "definition without a version" if version is None else f"version {version!r}"
            what = f"no {which} of workflow {name!r} is registered; register it, or name another version"
        else:
            needed = "" if parent is None else f"workflow {parent!r} needs a sub-workflow that is missing: "
            what = f"{needed}no workflow {name!r} is registered{did_you_mean(name, known)}"
            what += "; engine.register(...) makes one known"
        super().__init__(what)


class UnknownSignal(UsageError):
    """No gate of the definition waits for this event."""

    def __init__(self, workflow: str, event: str, known: Iterable[str]) -> None:
        hint = did_you_mean(event, known) or "; it has no gates"
        super().__init__(f"workflow {workflow!r} never waits for {event!r}{hint} (strict=False stores it all the same)")


class InvalidPayload(UsageError):
    """A signal's payload or a run's input does not fit the declared type, or cannot be stored."""


class UnknownSchedule(UsageError):
    """No schedule has this name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no schedule {name!r}{did_you_mean(name, known)}")


class DuplicateSchedule(UsageError):
    """Another schedule already has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a schedule {name!r} already, and it says otherwise; replace=True puts this one in its place"
        )


class EngineBusy(UsageError):
    """Runs are started faster than they end, and too many have yet to begin: nothing was started.

    Attributes:
        behind: How many wait for room.
    """

    def __init__(self, behind: int, most: int) -> None:
        self.behind = behind
        super().__init__(
            f"cannot start: {behind} runs wait for room to begin, and this engine allows for {most}; start again "
            "later, or give the engine a larger max_backlog or start_timeout"
        )


class EngineClosed(UsageError):
    """The engine, or client, is closed, or closing."""

    def __init__(self, verb: str, what: str = "engine") -> None:
        super().__init__(f"cannot {verb}: this {what} is closed; open a new {what.title()} on the same database")


class EngineForked(UsageError):
    """The engine, or client, was carried into a forked child process, where its threads do not exist."""

    def __init__(self, verb: str, what: str = "engine") -> None:
        super().__init__(
            f"cannot {verb}: this {what} belongs to the parent process; create the {what.title()} after the fork, in"
            " each worker"
        )


class WaitTimeout(UsageError, TimeoutError):
    """The caller's patience ran out; the run itself goes on unharmed."""


class WouldDeadlock(UsageError):
    """A handler, a listener, or a test in frozen time, asked to wait for what cannot happen before it returns."""


class MissingExtra(UsageError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an extra: pip install "perdure[{extra}]"')


class OutOfReach(UsageError):
    """A handler asked its context for something that does not reach where it runs."""

    def __init__(self, what: str, step: str, where: str) -> None:
        super().__init__(
            f"{what} does not reach {where}, where {step!r} runs: keep to what was recorded before it began"
        )


class RunError(EngineError):
    """The run did not complete; what ``run.result()`` raises.

    Attributes:
        execution_id: The execution.
        workflow: Name of its workflow.
        error: What went wrong, as recorded.
        step: Name of the node that failed, when one did.
        rollback: ``complete``, ``partial`` or ``none``.
    """

    def __init__(
        self, execution_id: str, workflow: str, *, error: ErrorRecord | None = None, rollback: str | None = None
    ) -> None:
        self.execution_id = execution_id
        self.workflow = workflow
        self.error = error
        self.step = error.step if error else None
        self.rollback = rollback
        super().__init__(self._describe())

    def _describe(self) -> str:
        step = self.step or ""
        items = step.removeprefix(ITEMS)
        where = f" in the items of {items!r}" if items != step else f" in step {step!r}" if step else ""
        why = f": {self.error}" if self.error else ""
        return f"workflow {self.workflow!r} ({self.execution_id}) {self._verb}{where}{why}"

    _verb = "did not complete"


class WorkflowFailed(RunError):
    """The run failed; ``step`` names where and ``error`` says why."""

    _verb = "failed"


class WorkflowCancelled(RunError):
    """The run was cancelled."""

    _verb = "was cancelled"


class WorkflowQuarantined(RunError):
    """The run was set aside: it cannot go on until a person has looked at it."""

    _verb = "is quarantined"


class StepError(EngineError):
    """Something went wrong inside a step, or in other code of the user's that the engine runs."""


class StepFailed(StepError):
    """A handler raised and has no attempts left."""


class StepTimeout(StepError):
    """An attempt did not finish in time."""

    def __init__(self, step: str, seconds: float) -> None:
        super().__init__(f"step {step!r} timed out after {seconds:g} s")


class StepInterrupted(StepError):
    """A crash or shutdown cut the attempt short, and the step must not be repeated."""


class SchemaError(StepError):
    """A value did not fit the step's schema."""


class NotStorable(StepError):
    """A value cannot be stored so that exactly the same value comes back.

    Attributes:
        path: Where inside the value, such as ``$.lines[2].price``.
        type_name: Qualified name of the offending type.
    """

    def __init__(self, path: str, type_name: str, why: str = "is not a storable type") -> None:
        super().__init__(f"cannot store the value at {path}: {type_name} {why}")
        self.path = path
        self.type_name = type_name


class MaxIterationsExceeded(StepError):
    """A loop turned more often, or a list was longer, than allowed."""


class ParallelFailed(StepError):
    """One or more strands of a parallel group failed; the causes are in the error record."""


class SignalTimeout(StepError):
    """No signal came before the gate's deadline."""

    def __init__(self, event: str, timeout: float) -> None:
        super().__init__(f"signal {event!r} timed out after {timedelta(seconds=timeout).total_seconds():g} s")


class WorkflowTimeout(StepError):
    """The run as a whole did not end before its deadline."""

    def __init__(self, workflow: str, timeout: float) -> None:
        super().__init__(f"workflow {workflow!r} timed out: it did not end within {timeout:g} s")


class ChildFailed(StepError):
    """A sub-workflow did not complete, or was undone only in part; its own failures are the causes."""


class UnknownPath(StepError):
    """A branch's selector named a path that does not exist, and there is no ``otherwise``."""


class NotIterable(StepError):
    """A ``for_each`` extractor returned something other than a list or a tuple."""


class NotEnoughItems(StepError):
    """A ``for_each`` was given fewer items than would have to succeed."""


class WorkerLost(StepError):
    """The executor that ran an attempt has lost it: its worker died, or it takes no more work."""

    def __init__(self, step: str, executor: str, why: str) -> None:
        super().__init__(f"executor {executor!r} has lost step {step!r}: {why}")


class NonRetryable(StepError):
    """Raise this from a handler to fail at once, with no further attempt."""


class RetryAfter(StepError):
    """Raise this from a handler to fail the attempt and choose the delay before the next one.

    Attributes:
        seconds: The delay in seconds.

    Raises:
        UsageError: the delay is no number of seconds or `timedelta`, negative, or a number beyond a year.
    """

    def __init__(self, delay: float | timedelta, message: str = "") -> None:
        seconds, most = (delay.total_seconds(), 1000 * _YEAR) if isinstance(delay, timedelta) else (delay, _YEAR)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= most:
            msg = f"retry after {delay!r}: expected seconds, up to a year (no milliseconds), or a timedelta"
            raise UsageError(msg)
        self.seconds = float(seconds)
        super().__init__(message or f"retry after {self.seconds:g} s")


class StoreError(EngineError):
    """The database could not do what was asked; whether it did is said in the message."""


class StoreUnavailable(StoreError):
    """The database is locked, full, read-only or gone: nothing was written; trying again later may work."""


class StoreCorrupt(StoreError):
    """The file is not a sound database of ours."""


class StoreMoved(StoreError):
    """What is in the database was moved to another one, or is on its way: nothing was written; looking still works."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of perdure."""


class SchemaTooOld(StoreError):
    """The database is only to be looked at, and no engine of this version of perdure has opened it yet."""


class OwnershipLost(StoreError):
    """Another engine has taken this engine's runs over; nothing was written."""


class DuplicateRow(StoreError):
    """An id or key exists already, or another engine was first to change a schedule; nothing was written."""


class InternalError(EngineError):
    """A fault of the engine itself: please report it with the traceback."""
