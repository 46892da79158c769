"""Results that are given by hand: checked as those of the node's own would be, where they are given.

Schemas are the user's code, and run on the thread of whoever gives the result: never on the core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arguments import encode
from .dsl.definition import Definition
from .dsl.demands import Quorum
from .dsl.errors import InvalidPayload, SchemaError
from .dsl.facts import node_of, without_turn
from .dsl.gate import GateNode
from .dsl.graph import Node
from .dsl.nodes.step import StepNode
from .persistence import codec

__all__ = ["encode_result"]


def encode_result(definition: Definition | None, step: str, result: Any) -> str:
    """Return a result for a step, gate or other node as it is stored.

    Args:
        definition: The workflow of the run; None where it is not known, and nothing can be checked.
        step: Name or key of the node; an item's with its index.
        result: What is to be taken for the node's own result.

    Raises:
        InvalidPayload: it does not fit the step's output schema or the gate's signals, or cannot be stored.
    """
    what = f"the result given for step {step!r}"
    match None if definition is None else _node(definition, step):
        case StepNode(policy=policy) if policy.output_schema is not None:
            try:
                result = policy.output_schema(result)
            except Exception as error:
                msg = f"{what} does not fit its output_schema: {error}"
                raise InvalidPayload(msg) from error
        case GateNode(demand=Quorum(signals=(signal,), count=1)):
            result = _fitted(result, signal.payload, what)
        case GateNode(demand=Quorum(signals=(signal,))) if isinstance(result, list):  # what is none, the gate refuses
            result = _fitted(result, list[signal.payload], what)  # type: ignore[name-defined]  # a type that is made here
        case GateNode(demand=demand) if isinstance(result, Mapping):
            types = {signal.name: signal.payload for signal in demand.signals}
            result = {event: _fitted(payload, types.get(event), what) for event, payload in result.items()}
    return encode(result, None, what)


def _fitted(value: Any, annotation: Any, what: str) -> Any:
    try:
        return codec.revive(value, annotation)
    except SchemaError as error:
        msg = f"{what}: {error}"
        raise InvalidPayload(msg) from error


def _node(definition: Definition, step: str) -> Node | None:
    nodes = {node.name: node for node in definition.body.every()}
    found = node_of(without_turn(step), nodes)
    return None if found is None else nodes[found[0]]
