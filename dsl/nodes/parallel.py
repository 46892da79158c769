"""A parallel group: all strands start, each sees the facts as they stood, and the group ends when all have ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from ..effects import Join, Walker
from ..graph import Body, Inside, Node
from ..scope import Scope

__all__ = ["ParallelNode"]


@dataclass(frozen=True, slots=True)
class ParallelNode(Node):
    """Several strands at once."""

    strands: tuple[tuple[str, Body], ...]

    kind = "parallel"

    def walk(self, scope: Scope) -> Walker:
        """Walk the strands in layers of their own and absorb what each has learned, in order of declaration."""
        layers = [scope.strand() for _ in self.strands]
        values = yield Join([body.walk(layer) for (_, body), layer in zip(self.strands, layers, strict=True)])
        for layer in layers:
            scope.absorb(layer)
        names = [label for label, _ in self.strands]
        return scope.journal.reader.compose(dict(zip(names, (value or "null" for value in values), strict=True)))

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the strands, each under the name of its first node."""
        return self.strands

    @property
    def inside(self) -> Inside:
        """All strands are walked at once."""
        return Inside.ALL

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, strands=bodies)

    def own_names(self) -> tuple[str, ...]:
        """Leave no fact: there is nothing to remember about a group but its strands."""
        return ()
