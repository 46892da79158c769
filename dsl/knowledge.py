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
    found: list[View] = []
    _walk(body, Known(), found)
    return found


def _walk(body: Body, known: Known, found: list[View]) -> Known:
    for node in body.nodes:
        known = _pass(node, known, found)
    return known


def _pass(node: Node, known: Known, found: list[View]) -> Known:
    """Note what the functions of a node know, and return what is known behind it."""
    own = [Lookup(Sort.STEP, name) for name in node.own_names()]
    taken = [Lookup(Sort.SIGNAL, event) for event in node.events()]
    learned = known.learn(own).learn(taken, surely=node.hears_all())
    begin = len(found)
    after = _behind(node, known, learned, found)
    for name, function in questions_of(node).items():
        if name == _UNDO:
            found.append(View(node, function, learned))
        elif node.inside is Inside.AGAIN:  # asked at the end of each turn
            found.append(View(node, function, after))
        elif node.inside is Inside.WHILE:  # asked before each turn, and what the turn before has left is seen
            found.insert(begin, View(node, function, Known(known.surely, after.perhaps)))
        else:
            found.insert(begin, View(node, function, known))
            begin += 1
    return after


def _behind(node: Node, known: Known, learned: Known, found: list[View]) -> Known:
    bodies = [body for _, body in node.bodies()]
    if not bodies:
        return learned
    match node.inside:
        case Inside.ONE:
            return reduce(Known.either, [_walk(body, learned, found) for body in bodies])
        case Inside.INSTEAD:
            return reduce(Known.either, [_walk(body, known, found) for body in bodies], learned)
        case Inside.ALL:
            return reduce(Known.both, [_walk(body, learned, found) for body in bodies], learned)
        case Inside.SOME:
            behind = reduce(Known.both, [_walk(body, learned, found) for body in bodies], learned)
            return Known(learned.surely, behind.perhaps)
        case Inside.EACH:
            inside = [_walk(body, learned, found) for body in bodies]
            names = {lookup for one in inside for lookup in one.perhaps - learned.perhaps}
            return learned.learn((_indexed(lookup) for lookup in names), surely=False)
        case Inside.AGAIN | Inside.WHILE:
            return _turn(bodies[0], learned, found, at_least_once=node.inside is Inside.AGAIN)


def _turn(body: Body, known: Known, found: list[View], *, at_least_once: bool) -> Known:
    first = _walk(body, known, [])
    before = Known(known.surely, first.perhaps)  # from the second turn on it sees what the first has left
    behind = _walk(body, before, found)
    return behind if at_least_once else Known(known.surely, behind.perhaps)


def _indexed(lookup: Lookup) -> Lookup:
    if lookup.sort is Sort.SIGNAL:
        return lookup
    return lookup._replace(name=f"{without_indices(lookup.name.removesuffix(':#'))}:#")
