"""Sending handlers to other processes: by name, as pickle does it, and never as code.

A handler goes as the name under which it is found there, also where that name stands for the `Step` made of it. What
cannot be found again is refused when the workflow is registered, for every executor alike, so that a step can move
from one to another.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..dsl.errors import NotSendable
from ..dsl.parcel import Parcel, pack
from ..dsl.policies import AttemptPolicy
from ..dsl.steps import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..dsl.definition import Definition
    from ..dsl.facts import ErrorRecord
    from ..dsl.graph import Node
    from .attempt import Attempt

__all__ = ["Errand", "Sent", "errand_of", "handler_of", "luggage", "sent_from", "to_bytes"]


class Sent(NamedTuple):
    """One handler of a definition that an executor is to run.

    Attributes:
        what: What it is called in messages.
        handler: The function.
        policy: How it is tried.
    """

    what: str
    handler: Callable[..., Any]
    policy: AttemptPolicy


class Errand(NamedTuple):
    """All that another process needs in order to make one attempt.

    Attributes:
        execution_id: Id of the run.
        workflow: Name of its workflow.
        input: Its encoded input.
        where: What the executor is called in messages.
        number: Number of the attempt.
        failure: Why the run is being undone, for a compensation.
        parcel: What the handler sees.
        luggage: What the values it sees may be made of; see `luggage`.
        handler: The function.
        policy: How it is tried: the schemas, and which exceptions may be tried again.
        make_logger: Makes its logger.
    """

    execution_id: str
    workflow: str
    input: str
    where: str
    number: int
    failure: ErrorRecord | None
    parcel: Parcel
    luggage: bytes
    handler: Callable[..., Any]
    policy: AttemptPolicy
    make_logger: Callable[[str, str, str, int], Any]


def errand_of(attempt: Attempt, where: str, luggage: bytes) -> bytes:
    """Return an attempt as it is sent."""
    effect: Any = attempt.effect
    facts = attempt.facts
    errand = Errand(
        facts.execution_id,
        facts.workflow_name,
        facts.input,
        where,
        attempt.number,
        attempt.failure,
        pack(effect),
        luggage,
        effect.handler,
        replace(effect.policy, returns=()),
        facts.make_logger,
    )
    return to_bytes(tuple(errand))


def sent_from(definition: Definition) -> Iterator[Sent]:
    """Yield every handler of a definition that names an executor."""
    for node in definition.body.every():
        for name, handler, policy in _tried(node):
            if policy.executor is not None:
                yield Sent(f"{name} of workflow {definition.name!r}", handler, policy)


def _tried(node: Node) -> Iterator[tuple[str, Any, AttemptPolicy]]:
    given: Any = node
    if isinstance(policy := getattr(node, "policy", None), AttemptPolicy):
        yield f"step {node.name!r}", given.handler, policy
    if isinstance(policy := getattr(node, "undo_policy", None), AttemptPolicy) and given.compensation is not None:
        yield f"the compensation of step {node.name!r}", given.compensation, policy


def luggage(definition: Definition, sent: list[Sent]) -> bytes:
    """Return what the values of a run may be made of: the types that were declared, and the modules of its functions.

    Raises:
        NotSendable: a handler, a schema or a type cannot be found again.
    """
    for what, handler, policy in sent:
        _check(what, policy.executor or "", handler, replace(policy, returns=()))
    executor = sent[0].policy.executor or ""
    types = [each for each in definition.types if each is not None]
    for each in types:
        _check(f"type {each!r} of workflow {definition.name!r}", executor, each)
    modules = {names["__name__"] for names in definition.namespaces() if "__name__" in names}
    return to_bytes((types, sorted(modules)))


def _check(what: str, executor: str, *parts: Any) -> None:
    try:
        pickle.loads(to_bytes(parts))  # noqa: S301 - it was made here, this moment
    except Exception as error:
        raise NotSendable(what, executor, str(error)) from error


def to_bytes(value: Any) -> bytes:
    """Return a value as it is sent."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Knows that a handler's own name may stand for the step made of it."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType) and _is_step_of(obj):
            return handler_of, (obj.__module__, obj.__qualname__)
        return NotImplemented


def _is_step_of(function: FunctionType) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return isinstance(found, Step) and found.node().handler is function


def handler_of(module: str, name: str) -> Callable[..., Any]:
    """Return the handler of the step that is found under a name; called when it has arrived."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    handler: Callable[..., Any] = found.node().handler
    return handler
