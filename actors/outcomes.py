"""What became of a call of user code, as the message that tells the run: text and codes, whatever was raised."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from ..dsl.errors import (
    EngineError,
    NonRetryable,
    NotSendable,
    NotStorable,
    RetryAfter,
    SchemaError,
    WorkerLost,
)
from ..dsl.facts import ErrorRecord
from ..dsl.messages import StepCompleted, StepFailed, StepInterrupted
from ..persistence.classes import home_of
from .attempt import Attempt
from .calling import InputMisfit

__all__ = ["completed", "error_record", "failed", "interrupted", "interruption", "lost", "not_begun"]

logger = logging.getLogger("perdure")


def completed(attempt: Attempt, result: Any, encode: Callable[[Any], str]) -> StepCompleted:
    """Check and encode what user code returned, where it ran: that is user code too.

    Raises:
        SchemaError: the result does not fit the step's output schema.
        NotStorable: it cannot be stored.
    """
    effect = attempt.effect
    if effect.check is not None:
        result = effect.check(result)
    policy = effect.policy
    if policy is not None and policy.output_schema is not None:
        try:
            result = policy.output_schema(result)
        except Exception as error:
            msg = f"the result of step {effect.place.name!r} does not fit its output_schema: {error}"
            raise SchemaError(msg) from error
    return StepCompleted(attempt.key, attempt.number, encode(result), turn=effect.place.turn)


def failed(attempt: Attempt, error: BaseException) -> StepFailed:
    """Turn what user code has raised into a message: whether it may be tried again, and when."""
    try:
        return _failed(attempt, error)
    except Exception as broken:  # noqa: BLE001 - an exception's class is user code again: what it raises is told instead
        place = attempt.effect.place
        record = error_record(broken, place.name)
        return StepFailed(attempt.key, attempt.number, record, retryable=False, turn=place.turn)


def _failed(attempt: Attempt, error: BaseException) -> StepFailed:
    policy = attempt.effect.policy
    retryable = (
        policy is not None
        and not isinstance(error, (NonRetryable, InputMisfit, NotStorable))
        and policy.retry.allows(error)
    )
    delay = RetryAfter(error.seconds).seconds if isinstance(error, RetryAfter) else None  # checked: a subclass may err
    place = attempt.effect.place
    return StepFailed(attempt.key, attempt.number, error_record(error, place.name), retryable, delay, turn=place.turn)


def lost(attempt: Attempt, error: NotSendable | WorkerLost) -> StepFailed:
    """Turn the loss of an attempt into a message; what must not be repeated after a crash is not tried again."""
    policy, place = attempt.effect.policy, attempt.effect.place
    assert policy is not None  # only handlers are sent
    gone = isinstance(error, WorkerLost)
    retryable = gone and policy.on_interrupted == "repeat" and policy.retry.allows(error)
    record = error_record(error, place.name)
    return StepFailed(attempt.key, attempt.number, record, retryable=retryable, turn=place.turn, lost=gone)


def not_begun(attempt: Attempt) -> StepInterrupted:
    """Say that user code was not called."""
    return interruption(attempt, began=False)


def interrupted(attempt: Attempt, error: BaseException) -> StepInterrupted:
    """Say that user code was cut short by what ends the process."""
    facts, step = attempt.facts, attempt.effect.place.name
    logger.warning(
        "%r in %r of %s: the attempt is left as interrupted",
        error,
        attempt.key,
        facts.execution_id,
        extra={
            "execution_id": facts.execution_id,
            "workflow": facts.workflow_name,
            "step": step,
            "attempt": attempt.number,
        },
    )
    return interruption(attempt)


def interruption(attempt: Attempt, *, began: bool = True) -> StepInterrupted:
    """Say that the attempt has no outcome: whether it had begun decides whether it counts."""
    return StepInterrupted(attempt.key, attempt.number, began=began, turn=attempt.effect.place.turn)


def error_record(error: BaseException, step: str | None = None) -> ErrorRecord:
    """Turn an exception into what is kept of it: text, whatever its ``str()`` does."""
    cls = type(error)
    home = "perdure" if _package(cls) == _package(EngineError) else home_of(cls)
    module = "" if home == "builtins" else f"{home}."
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - user code again
        message = f"<str() of the exception raised {type(broken).__name__}>"
    if isinstance(error, NotStorable):
        message = f"step {step!r}: {message}"
    try:
        text = "".join(traceback.format_exception(error, limit=-20))
    except Exception:  # noqa: BLE001 - and again
        text = ""
    return ErrorRecord(f"{module}{cls.__qualname__}", message, step, "" if _ours(error) else text)


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _ours(error: BaseException) -> bool:
    return isinstance(error, EngineError) and error.__cause__ is None and not isinstance(error, NonRetryable)
