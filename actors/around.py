"""What an application puts around each call of a handler: the span of a trace, fields for its log, a session.

Rules:

1. What goes around a call is entered and left where the handler runs: on its thread, or in its task.
2. The entering, the whole of the handler and the leaving share one context of `contextvars`, their own, also where a
   ``def`` on a thread returns what is then awaited elsewhere. So what was set is seen by the handler, and by no other.
3. What goes around a call must not raise: whoever makes it sees to that.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..dsl.facts import FactKind

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["Around", "HandlerCall", "call_of", "call_within"]


@dataclass(frozen=True, slots=True)
class HandlerCall:
    """One call of a handler: an attempt of a step, or of its compensation.

    Attributes:
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        step: Name of the step; an item's with its index.
        attempt: 1, 2, 3 …
        turn: The turns of the loops it is in, outermost first.
        is_compensation: Whether it undoes the step.
    """

    execution_id: str
    workflow_name: str
    step: str
    attempt: int
    turn: tuple[int, ...]
    is_compensation: bool


Around = Callable[[HandlerCall], AbstractContextManager[Any]]


def call_of(attempt: Attempt) -> HandlerCall | None:
    """Return what an attempt is to those outside; None for user code that is no handler, such as a condition."""
    effect: Any = attempt.effect
    if effect.kind not in (FactKind.STEP, FactKind.UNDO):
        return None
    undone = effect.kind is FactKind.UNDO
    place = effect.undoes if undone else effect.place
    facts = attempt.facts
    return HandlerCall(facts.execution_id, facts.workflow_name, place.name, attempt.number, place.turn, undone)


def call_within(around: AbstractContextManager[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function within something; what it returns to be awaited is awaited within it, too."""
    own = copy_context()
    own.run(around.__enter__)
    try:
        result = own.run(function, *arguments)
    except BaseException as error:
        own.run(around.__exit__, type(error), error, error.__traceback__)
        raise
    if inspect.isawaitable(result):
        return _await_within(own, around, result)
    own.run(around.__exit__, None, None, None)
    return result


async def _await_within(own: Context, around: AbstractContextManager[Any], awaitable: Awaitable[Any]) -> Any:
    try:
        result = await _Within(own, awaitable)
    except BaseException as error:
        own.run(around.__exit__, type(error), error, error.__traceback__)
        raise
    own.run(around.__exit__, None, None, None)
    return result


@dataclass(frozen=True, slots=True)
class _Within:
    """Awaits something, each stretch of it in a context that is not the task's."""

    own: Context
    awaitable: Awaitable[Any]

    def __await__(self) -> Generator[Any, Any, Any]:
        stretches: Any = self.awaitable.__await__()
        go_on = partial(next, stretches)
        while True:
            try:
                wanted = self.own.run(go_on)
            except StopIteration as end:
                return end.value
            try:
                yield wanted
            except BaseException as error:  # noqa: BLE001 - a cancellation: it is for what is awaited
                go_on = partial(stretches.throw, error)
            else:
                go_on = partial(next, stretches)
