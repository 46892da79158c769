"""A parallel group: all strands start, each sees the facts as they stood, and the group ends when all have ended.

Its policy says how many strands must succeed, and whether those under way are stopped once that is certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from ..effects import Join, Joined, Walker
from ..graph import Body, Inside, Node
from ..joining import ALL, Tolerance
from ..scope import Scope
from ..walk import Broken, Withdrawn

__all__ = ["ParallelNode"]


@dataclass(frozen=True, slots=True)
class ParallelNode(Node):
    """Several strands at once."""

    strands: tuple[tuple[str, Body], ...]
    policy: Tolerance = ALL

    kind = "parallel"

    def walk(self, scope: Scope) -> Walker:
        """Walk the strands in layers of their own and absorb what each has learned, in order of declaration."""
        layers = [scope.strand() for _ in self.strands]
        walkers = [body.walk(layer) for (_, body), layer in zip(self.strands, layers, strict=True)]
        place = scope.place(self._decision) if self.policy.decides_early else None
        try:
            joined = yield Join(walkers, len(walkers), policy=self.policy, place=place)
        except (Broken, Withdrawn):
            self._absorb(scope, layers)  # a group around this one may bear that it has failed
            raise
        self._absorb(scope, layers)
        return self._value(scope, joined)

    def _absorb(self, scope: Scope, layers: list[Scope]) -> None:
        for layer in layers:
            scope.absorb(layer)

    def _value(self, scope: Scope, joined: Joined) -> str:
        names = [label for label, _ in self.strands]
        for index, error in joined.errors.items():
            scope.errors[names[index]] = error
        return scope.journal.reader.compose({names[index]: value or "null" for index, value in joined.values.items()})

    @property
    def _decision(self) -> str:
        return f"__decided:{self.name}"

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the strands, each under the name of its first node."""
        return self.strands

    @property
    def inside(self) -> Inside:
        """All strands are walked at once."""
        return Inside.ALL if self.policy is ALL else Inside.SOME

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, strands=bodies)

    def own_names(self) -> tuple[str, ...]:
        """Leave what was decided early, if the policy may; else there is nothing to remember about a group."""
        return (self._decision,) if self.policy.decides_early else ()
