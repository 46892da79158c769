"""A gate: the run waits for a signal, for so long and no longer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from ..effects import WaitFor, Walker
from ..facts import Fact
from ..graph import Body, Node
from ..scope import Scope
from ..signals import Signal
from ..walk import Broken

__all__ = ["WaitForNode"]


@dataclass(frozen=True, slots=True)
class WaitForNode(Node):
    """A wait for one signal; ``on_timeout`` is walked instead of failing when none comes in time."""

    signal: Signal[Any]
    timeout: float | None = None
    on_timeout: Body | None = None

    kind = "wait_for"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the oldest signal not yet taken."""
        try:
            fact = yield WaitFor(scope.place(self.name), self.signal, self.timeout, scope)
        except Broken:
            if self.on_timeout is None:
                raise
            return (yield from self.on_timeout.walk(scope))
        scope.signals[self.signal.name] = fact
        return fact.value

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Make the payload visible again."""
        scope.signals[self.signal.name] = fact

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the way taken on a timeout, if there is one."""
        return (("timeout", self.on_timeout),) if self.on_timeout is not None else ()

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, on_timeout=bodies[0][1]) if bodies else self

    def events(self) -> tuple[str, ...]:
        """Return the signal's name."""
        return (self.signal.name,)
