"""A map: a pure, synchronous look at what is known so far, recorded like a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..effects import Decide, Walker
from ..facts import Fact, FactKind
from ..graph import Node
from ..scope import Scope

__all__ = ["MapNode"]


@dataclass(frozen=True, slots=True)
class MapNode(Node):
    """A transformation of the context into a value; no attempts, no timeout, nothing to undo."""

    transform: Callable[..., Any]

    kind = "map"

    def walk(self, scope: Scope) -> Walker:
        """Ask once and keep the answer."""
        fact = yield Decide(scope.place(self.name), self.transform, scope, FactKind.MAP)
        scope.learn(self.name, fact)
        return fact.value

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Make the value visible again."""
        scope.learn(name, fact)
