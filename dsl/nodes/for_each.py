"""A for_each: a body walked once for every item of a recorded list, in order or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from ..effects import Decide, Join, Walker
from ..errors import MaxIterationsExceeded, NotIterable
from ..facts import Fact, FactKind
from ..graph import Body, Inside, Node
from ..scope import Scope

__all__ = ["ForEachNode"]


@dataclass(frozen=True, slots=True)
class ForEachNode(Node):
    """The same nodes for each item; results are kept under ``name:index``."""

    items: Callable[..., Any]
    body: Body
    concurrency: int = 1
    max_iterations: int = 1000

    kind = "for_each"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the items once, then walk the body in a layer for each."""
        fact = yield Decide(scope.place(self._items_name), self.items, scope, FactKind.ITEMS, check=self._check)
        scope.forget_items(self.body.all_names())
        items = scope.journal.reader.split(fact.value)
        if self.concurrency == 1:
            values = []
            for index, item in enumerate(items):
                layer = scope.for_item(index, item)
                values.append((yield from self.body.walk(layer)))
                scope.absorb(layer)
        else:
            layers: list[Scope] = []
            values = yield Join(self._strands(scope, items, layers), self.concurrency, lambda: self._begun(scope))
            for layer in layers:
                scope.absorb(layer)
        return scope.journal.reader.join(value or "null" for value in values)

    def _strands(self, scope: Scope, items: list[str], layers: list[Scope]) -> Iterator[Walker]:
        for index, item in enumerate(items):
            layers.append(scope.for_item(index, item))
            yield self.body.walk(layers[-1])

    def _begun(self, scope: Scope) -> set[int]:
        """Return the indices of the items that have left facts in this turn."""
        starts = tuple(f"{scope.place(name).name}:" for name in self.body.all_names())
        facts = (fact for fact in scope.journal.facts.values() if fact.turn[: len(scope.turn)] == scope.turn)
        rests = (fact.name.removeprefix(start) for fact in facts for start in starts if fact.name.startswith(start))
        return {int(index) for rest in rests if (index := rest.partition(":")[0]).isdecimal()}

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Drop what the turn before has left, as `walk` does: this turn may have had fewer items."""
        item = name.removeprefix(self._items_name)
        scope.forget_items(f"{inside}{item}" for inside in self.body.all_names())

    @property
    def _items_name(self) -> str:
        return f"__items:{self.name}"

    def _check(self, items: Any) -> Any:
        if not isinstance(items, (list, tuple)):
            msg = (
                f"the items of {self.name!r} must be a list or a tuple, got {type(items).__qualname__}: {items!r:.100}"
            )
            raise NotIterable(msg)
        if len(items) > self.max_iterations:
            msg = f"{self.name!r} was given {len(items)} items, more than max_iterations={self.max_iterations}"
            raise MaxIterationsExceeded(msg)
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
        """Leave the list of items."""
        return (self._items_name,)
