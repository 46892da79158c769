"""What a function at a place in the graph can know: which results surely stand there, and which may.

Follows the rules of `Scope` over the whole graph at once, by how each node's bodies are walked. This file must never
name a kind of node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, NamedTuple

from .code import Lookup, Sort
from .description import questions_of
from .facts import without_indices
from .graph import Body, Inside, Node

__all__ = ["Known", "View", "views"]

_UNDO: Final = "compensation"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at one place.

    Attributes:
        surely: What stands there whatever way the run took.
        perhaps: What may stand there; holds all of ``surely``.
    """

    surely: frozenset[Lookup] = frozenset()
    perhaps: frozenset[Lookup] = frozenset()

    def learn(self, lookups: Iterable[Lookup], *, surely: bool = True) -> Known:
        """Return this and more."""
        more = frozenset(lookups)
        return Known(self.surely | more if surely else self.surely, self.perhaps | more)

    def either(self, other: Known) -> Known:
        """Return what is known where two ways meet of which one was taken."""
        return Known(self.surely & other.surely, self.perhaps | other.perhaps)

    def both(self, other: Known) -> Known:
        """Return what is known where two ways meet that were both taken."""
        return Known(self.surely | other.surely, self.perhaps | other.perhaps)

    def surely_holds(self, lookup: Lookup) -> bool:
        """Tell whether a look-up always finds something."""
        return lookup in self.surely

    def may_hold(self, lookup: Lookup) -> bool:
        """Tell whether a look-up may find something."""
        base = without_indices(lookup.name)
        return lookup in self.perhaps or (base != lookup.name and lookup._replace(name=f"{base}:#") in self.perhaps)


class View(NamedTuple):
    """One of the user's functions, and what it can know."""

    node: Node
    function: Callable[..., Any]
    known: Known


def views(body: Body) -> list[View]:
    """Return what every function in a body can know, in order of the graph."""
    survey = _Survey({})
    survey.walk(body, Known())
    return survey.found


class _Survey:
    """One walk over a graph.

    Attributes:
        found: What was met on the way.
    """

    def __init__(self, left: dict[int, frozenset[Lookup]]) -> None:
        """Begin one; ``left`` is what bodies of loops may leave: worked out once for each, however deep they nest."""
        self.found: list[View] = []
        self._left = left

    def walk(self, body: Body, known: Known) -> Known:
        """Note what the functions of a body know, and return what is known behind it."""
        for node in body.nodes:
            known = self._pass(node, known)
        return known

    def _pass(self, node: Node, known: Known) -> Known:
        own = [Lookup(Sort.STEP, name) for name in node.own_names()]
        taken = [Lookup(Sort.SIGNAL, event) for event in node.events()]
        learned = known.learn(own).learn(taken, surely=node.hears_all())
        begin = len(self.found)
        after = self._behind(node, known, learned)
        for name, function in questions_of(node).items():
            if name == _UNDO:
                self.found.append(View(node, function, learned))
            elif node.inside is Inside.AGAIN:  # asked at the end of each turn
                self.found.append(View(node, function, after))
            elif node.inside is Inside.WHILE:  # asked before each turn, and what the turn before has left is seen
                self.found.insert(begin, View(node, function, Known(known.surely, after.perhaps)))
            else:
                self.found.insert(begin, View(node, function, known))
                begin += 1
        return after

    def _behind(self, node: Node, known: Known, learned: Known) -> Known:
        bodies = [body for _, body in node.bodies()]
        if not bodies:
            return learned
        match node.inside:
            case Inside.ONE:
                return reduce(Known.either, [self.walk(body, learned) for body in bodies])
            case Inside.INSTEAD:
                return reduce(Known.either, [self.walk(body, known) for body in bodies], learned)
            case Inside.ALL:
                return reduce(Known.both, [self.walk(body, learned) for body in bodies], learned)
            case Inside.SOME:
                behind = reduce(Known.both, [self.walk(body, learned) for body in bodies], learned)
                return Known(learned.surely, behind.perhaps)
            case Inside.EACH:
                inside = [self.walk(body, learned) for body in bodies]
                names = {lookup for one in inside for lookup in one.perhaps - learned.perhaps}
                return learned.learn((_indexed(lookup) for lookup in names), surely=False)
            case Inside.AGAIN | Inside.WHILE:
                return self._turn(bodies[0], learned, at_least_once=node.inside is Inside.AGAIN)

    def _turn(self, body: Body, known: Known, *, at_least_once: bool) -> Known:
        if (left := self._left.get(id(body))) is None:
            left = self._left[id(body)] = _Survey(self._left).walk(body, Known()).perhaps
        before = known.learn(left, surely=False)  # from the second turn on it sees what the first has left
        behind = self.walk(body, before)
        return behind if at_least_once else Known(known.surely, behind.perhaps)


def _indexed(lookup: Lookup) -> Lookup:
    if lookup.sort is Sort.SIGNAL:
        return lookup
    return lookup._replace(name=f"{without_indices(lookup.name.removesuffix(':#'))}:#")
