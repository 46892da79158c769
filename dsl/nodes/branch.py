"""A branch: a selector names one of several paths; the choice is recorded, so it is never made twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from ..effects import Decide, Walker
from ..errors import UnknownPath, did_you_mean
from ..graph import Body, Inside, Node
from ..scope import Scope
from ..walk import Strayed

__all__ = ["BranchNode"]


@dataclass(frozen=True, slots=True)
class BranchNode(Node):
    """A choice between paths; ``otherwise`` is taken by every label that has none."""

    selector: Callable[..., Any]
    paths: tuple[tuple[str, Body], ...]
    otherwise: Body | None = None

    kind = "branch"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the label, unless the node before has led here by one, then walk its path in the same scope."""
        led, scope.led = scope.led, None
        if led is not None:
            return (yield from dict(self.paths)[led].walk(scope))
        fact = yield Decide(scope.place(self.name), self.selector, scope, check=self._check)
        label = scope.journal.value(fact)
        body = next((body for name, body in self.paths if name == label), self.otherwise)
        if body is None:  # the answer was checked before it was recorded, but against another definition
            raise Strayed(fact)
        return (yield from body.walk(scope))

    def _check(self, label: Any) -> Any:
        labels = [name for name, _ in self.paths]
        if isinstance(label, str) and label in labels:
            return str(label)
        if self.otherwise is None:
            hint = did_you_mean(label, labels) if isinstance(label, str) else f"; known: {labels}"
            msg = f"the selector of {self.name!r} chose {label!r}, which is not a path{hint} (or add .otherwise(...))"
            raise UnknownPath(msg)
        return label if isinstance(label, str) else None

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the paths, ``otherwise`` last."""
        return (*self.paths, ("otherwise", self.otherwise)) if self.otherwise is not None else self.paths

    @property
    def inside(self) -> Inside:
        """The chosen path is walked."""
        return Inside.ONE

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same choice between other paths."""
        if self.otherwise is None:
            return replace(self, paths=bodies)
        return replace(self, paths=bodies[:-1], otherwise=bodies[-1][1])

    def with_path(self, label: str, body: Body) -> Self:
        """Return the same choice with one more path."""
        paths = (*self.paths, (label, body))
        return replace(self, name=_name_of(paths) if self.automatic else self.name, paths=paths)

    def with_otherwise(self, body: Body) -> Self:
        """Return the same choice with a path for every other label."""
        return replace(self, otherwise=body)


def _name_of(paths: tuple[tuple[str, Body], ...]) -> str:
    return f"branch({'|'.join(label for label, _ in paths)})"
