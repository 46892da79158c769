"""A for_each: a body walked once for every item of a recorded list, in order or several at a time.

Its policy says how many items must succeed, and whether those under way are stopped once that is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from ..effects import Decide, Join, Joined, Walker
from ..errors import MaxIterationsExceeded, NotEnoughItems, NotIterable
from ..facts import ITEMS, Fact, FactKind, node_of
from ..graph import Body, Inside, Node
from ..joining import ALL, Tolerance
from ..scope import Scope
from ..walk import Broken, Withdrawn

__all__ = ["ForEachNode"]

_Items = Generator[Any, Any, list[str | None]]


@dataclass(frozen=True, slots=True)
class ForEachNode(Node):
    """The same nodes for each item; results are kept under ``name:index``."""

    items: Callable[..., Any]
    body: Body
    concurrency: int = 1
    max_iterations: int = 1000
    policy: Tolerance = ALL

    kind = "for_each"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the items once, then walk the body in a layer for each."""
        fact = yield Decide(scope.place(self._items_name), self.items, scope, FactKind.ITEMS, check=self._check)
        names = self.body.all_names() | {node.name for node in self.body.every()}  # errors have that of a group
        scope.forget_items(names)
        items = scope.journal.reader.split(fact.value)
        in_order = self.concurrency == 1 and self.policy == ALL
        values = yield from (self._in_order if in_order else self._joined)(scope, items, names)
        return scope.journal.reader.join(value or "null" for value in values)

    def _in_order(self, scope: Scope, items: list[str], names: frozenset[str]) -> _Items:
        values = []
        for index, item in enumerate(items):
            layer = scope.for_item(index, item)
            try:
                values.append((yield from self.body.walk(layer)))
            except (Broken, Withdrawn):
                scope.absorb(layer, names)  # a group around this node may bear that it has failed
                raise
            scope.absorb(layer, names)
        return values

    def _joined(self, scope: Scope, items: list[str], names: frozenset[str]) -> _Items:
        layers: list[Scope] = []
        place = scope.place(self._decision) if self.policy.decides_early else None
        strands, size = self._strands(scope, items, layers, names), len(items)
        try:
            joined: Joined = yield Join(strands, size, self.concurrency, lambda: self._begun(scope), self.policy, place)
        except (Broken, Withdrawn):
            _absorb(scope, layers, names)
            raise
        _absorb(scope, layers, names)
        for index, error in joined.errors.items():
            scope.errors[f"{self.name}:{index}"] = error
        return list(joined.values.values())

    def _strands(self, scope: Scope, items: list[str], layers: list[Scope], names: frozenset[str]) -> Iterator[Walker]:
        for index, item in enumerate(items):
            if self.concurrency == 1:  # one after the other: each sees what those before it have left
                _absorb(scope, layers[-1:], names)
            layers.append(scope.for_item(index, item))
            yield self.body.walk(layers[-1])

    def _begun(self, scope: Scope) -> set[int]:
        """Return the indices of the items that have left facts in this turn."""
        names = frozenset(scope.place(name).name for name in self.body.all_names())
        facts = (fact for fact in scope.journal.facts.values() if fact.turn[: len(scope.turn)] == scope.turn)
        found = (node_of(fact.name, names) for fact in facts)
        return {int(each[1].split(":")[1]) for each in found if each is not None}

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Drop what the turn before has left, as `walk` does: this turn may have had fewer items."""
        if name.startswith(self._decision):
            return
        item = name.removeprefix(self._items_name)
        scope.forget_items(frozenset(f"{inside}{item}" for inside in self.body.all_names()))

    @property
    def _items_name(self) -> str:
        return f"{ITEMS}{self.name}"

    @property
    def _decision(self) -> str:
        return f"__decided:{self.name}"

    def _check(self, items: Any) -> Any:
        if not isinstance(items, (list, tuple)):
            shown = f": {items!r:.100}" if isinstance(items, (str, bytes, dict, set, type(None))) else ""
            msg = f"the items of {self.name!r} must be a list or a tuple, got {type(items).__qualname__}{shown}"
            raise NotIterable(msg)
        if len(items) > self.max_iterations:
            msg = f"{self.name!r} was given {len(items)} items, more than max_iterations={self.max_iterations}"
            raise MaxIterationsExceeded(msg)
        if (needed := self.policy.needed(len(items))) > len(items):
            msg = f"{self.name!r} was given {len(items)} items, of which {needed} would have to succeed"
            raise NotEnoughItems(msg)
        return list(items)

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the body."""
        return (("item", self.body),)

    @property
    def inside(self) -> Inside:
        """The body is walked for each item."""
        return Inside.EACH

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, body=bodies[0][1])

    def own_names(self) -> tuple[str, ...]:
        """Leave the list of items, and what was decided early, if the policy may."""
        return (self._items_name, self._decision) if self.policy.decides_early else (self._items_name,)


def _absorb(scope: Scope, layers: list[Scope], names: frozenset[str]) -> None:
    for layer in layers:
        scope.absorb(layer, names)
