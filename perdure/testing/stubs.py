"""The same workflow with other handlers: names, and so the fingerprint, stay what they are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ..dsl.context import Context
from ..dsl.errors import UsageError, did_you_mean
from ..dsl.graph import Body, Node
from ..dsl.workflow import Workflow

__all__ = ["Stub", "stub", "with_stubs"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")

UNDO = "undo:"
"""In front of a step's name: its compensation."""

_USER_CODE = {
    "step": "handler",
    "map": "transform",
    "branch": "selector",
    "do_until": "condition",
    "do_while": "condition",
}


class Stub:
    """A handler that does what it is told, and remembers for whom.

    Attributes:
        calls: The contexts it was called with, in order.
    """

    def __init__(self, *outcomes: Any) -> None:
        self.calls: list[Context[Any]] = []
        self._outcomes = outcomes
        self._guard = threading.Lock()

    def __call__(self, context: Context[Any]) -> Any:
        """Return or raise the next outcome; the last one for ever."""
        with self._guard:
            self.calls.append(context)
            outcome = self._outcomes[min(len(self.calls), len(self._outcomes)) - 1]
        if isinstance(outcome, BaseException) or (isinstance(outcome, type) and issubclass(outcome, BaseException)):
            raise outcome
        return outcome


def stub(*outcomes: Any) -> Stub:
    """Return a handler that returns each value, and raises each exception, in turn; the last one for ever.

    Example:
        >>> charge = stub(TimeoutError("busy"), "receipt")
        >>> bought = with_stubs(Workflow("buy").step("charge", lambda: "real"), charge=charge)
        >>> bought
        <Workflow 'buy'>
    """
    return Stub(*(outcomes or (None,)))


def with_stubs(
    workflow: Workflow[InputT, OutputT], stubs: Mapping[str, Any] | None = None, /, **named: Any
) -> Workflow[InputT, OutputT]:
    """Return the same workflow with other handlers, to be registered in its place; the original is not changed.

    Args:
        workflow: The workflow.
        stubs: By name: a value to return, an exception to raise, a list of such outcomes for one attempt after the
            other, or a function to be the handler. ``"undo:charge"`` is the compensation of step ``charge``. Steps,
            maps, branches (which return a label) and loops (which return a bool) can be replaced.
        named: The same, for names that are identifiers.

    Raises:
        UsageError: nothing in the workflow has this name.
    """
    wanted = {name: _handler(outcome) for name, outcome in {**(stubs or {}), **named}.items()}
    definition = workflow.definition()
    left = dict(wanted)
    body = _replaced(definition.body, wanted, left)
    if left:
        known = sorted(node.name for node in definition.body.every() if node.kind in _USER_CODE)
        name = next(iter(left))
        msg = f"workflow {workflow.name!r} has nothing to replace under the name {name!r}{did_you_mean(name, known)}"
        raise UsageError(msg)
    return workflow.redefined(replace(definition, body=body))


def _handler(outcome: Any) -> Any:
    if isinstance(outcome, list):
        return stub(*outcome)
    is_error = isinstance(outcome, type) and issubclass(outcome, BaseException)
    return outcome if callable(outcome) and not is_error else stub(outcome)


def _replaced(body: Body, wanted: Mapping[str, Any], left: dict[str, Any]) -> Body:
    return Body(tuple(_replaced_node(node, wanted, left) for node in body.nodes))


def _replaced_node(node: Node, wanted: Mapping[str, Any], left: dict[str, Any]) -> Node:
    if bodies := node.bodies():
        node = node.with_bodies(tuple((label, _replaced(body, wanted, left)) for label, body in bodies))
    changes: dict[str, Any] = {}
    if node.name in wanted and node.kind in _USER_CODE:
        changes[_USER_CODE[node.kind]] = wanted[node.name]
        if node.kind == "step":  # a stub remembers its calls, so it runs here
            changes["policy"] = replace(node.policy, executor=None)  # type: ignore[attr-defined]  # told by its kind
        left.pop(node.name, None)
    undo = f"{UNDO}{node.name}"
    if undo in wanted and getattr(node, "compensation", None) is not None:
        changes["compensation"] = wanted[undo]
        changes["undo_policy"] = replace(node.undo_policy, executor=None)  # type: ignore[attr-defined]  # as above
        left.pop(undo, None)
    return replace(node, **changes) if changes else node
