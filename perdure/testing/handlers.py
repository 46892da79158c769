"""One handler by itself, with a real context and without an engine."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from ..actors.attempt import Attempt
from ..actors.calling import arguments_of
from ..actors.event_loop import EngineLoop
from ..actors.outcomes import completed
from ..actors.reader import CodecReader
from ..dsl.context import RunFacts
from ..dsl.definition import namespaces_of
from ..dsl.effects import Invoke
from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus
from ..dsl.journal import Journal
from ..dsl.policies import AttemptPolicy
from ..dsl.scope import Scope
from ..dsl.steps import Step, annotations_of
from ..logging import run_logger
from ..persistence import codec
from ..persistence.classes import register_namespace

__all__ = ["run_step"]

R = TypeVar("R")

_MISSING: Any = object()


@overload
def run_step(
    step: Step[Any, R],
    *,
    input: Any = ...,
    steps: Mapping[str, Any] | None = ...,
    signals: Mapping[str, Any] | None = ...,
    attempt: int = ...,
    item: Any = ...,
    index: int = ...,
    failure: ErrorRecord | None = ...,
    result: Any = ...,
) -> R: ...
@overload
def run_step(
    step: Callable[..., Any],
    *,
    input: Any = ...,
    steps: Mapping[str, Any] | None = ...,
    signals: Mapping[str, Any] | None = ...,
    attempt: int = ...,
    item: Any = ...,
    index: int = ...,
    failure: ErrorRecord | None = ...,
    result: Any = ...,
) -> Any: ...
def run_step(
    step: Any,
    *,
    input: Any = None,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    attempt: int = 1,
    item: Any = _MISSING,
    index: int = 0,
    failure: ErrorRecord | None = None,
    result: Any = _MISSING,
) -> Any:
    """Run one handler once, as the engine would: schemas are applied, values are what the store would give back.

    Args:
        step: A step, or a plain handler; ``def`` or ``async def``.
        input: What the run was started with.
        steps: Results of the steps before, by name.
        signals: Payloads taken before, by event.
        attempt: Which attempt it is.
        item: The item, for the handler of a ``for_each``.
        index: The item's index.
        failure: Why the run is being undone, for a compensation.
        result: What the step to be undone returned, for a compensation.

    Returns:
        What the handler returned, as the steps after it would see it.

    Raises:
        NotStorable: a value cannot be stored.
        SchemaError: the input or the result does not fit the step's schema.

    Example:
        >>> run_step(lambda ctx: ctx.input["amount"] + ctx.steps["fee"], input={"amount": 5}, steps={"fee": 1})
        6
    """
    node = step.node() if isinstance(step, Step) else None
    handler = node.handler if node is not None else step
    name = node.name if node is not None else getattr(handler, "__name__", "step")
    policy = node.policy if node is not None else AttemptPolicy(returns=(annotations_of(handler),))
    _make_types_known(handler, policy.returns)
    scope = _scope(steps or {}, signals or {}, item, index)
    place = scope.place(name)
    if result is not _MISSING:
        scope.journal.facts[place.key] = _fact(place.key, result)
    facts = RunFacts("test", "test", codec.encode(input), run_logger)
    effect = Invoke(place, handler, policy, scope, undoes=None if failure is None else place)
    number = Attempt(0, effect, attempt, facts, None, failure)  # type: ignore[arg-type]  # it reports to nobody
    value = handler(*arguments_of(number, handler))
    if inspect.isawaitable(value):
        value = _await(value)
    return codec.decode(completed(number, value, codec.encode).value)


def _make_types_known(handler: Callable[..., Any], returns: tuple[Any, ...]) -> None:
    """Tell the codec of the classes that it would know from the workflow."""
    for namespace in namespaces_of(handler):
        register_namespace(namespace)
    for annotation in returns:
        codec.register_type(annotation)


def _scope(steps: Mapping[str, Any], signals: Mapping[str, Any], item: Any, index: int) -> Scope:
    scope = Scope(Journal(CodecReader()))
    for name, value in steps.items():
        scope.learn(name, _fact(name, value))
    for event, payload in signals.items():
        fact = _fact(event, payload)
        scope.hear(event, fact, [fact.value or "null"])
    return scope if item is _MISSING else scope.for_item(index, codec.encode(item))


def _fact(key: str, value: Any) -> Fact:
    return Fact(key, FactKind.STEP, FactStatus.COMPLETED, value=codec.encode(value))


def _await(awaitable: Any) -> Any:
    """Run it on a loop of its own, on a thread of its own: the caller may be a coroutine."""
    outcome: list[Any] = []

    async def run() -> Any:
        return await awaitable

    def work() -> None:
        loop = EngineLoop()
        try:
            outcome[:] = [loop.run_until_complete(run()), None]
        except BaseException as error:  # noqa: BLE001 - raised again where it belongs
            outcome[:] = [None, error]
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="perdure-run-step", daemon=True)
    thread.start()
    thread.join()
    value, error = outcome
    if error is not None:
        raise error
    return value
