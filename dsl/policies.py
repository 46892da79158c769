"""How a handler is tried: attempts, delays, time limits, and what a crash in the middle means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import DefinitionError

if TYPE_CHECKING:
    from .limits import Bucket

__all__ = [
    "AttemptPolicy",
    "Compensation",
    "Duration",
    "OnExhausted",
    "OnInterrupted",
    "Retry",
    "check_choice",
    "check_count",
    "retry_policy",
    "seconds",
]

OnInterrupted = Literal["repeat", "fail", "park"]
OnExhausted = Literal["fail", "park"]
Duration = float | timedelta
_YEAR = 366 * 24 * 3600
_LONGEST = 1000 * _YEAR


def seconds(duration: Duration, what: str, *, positive: bool = False) -> float:
    """Turn a duration given by the user into seconds.

    Raises:
        DefinitionError: it is no duration, negative, not finite, a number beyond a year, or beyond 1000 years.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        value = float(duration)
        if value > _YEAR:
            msg = f"{what}: {duration!r} seconds is more than a year; were milliseconds meant? Use a timedelta if not"
            raise DefinitionError(msg)
    else:
        msg = f"{what}: expected seconds or a timedelta, got {duration!r}"
        raise DefinitionError(msg)
    if value > _LONGEST:
        msg = f"{what}: {duration!r} is more than 1000 years; leave it out if there is to be no end"
        raise DefinitionError(msg)
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        msg = f"{what}: {duration!r} must be {'more than zero' if positive else 'zero or more'} and finite"
        raise DefinitionError(msg)
    return value


def check_choice(value: Any, choices: Any, what: str) -> Any:
    """Return the value if it is one of those that a ``Literal`` allows."""
    if value not in get_args(choices):
        msg = f"{what} must be one of {', '.join(map(repr, get_args(choices)))}, got {value!r}"
        raise DefinitionError(msg)
    return value


def check_count(value: Any, what: str, *, least: int = 1) -> int:
    """Return a number of things if it is one.

    Raises:
        DefinitionError: it is no whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{what} must be a whole number of at least {least}, got {value!r}"
        raise DefinitionError(msg)
    return value


def _classes(value: Any, what: str) -> tuple[type[BaseException], ...]:
    classes = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in classes):
        msg = f"{what}: expected an exception class or a tuple of them, got {value!r}"
        raise DefinitionError(msg)
    return classes


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a failed handler is tried again.

    The delay before attempt k+1 is ``min(initial * factor**(k-1) + jitter, maximum)``; the jitter is drawn evenly from
    nothing up to ``jitter`` times the first term, so that runs that failed together do not come back together.

    Attributes:
        attempts: How often the handler may fail before the step does; at least 1.
        initial: Seconds or `timedelta` before the second attempt.
        factor: What each further delay is multiplied by.
        maximum: Longest delay.
        jitter: Random part, as a share of the delay.
        on: Only these exceptions are tried again; all of them when left out.
        never_on: These fail the step at once.

    Example:
        >>> Retry(attempts=5, initial=1).delay(failures=3, chance=0.0)
        4.0
    """

    attempts: int = 3
    initial: Duration = 0.5
    factor: float = 2.0
    maximum: Duration = 30.0
    jitter: float = 0.5
    on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    never_on: type[BaseException] | tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        """Check every field at the moment of definition."""
        check_count(self.attempts, "retry: attempts")
        seconds(self.initial, "retry: initial")
        seconds(self.maximum, "retry: maximum")
        for name in ("factor", "jitter"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                msg = f"retry: {name} must be a number of zero or more, got {value!r}"
                raise DefinitionError(msg)
        if self.on is not None:
            _classes(self.on, "retry: on")
        _classes(self.never_on, "retry: never_on")

    def allows(self, error: BaseException) -> bool:
        """Tell whether this exception may be tried again at all."""
        if isinstance(error, _classes(self.never_on, "retry: never_on")):
            return False
        return self.on is None or isinstance(error, _classes(self.on, "retry: on"))

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after so many failures; ``chance`` in [0, 1) draws the jitter."""
        initial, maximum = seconds(self.initial, "retry: initial"), seconds(self.maximum, "retry: maximum")
        try:
            base = initial * self.factor ** (failures - 1)
        except OverflowError:
            return maximum if initial else 0.0
        return min(base + base * self.jitter * chance, maximum)


def retry_policy(value: int | Retry | None, what: str) -> Retry:
    """Turn what ``retry=`` was given into a policy."""
    if value is None:
        return Retry()
    if isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{what}: retry must be a whole number of at least 1 (the number of attempts) or a Retry, got {value!r}"
        raise DefinitionError(msg)
    return Retry(attempts=value)


@dataclass(frozen=True, slots=True)
class Compensation:
    """An undo handler with a policy of its own.

    Attributes:
        handler: ``def`` or ``async def``, taking the context or nothing.
        retry: Number of attempts or a `Retry`; the step's own when left out.
        timeout: Seconds or `timedelta` per attempt; the step's own when left out, 0 for no bound.
        on_exhausted: After the last attempt: ``"fail"``, so that the others still run and the rollback is partial, or
            ``"park"``: an operator has to resolve it before the rollback goes on.
        executor: Name of the executor that runs the handler, as for a step; left out, it runs in this process.
    """

    handler: Callable[..., Any]
    retry: int | Retry | None = None
    timeout: Duration | None = None
    on_exhausted: OnExhausted = "fail"
    executor: str | None = None

    def __post_init__(self) -> None:
        """Check every field at the moment of definition; what the handler takes is checked by its step."""
        if not callable(self.handler):
            msg = f"compensation: expected a function, got {self.handler!r}"
            raise DefinitionError(msg)
        retry_policy(self.retry, "compensation")
        if self.timeout is not None:
            seconds(self.timeout, "compensation: timeout")
        check_choice(self.on_exhausted, OnExhausted, "compensation: on_exhausted")


@dataclass(frozen=True, slots=True)
class AttemptPolicy:
    """Everything about how one handler is tried, checked and ready to use.

    Attributes:
        retry: Attempts and delays.
        timeout: Seconds per attempt, or None for no bound.
        input_schema: Checks, and may change, the context's input.
        output_schema: Checks, and may change, the result.
        returns: Types that its results may be of: its annotation, and its output schema if that is a type.
        on_interrupted: What a crash in the middle of an attempt means.
        transactional: Whether what the handler writes to the database and its result are one commit.
        on_exhausted: What becomes of it when it has failed for good; None is for the workflow to say.
        executor: Name of the executor that runs it, or None for a thread or the event loop of this process.
        rate: The tokens that its attempts take, if any.
    """

    retry: Retry = Retry()
    timeout: float | None = None
    input_schema: Callable[[Any], Any] | None = None
    output_schema: Callable[[Any], Any] | None = None
    returns: tuple[Any, ...] = ()
    on_interrupted: OnInterrupted = "repeat"
    transactional: bool = False
    on_exhausted: OnExhausted | None = None
    executor: str | None = None
    rate: Bucket | None = None

    @property
    def parks(self) -> bool:
        """Whether a handler that has failed for good waits for an operator."""
        return self.on_exhausted == "park"
