"""A finished definition: the immutable graph, checked as a whole, with its fingerprint.

Names are settled here. Nodes without a name of their own (gates, branches, groups, loops) get one from what they hold,
never from where they stand, so adding a node elsewhere moves no facts; a second one alike gets ``#2``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

from .errors import DefinitionError
from .graph import Body, Node
from .limits import Pool
from .nodes.branch import BranchNode
from .nodes.for_each import ForEachNode
from .policies import OnExhausted
from .signals import Signal

__all__ = ["Definition", "define", "namespaces_of"]


@dataclass(frozen=True)
class Definition:
    """A workflow as the engine runs it.

    Attributes:
        name: Name of the workflow.
        version: Version it was given, or None.
        body: Its nodes.
        input_type: Type of its input, or None.
        types: Every type whose values may have to be revived from the database.
        timeout: Seconds a run may take as a whole, or None.
        pool: The slots of which each run needs one, or None.
    """

    name: str
    version: str | None
    body: Body
    input_type: Any
    types: tuple[Any, ...] = ()
    timeout: float | None = None
    pool: Pool | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Kinds, names and nesting as a short hash; options and code are left out, since changing them harms no run."""
        shape = json.dumps([self.name, self.body.shape()], ensure_ascii=False)
        return hashlib.sha256(shape.encode()).hexdigest()[:16]

    @cached_property
    def events(self) -> frozenset[str]:
        """Names of all signals its gates wait for."""
        return frozenset(event for node in self.body.every() for event in node.events())

    @cached_property
    def signals(self) -> tuple[Signal[Any], ...]:
        """The signals its gates wait for, with their types."""
        return tuple(signal for node in self.body.every() for signal in node.signals())

    @cached_property
    def children(self) -> frozenset[str]:
        """Names of all workflows it starts."""
        return frozenset(child for node in self.body.every() for child in node.children())

    @property
    def is_singleton(self) -> bool:
        """Whether there is one unfinished run at a time, of each idempotency key."""
        return self.pool is not None and self.pool.is_singleton

    def namespaces(self) -> list[Mapping[str, Any]]:
        """Return the names that its functions can see, of their modules and of the functions around them."""
        found = [names for function in self._functions for names in namespaces_of(function)]
        return list({id(names): names for names in found}.values())

    @cached_property
    def _functions(self) -> tuple[Callable[..., Any], ...]:
        values = (getattr(node, field.name) for node in self.body.every() for field in fields(node))
        return tuple(value for value in values if callable(value))

    def node(self, name: str) -> Node | None:
        """Return the node of this name."""
        return next((node for node in self.body.every() if node.name == name), None)


def namespaces_of(function: Callable[..., Any]) -> list[Mapping[str, Any]]:
    """Return the names that a function can see: those of its module, and those of the functions around it."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", function)  # noqa: B004 - its code is what is looked for
    module = getattr(function, "__globals__", None)
    cells = getattr(function, "__closure__", None) or ()
    around = {}
    for index, cell in enumerate(cells):
        with suppress(ValueError):  # a name that is bound later
            around[str(index)] = cell.cell_contents
    return [names for names in (module, around) if names]


def define(
    name: str,
    nodes: Iterable[Node],
    *,
    version: str | None,
    input_type: Any,
    types: Iterable[Any],
    timeout: float | None = None,
    on_exhausted: OnExhausted = "fail",
    pool: Pool | None = None,
) -> Definition:
    """Check the nodes as a whole and return the definition.

    Raises:
        DefinitionError: it is empty, or a name stands twice where both could run.
    """
    body = Body(tuple(nodes))
    if not body.nodes:
        msg = f"workflow {name!r} has no nodes: add at least one step"
        raise DefinitionError(msg)
    if on_exhausted == "park":
        body = body.parking()
    body, taken = _settle(body, {}, f"workflow {name!r}")
    _check_items(body, taken, name)
    return Definition(name, version, body, input_type, tuple(types), timeout, pool)


def _settle(body: Body, taken: dict[str, str], where: str) -> tuple[Body, dict[str, str]]:
    """Give every node its final name; return the body and all names taken after it, each with its place."""
    nodes = []
    taken = dict(taken)
    for node in body.nodes:
        named = _rename(node, taken) if node.automatic else node
        for own in named.own_names():
            if own in taken:
                raise DefinitionError(_twice(own, taken[own], where))
            taken[own] = where
        before = dict(taken)
        bodies = []
        for label, inner in named.bodies():
            start = before if isinstance(named, BranchNode) else taken
            settled, after = _settle(inner, start, f"{where}, {label!r} of {named.name!r}")
            bodies.append((label, settled))
            taken.update(after)
        nodes.append(named.with_bodies(tuple(bodies)) if bodies else named)
    return Body(tuple(nodes)), taken


def _twice(name: str, first: str, second: str) -> str:
    return (
        f"the name {name!r} stands twice: in {first} and in {second}; results are kept by name, so give one of them "
        "another (only paths that exclude each other may share one)"
    )


def _rename(node: Node, taken: dict[str, str]) -> Node:
    for number in range(1, len(taken) + 2):
        candidate = node if number == 1 else replace(node, name=f"{node.name}#{number}")
        if candidate.name not in taken and not any(own in taken for own in candidate.own_names()):
            return candidate
    return node


def _check_items(body: Body, taken: dict[str, str], workflow: str) -> None:
    for base in _item_names(body):
        for name in taken:
            rest = name.removeprefix(f"{base}:")
            if rest != name and rest.replace(":", "").isdigit():
                msg = f"workflow {workflow!r}: the name {name!r} collides with the results of the for_each {base!r}"
                raise DefinitionError(msg)


def _item_names(body: Body) -> Iterator[str]:
    for node in body.every():
        if isinstance(node, ForEachNode):
            yield from node.body.all_names()
