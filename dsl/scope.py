"""What a node can see while it is walked, and where its facts belong.

Rules:

1. A scope is written by the strand it belongs to, and by nobody else.
2. A strand sees what stood in the scopes above it when it began; those cannot change while it runs, since the strand
   above is waiting for it. So a layer costs nothing to make, and no fact is ever copied.
3. What is owed in case of failure is a list of lists that follows the order of declaration, not of arrival.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from .facts import ErrorRecord, Fact, Place, node_of

if TYPE_CHECKING:
    from .journal import Journal

__all__ = ["Owed", "Scope"]


class Owed(NamedTuple):
    """Something that completed and would have to be undone: the node, its fact's place and the scope it ran in."""

    node: Any
    place: Place
    scope: Scope


@dataclass(slots=True, eq=False)
class _Shared:
    """What all scopes of one run have in common."""

    journal: Journal
    pivoted: bool = False
    borrowed: frozenset[str] = frozenset()


class Scope:
    """One layer of what a strand sees: its own facts over those of the layers above."""

    __slots__ = (
        "_debts",
        "_shared",
        "above",
        "errors",
        "heard",
        "indices",
        "item",
        "kept",
        "led",
        "signals",
        "steps",
        "turn",
    )

    def __init__(self, journal: Journal) -> None:
        self._shared = _Shared(journal)
        self._debts: list[Any] = []
        self.above: Scope | None = None
        self.steps: dict[str, Fact] = {}
        self.signals: dict[str, Fact] = {}
        self.heard: dict[str, list[str]] = {}
        self.errors: dict[str, ErrorRecord] = {}
        self.led: str | None = None  # which path of the node after it a gate that was too late leads to
        self.indices: tuple[int, ...] = ()
        self.item: str | None = None
        self.turn: tuple[int, ...] = ()
        self.kept: tuple[int, ...] = ()

    @property
    def journal(self) -> Journal:
        """The run's journal."""
        return self._shared.journal

    @property
    def index(self) -> int | None:
        """Index of the innermost item, or None outside a ``for_each``."""
        return self.indices[-1] if self.indices else None

    def _copy(self) -> Scope:
        scope = Scope.__new__(Scope)
        for slot in Scope.__slots__:
            setattr(scope, slot, getattr(self, slot))
        return scope

    def place(self, name: str) -> Place:
        """Return where the fact of the node of this name belongs."""
        if self.indices:
            name = ":".join((name, *map(str, self.indices)))
        if self.kept:
            return Place(f"{name}@{'.'.join(map(str, self.kept))}", name, self.turn)
        return Place(name, name, self.turn)

    def node_name(self, place: Place) -> str:
        """Return the name of the node whose fact belongs at this place: without the indices of the items around it."""
        return place.name.rsplit(":", len(self.indices))[0]

    # ---- layers

    def strand(self) -> Scope:
        """Return a layer for one strand of a group; what it owes stands in this scope's list from now on."""
        layer = self._copy()
        debts: list[Any] = []
        layer.above, layer.steps, layer.signals, layer.heard, layer.errors = self, {}, {}, {}, {}
        layer._debts = debts  # noqa: SLF001 - one of us
        self._debts.append(debts)
        return layer

    def for_item(self, index: int, item: str) -> Scope:
        """Return a layer for one item of a ``for_each``."""
        layer = self.strand()
        layer.indices, layer.item = (*self.indices, index), item
        return layer

    def at_turn(self, turn: int, *, kept: bool) -> Scope:
        """Return this scope as one turn of a loop sees it: later turns replace the facts of earlier ones.

        A turn whose facts are kept, since it may have to be undone, gets a layer that later turns do not write to.
        """
        scope = self._copy()
        scope.turn = (*self.turn, turn)
        scope.errors = dict(self.errors)  # those of a turn are gone with it, as its failed facts are
        if kept:
            scope.kept = (*self.kept, turn)
            scope.steps, scope.signals, scope.heard = dict(self.steps), dict(self.signals), dict(self.heard)
        return scope

    def absorb(self, layer: Scope, names: Collection[str] = ()) -> None:
        """Take over what a strand has learned; an item's results get its index, behind these names of the body."""
        index = f":{layer.indices[-1]}" if len(layer.indices) > len(self.indices) else ""
        for name, fact in layer.steps.items():
            self.steps[_indexed(name, index, names)] = fact
        if layer.signals is not self.signals:
            for event, fact in layer.signals.items():
                self.hear(event, fact, layer.heard[event])
        if layer.errors and layer.turn == self.turn:
            self.errors.update((_indexed(name, index, names), error) for name, error in layer.errors.items())

    def forget_items(self, names: Collection[str]) -> None:
        """Drop the results of a ``for_each``'s earlier turn, which may have had more items."""
        for name in [name for name in self.steps if (found := node_of(name, names)) is not None and found[1]]:
            del self.steps[name]

    # ---- facts

    def learn(self, name: str, fact: Fact) -> None:
        """Make a completed fact visible to the nodes that follow."""
        self.steps[name] = fact

    def hear(self, event: str, gate: Fact, payloads: list[str]) -> None:
        """Make what a gate has taken of an event visible to the nodes that follow, as what was heard last."""
        self.signals.pop(event, None)
        last = payloads[-1]
        self.signals[event] = gate if gate.value == last else replace(gate, value=last)
        self.heard[event] = payloads

    def find(self, name: str) -> Fact | None:
        """Return what stands under a name, in this layer or above."""
        scope: Scope | None = self
        while scope is not None:
            if (fact := scope.steps.get(name)) is not None:
                return fact
            scope = scope.above
        return None

    def names(self) -> Iterator[str]:
        """Yield the visible names, outermost layer first."""
        if self.above is not None:
            for name in self.above.names():
                if name not in self.steps:
                    yield name
        yield from self.steps

    def find_signal(self, event: str) -> Fact | None:
        """Return the gate that took this event last."""
        scope: Scope | None = self
        while scope is not None:
            if (fact := scope.signals.get(event)) is not None:
                return fact
            scope = scope.above
        return None

    def find_heard(self, event: str) -> list[str]:
        """Return the payloads that the gate has taken which took this event last."""
        scope: Scope | None = self
        while scope is not None:
            if (payloads := scope.heard.get(event)) is not None:
                return payloads
            scope = scope.above
        return []

    def last_signal(self) -> str | None:
        """Return the event that was taken last."""
        scope: Scope | None = self
        while scope is not None:
            if scope.signals:
                return next(reversed(scope.signals))
            scope = scope.above
        return None

    def signal_names(self) -> Iterator[str]:
        """Yield the events taken so far."""
        if self.above is not None:
            for name in self.above.signal_names():
                if name not in self.signals:
                    yield name
        yield from self.signals

    def all_errors(self) -> dict[str, ErrorRecord]:
        """Return why strands and items have failed whose group went on without them, by name."""
        return {**(self.above.all_errors() if self.above is not None else {}), **self.errors}

    # ---- debts

    def owe(self, node: Any, place: Place) -> None:
        """Note that this node's effect must be undone if the run fails later."""
        self._debts.append(Owed(node, place, self))

    def pivot(self) -> None:
        """Pass the point of no return: from now on the run owes nothing."""
        self._shared.pivoted = True

    def borrow(self, keys: Iterable[str]) -> None:
        """Owe nothing for the facts of these keys: they are another run's, which has to undo them if anybody must."""
        self._shared.borrowed = frozenset(keys)

    def forget_debts(self) -> None:
        """Owe nothing: nobody will ask any more, and what is owed knows the scope that owes it."""
        self._debts.clear()

    def debts(self) -> list[Owed]:
        """Return what is to be undone, in the order in which it is to be undone."""
        if self._shared.pivoted:
            return []
        return [owed for owed in _reversed(self._debts) if owed.place.key not in self._shared.borrowed]


def _reversed(debts: list[Any]) -> Iterator[Owed]:
    for debt in reversed(debts):
        if isinstance(debt, Owed):
            yield debt
        else:
            yield from _reversed(debt)


def _indexed(name: str, index: str, names: Collection[str]) -> str:
    base, inner = (index and node_of(name, names)) or (name, "")
    return f"{base}{index}{inner}"
