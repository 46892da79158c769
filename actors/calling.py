"""How user code is called: with what, and what sort of function it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import NoneType
from typing import Any

from ..dsl.context import Context
from ..dsl.errors import SchemaError
from ..dsl.messages import StepCompleted, StepFailed, StepInterrupted
from .attempt import Attempt

__all__ = ["InputMisfit", "arguments_of", "function_of", "is_async", "is_awaitable"]

_NEVER_AWAITED = frozenset(
    {NoneType, bool, int, float, str, bytes, list, tuple, dict, set, StepCompleted, StepFailed, StepInterrupted}
)


def function_of(attempt: Attempt) -> Callable[..., Any]:
    """Return the function that an attempt is to call."""
    return attempt.effect.code


def is_awaitable(value: Any) -> bool:
    """Tell what `inspect.isawaitable` tells, at a tenth of its cost for what most functions return."""
    return type(value) not in _NEVER_AWAITED and inspect.isawaitable(value)


def arguments_of(attempt: Attempt, function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return what user code is called with: its context if it takes one, after the step's input schema.

    Raises:
        SchemaError: the input does not fit the schema.
    """
    effect = attempt.effect
    place = effect.undoes or effect.place
    context: Context[Any] = Context(
        attempt.facts,
        effect.scope,
        place,
        attempt=attempt.number,
        is_undo=effect.undoes is not None,
        failure=attempt.failure,
        transaction=attempt.transaction,
        is_cancelled=lambda: attempt.abandoned or attempt.cancelled,
        open_notes=attempt.open_notes,
    )
    policy = effect.policy
    if policy is not None and policy.input_schema is not None:
        try:
            context.replace_input(policy.input_schema(context.input))
        except Exception as error:
            msg = f"the input of step {place.name!r} does not fit its input_schema: {error}"
            raise InputMisfit(msg) from error
    turn = effect.turn
    return (context, turn)[: _takes(function, 1 if turn is None else 2)]


class InputMisfit(SchemaError):
    """An input that cannot get better by trying again."""


InputMisfit.__name__ = InputMisfit.__qualname__ = "SchemaError"


@lru_cache(maxsize=4096)
def _takes(function: Callable[..., Any], most: int) -> int:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for count in range(most, -1, -1):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return count
    return most


@lru_cache(maxsize=4096)
def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling a function gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
