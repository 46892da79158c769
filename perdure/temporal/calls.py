"""Calls that a run makes: activities and sub-workflows, and what comes of them, as facts need it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, NamedTuple

import msgspec
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's own
    TimeoutType,
)

from ..dsl.definition import Definition
from ..dsl.effects import Invoke
from ..dsl.errors import EngineError, StepFailed, StepInterrupted, StepTimeout
from ..dsl.facts import ErrorRecord
from ..dsl.parcel import pack as parcel_of
from ..dsl.policies import AttemptPolicy, seconds
from .border import HANDLER, QUESTION, RUN, Answer, Begin, Failure, Snapshot, Task, pack, unpack
from .graph import Code

__all__ = ["Raised", "Returned", "ask", "invoke", "record_of", "run_child", "task_of"]

_NO_LIMIT: Final = timedelta(days=3650)
"""Temporal wants a limit for everything."""

_QUESTION_LIMIT: Final = timedelta(minutes=1)
_SHORTEST: Final = 0.001


class Returned(NamedTuple):
    """User code has returned a value, here encoded."""

    value: str
    attempt: int


class Raised(NamedTuple):
    """User code has failed for good."""

    error: ErrorRecord
    attempt: int


def task_of(begin: Begin, definition: Definition, execution_id: str, effect: Any, code: Any) -> Task:
    """Return a piece of user code as an activity gets it."""
    assert isinstance(code, Code)
    return Task(
        definition.name,
        definition.version,
        execution_id,
        begin.input,
        code.way,
        code.role,
        parcel_of(effect),
        timeout=effect.policy.timeout if isinstance(effect, Invoke) else None,
    )


async def invoke(task: Task, effect: Invoke, heartbeat: float) -> Returned | Raised | None:
    """Have a handler run under its policy; None if it was cancelled.

    Its worker keeps the time limit, to the millisecond; Temporal's own stands behind that, for workers that are gone.
    """
    policy = effect.policy
    try:
        answer: RawValue = await workflow.start_activity(
            HANDLER,
            pack(task),
            result_type=RawValue,
            start_to_close_timeout=_limit(policy, heartbeat),
            heartbeat_timeout=timedelta(seconds=heartbeat),
            retry_policy=_retry_policy(policy),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=effect.place.name,
        )
    except ActivityError as error:
        return _outcome(error.cause, effect.place.name, policy)
    except asyncio.CancelledError:
        return None
    return Returned(*_fields(unpack(answer, Answer)))


async def ask(task: Task, effect: Any) -> Returned | Raised | None:
    """Have a selector, condition, extractor or mapper asked once; None if it was cancelled."""
    try:
        answer: RawValue = await workflow.start_local_activity(
            QUESTION,
            pack(task),
            result_type=RawValue,
            start_to_close_timeout=_QUESTION_LIMIT,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary=effect.place.name,
        )
    except FailureError as error:  # a local activity's own, or what came of it
        policy = AttemptPolicy(timeout=_QUESTION_LIMIT.total_seconds())
        return _outcome(error.cause if isinstance(error, ActivityError) else error, effect.place.name, policy)
    except asyncio.CancelledError:
        return None
    return Returned(*_fields(unpack(answer, Answer)))


def _limit(policy: AttemptPolicy, heartbeat: float) -> timedelta:
    return _NO_LIMIT if policy.timeout is None else timedelta(seconds=policy.timeout + heartbeat)


def _fields(answer: Answer) -> tuple[str, int]:
    return answer.value, answer.attempt


def _retry_policy(policy: AttemptPolicy) -> RetryPolicy:
    """Return Temporal's own; after a handler that raised the worker itself says how long to wait."""
    retry = policy.retry
    initial = max(seconds(retry.initial, "initial"), _SHORTEST)
    unrepeated = []
    if policy.on_interrupted != "repeat":
        unrepeated.append("TemporalTimeout:Heartbeat")
    if not retry.allows(StepTimeout("", 0)):
        unrepeated.append("TemporalTimeout:StartToClose")
    return RetryPolicy(
        initial_interval=timedelta(seconds=initial),
        backoff_coefficient=max(1.0, retry.factor),
        maximum_interval=timedelta(seconds=max(initial, seconds(retry.maximum, "maximum"))),
        maximum_attempts=retry.attempts,
        non_retryable_error_types=unrepeated,
    )


def _outcome(cause: BaseException | None, step: str, policy: AttemptPolicy) -> Raised | None:
    match cause:
        case CancelledError():
            return None
        case ApplicationError(details=[str() as told, *_]):
            failure = msgspec.json.decode(told, type=Failure)
            return Raised(failure.error, failure.attempt)
        case TimeoutError(type=TimeoutType.START_TO_CLOSE):
            return Raised(record_of(StepTimeout(step, policy.timeout or 0), step), policy.retry.attempts)
        case TimeoutError():
            text = f"step {step!r} was interrupted: its worker gave no more sign of life"
            return Raised(record_of(StepInterrupted(text), step), policy.retry.attempts)
        case _:
            return Raised(record_of(cause or StepFailed("nothing is known of it"), step), 1)


async def run_child(begin: Begin, id: str) -> Snapshot | Raised:
    """Run another workflow and wait for its end; if this one is cancelled, so is that."""
    step = id.rpartition("/")[2]
    if begin.workflow not in begin.graphs:
        text = f"no workflow {begin.workflow!r} is registered"
        return Raised(ErrorRecord("perdure.UnknownWorkflow", text, step), 1)
    try:
        handle = await workflow.start_child_workflow(RUN, pack(begin), id=id, result_type=RawValue)
        return unpack(await handle, Snapshot)
    except ChildWorkflowError as error:
        return Raised(_child_error(error, begin.workflow, step), 1)
    except asyncio.CancelledError:
        return Raised(_child_failed(begin.workflow, "cancelled", None, step), 1)


def _child_error(error: ChildWorkflowError, name: str, step: str) -> ErrorRecord:
    match error.cause:
        case ApplicationError(details=[str() as told, *_]):
            row = msgspec.json.decode(told, type=Snapshot).execution
            return _child_failed(name, row.state, row.error, step)
        case CancelledError() | TerminatedError():
            return _child_failed(name, "cancelled", None, step)
        case cause:
            return _child_failed(name, "failed", record_of(cause or error, None), step)


def _child_failed(name: str, state: str, cause: ErrorRecord | None, step: str) -> ErrorRecord:
    why = f": {cause.message}" if cause is not None else ""
    text = f"sub-workflow {name!r} {state}{why}"
    return ErrorRecord("perdure.ChildFailed", text, step, causes=(cause,) if cause is not None else ())


def record_of(error: BaseException, step: str | None) -> ErrorRecord:
    """Return what is kept of an error that arose in a workflow, or came from Temporal."""
    home = "perdure" if isinstance(error, EngineError) else type(error).__module__
    prefix = "" if home == "builtins" else f"{home}."
    return ErrorRecord(f"{prefix}{type(error).__qualname__}", str(error), step)
