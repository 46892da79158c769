"""What every node has in common, and the body that strings nodes together.

A node is immutable and does nothing by itself: its whole meaning is ``walk``, a generator that yields effects and
receives settled facts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from .effects import Walker
from .errors import InternalError
from .facts import Fact
from .scope import Owed, Scope
from .signals import Signal

__all__ = ["Body", "Inside", "Node"]


class Inside(StrEnum):
    """How the bodies inside a node are walked: what diagrams draw, and what checks reckon with.

    ``ONE``: exactly one of them. ``INSTEAD``: one of them, or none, when something goes another way than it should.
    ``ALL``: all of them, at once, to their ends. ``SOME``: at once, but not all need to complete. ``AGAIN``: over and
    over, once at least. ``WHILE``: over and over, or not at all. ``EACH``: once for each item, of which there may be
    none; results get the item's index.
    """

    ONE = "one"
    INSTEAD = "instead"
    ALL = "all"
    SOME = "some"
    AGAIN = "again"
    WHILE = "while"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class Node(ABC):
    """One place in the graph.

    Attributes:
        name: The name its facts are kept under; unique within the workflow, but for exclusive paths.
        automatic: Whether the name was made from what the node holds, and may get a number to be unique.
    """

    name: str
    automatic: bool = field(default=False, kw_only=True)

    kind = "node"
    """What the node is called in diagrams, descriptions and fingerprints."""

    @abstractmethod
    def walk(self, scope: Scope) -> Walker:
        """Yield what the node asks for; return the encoded value it leaves behind, or None."""

    def undo(self, owed: Owed) -> Walker:
        """Yield what undoing the node asks for. Only nodes that ever owe anything have this."""
        raise InternalError(f"a {self.kind} owes nothing, so {self.name!r} is never undone")

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:  # noqa: B027 - most nodes leave nothing to see
        """Make visible again a fact that an earlier turn of an enclosing loop has left; `walk` does so for its own."""

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the bodies inside, each with its label."""
        return ()

    @property
    def inside(self) -> Inside:
        """How the bodies inside are walked."""
        return Inside.INSTEAD

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies, given in the order of `bodies`."""
        assert not bodies  # nodes with bodies have their own
        return self

    def own_names(self) -> tuple[str, ...]:
        """Return the names of all facts the node itself may leave."""
        return (self.name,)

    def signals(self) -> tuple[Signal[Any], ...]:
        """Return the signals the node waits for."""
        return ()

    def events(self) -> tuple[str, ...]:
        """Return the names of the signals the node waits for."""
        return tuple(signal.name for signal in self.signals())

    def hears_all(self) -> bool:
        """Tell whether all signals it waits for have come when it is passed."""
        return True

    def children(self) -> tuple[str, ...]:
        """Return the names of the workflows the node starts."""
        return ()

    def owes(self) -> bool:
        """Tell whether the node itself may leave something to undo."""
        return False

    def forgives(self) -> bool:
        """Tell whether passing the node ends all that is owed."""
        return False

    def parking(self) -> Self:
        """Return the same node, whose steps wait for an operator when they have failed, unless they say otherwise."""
        bodies = tuple((label, body.parking()) for label, body in self.bodies())
        return self.with_bodies(bodies) if bodies else self

    def shape(self) -> tuple[Any, ...]:
        """Return what the fingerprint is made of: kind, name and nesting, and no code."""
        return (self.kind, self.name, tuple((label, body.shape()) for label, body in self.bodies()))


@dataclass(frozen=True, slots=True)
class Body:
    """Nodes that are walked one after the other."""

    nodes: tuple[Node, ...]

    def walk(self, scope: Scope) -> Walker:
        """Walk each node in turn; return the last one's value."""
        value = None
        for node in self.nodes:
            value = yield from node.walk(scope)
        return value

    def parking(self) -> Body:
        """Return the same nodes, whose steps wait for an operator when they have failed, unless they say otherwise."""
        return Body(tuple(node.parking() for node in self.nodes))

    def shape(self) -> tuple[Any, ...]:
        """Return the shapes of the nodes."""
        return tuple(node.shape() for node in self.nodes)

    def every(self) -> Iterator[Node]:
        """Yield every node inside, in order of declaration, to any depth."""
        for node in self.nodes:
            yield node
            for _, body in node.bodies():
                yield from body.every()

    def all_names(self) -> frozenset[str]:
        """Return the names of all facts that may be left inside."""
        return frozenset(name for node in self.every() for name in node.own_names())

    def owes(self) -> bool:
        """Tell whether anything inside may have to be undone."""
        return any(node.owes() for node in self.every())

    def forgives(self) -> bool:
        """Tell whether anything inside may end all that is owed."""
        return any(node.forgives() for node in self.every())
