"""Loops: a body that is walked again until, or while, a condition says so.

A loop's only fact is the last answer of its condition, with its turn. A turn's facts replace those of the turn before,
so a run that has turned ten thousand times restores as fast as one that has turned once. Only where the body has
something to compensate, or a point of no return, are the facts of every turn kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Self

from ..effects import Decide, Walker
from ..errors import MaxIterationsExceeded
from ..facts import ErrorRecord, FactKind, FactStatus, node_of
from ..graph import Body, Inside, Node
from ..scope import Scope
from ..walk import Broken

__all__ = ["DoUntilNode", "DoWhileNode"]


@dataclass(frozen=True, slots=True)
class _LoopNode(Node):
    condition: Callable[..., Any]
    body: Body
    max_iterations: int = 100

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the body."""
        return (("body", self.body),)

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, body=bodies[0][1])

    def _turns(self, scope: Scope, first: int) -> Iterator[tuple[int, Scope]]:
        """Yield each turn that may still have something to do, with the scope it sees."""
        kept = self.body.owes() or self.body.forgives()
        if not kept:
            first = max(first, self._resume(scope, first))
            _recall(scope, self.body, first)
        for turn in range(first, self.max_iterations + 2):
            turn_scope = scope.at_turn(turn, kept=kept)
            yield turn, turn_scope
            if kept:
                scope.absorb(turn_scope)

    def _resume(self, scope: Scope, first: int) -> int:
        fact = scope.journal.facts.get(scope.place(self.name).key)
        if fact is None or fact.kind is not FactKind.DECISION or fact.turn[:-1] != scope.turn:
            return first
        scope.journal.mark(fact.key)  # the walk skips the turns before and asks for this fact only at the turn's end
        turn = fact.turn[-1]
        return turn if fact.status is not FactStatus.COMPLETED else self._next_turn(turn, scope.journal.value(fact))

    @abstractmethod
    def _next_turn(self, turn: int, answer: bool) -> int:  # noqa: FBT001 - it is the recorded answer
        """Return the turn that follows, once the condition has given this answer."""

    def _ask(self, scope: Scope, argument: int) -> Walker:
        fact = yield Decide(scope.place(self.name), self.condition, scope, turn=argument, check=bool)
        return scope.journal.value(fact)

    def _exceeded(self) -> Broken:
        message = f"{self.name!r} did not end within max_iterations={self.max_iterations}"
        return Broken(ErrorRecord(f"perdure.{MaxIterationsExceeded.__name__}", message, self.name))


@dataclass(frozen=True, slots=True)
class DoUntilNode(_LoopNode):
    """Walk the body, then ask; end when the answer is true. The condition's turns are 1, 2, 3."""

    kind = "do_until"

    @property
    def inside(self) -> Inside:
        """The body is walked once at least."""
        return Inside.AGAIN

    def walk(self, scope: Scope) -> Walker:
        """Resume at the recorded turn."""
        for turn, turn_scope in self._turns(scope, 1):
            if turn > self.max_iterations:
                raise self._exceeded()
            value = yield from self.body.walk(turn_scope)
            if (yield from self._ask(turn_scope, turn)):
                scope.absorb(turn_scope)
                return value
        return None

    def _next_turn(self, turn: int, answer: bool) -> int:  # noqa: FBT001
        return turn if answer else turn + 1


@dataclass(frozen=True, slots=True)
class DoWhileNode(_LoopNode):
    """Ask, then walk the body while the answer is true. The condition's turns are 0, 1, 2."""

    kind = "do_while"

    @property
    def inside(self) -> Inside:
        """The body may not be walked at all."""
        return Inside.WHILE

    def walk(self, scope: Scope) -> Walker:
        """Resume at the recorded turn."""
        value, walked = None, False
        for turn, turn_scope in self._turns(scope, 1):
            if not (yield from self._ask(turn_scope, turn - 1)):
                if turn > 1 and not walked:  # resumed after the last turn, whose facts all stand
                    value = yield from self.body.walk(scope.at_turn(turn - 1, kept=False))
                return value
            if turn > self.max_iterations:
                raise self._exceeded()
            value, walked = (yield from self.body.walk(turn_scope)), True
        return None

    def _next_turn(self, turn: int, answer: bool) -> int:  # noqa: FBT001
        return turn


def _recall(scope: Scope, body: Body, before: int) -> None:
    """Make visible again what the turns before a resumed one have left, as it was when they ended.

    In the order in which a walk makes it visible: turn after turn, by declaration, item after item; not of arrival.
    """
    names = {scope.place(name).name: name for node in body.every() for name in node.own_names()}
    nodes = {name: (way, node) for way, node in _ways(body) for name in node.own_names()}
    found = []
    for fact in scope.journal.earlier_turn(scope.turn, before):
        if (left := node_of(fact.name, names)) is None:
            continue
        name, inner = left
        scope.journal.mark(fact.key)
        if fact.succeeded:
            way, node = nodes[names[name]]
            turn = fact.turn[len(scope.turn)]
            found.append(((turn, _position(way, inner), fact.order), node, f"{names[name]}{inner}", fact))
    for _, node, visible, fact in sorted(found, key=lambda each: each[0]):
        node.recall(scope, visible, fact)


def _ways(body: Body, way: tuple[tuple[int, ...], ...] = ((),)) -> Iterator[tuple[tuple[tuple[int, ...], ...], Node]]:
    """Yield every node with its place in each body on the way to it; a new stage begins where items multiply."""
    for number, node in enumerate(body.nodes):
        here = (*way[:-1], (*way[-1], number))
        yield here, node
        for at, (_, inner) in enumerate(node.bodies()):
            deeper = (*here, ()) if node.inside is Inside.EACH else (*here[:-1], (*here[-1], at))
            yield from _ways(inner, deeper)


def _position(way: tuple[tuple[int, ...], ...], indices: str) -> tuple[int, ...]:
    """Return where in the order of a walk a node stands for the items of these indices."""
    items = [int(index) for index in indices.split(":") if index.isdigit()]
    position = list(way[0])
    for stage, item in zip_longest(way[1:], items, fillvalue=None):
        position += ([] if item is None else [item]) + list(stage or ())
    return tuple(position)
