"""The facts of one run, as the walk reads them.

This file must never write to a disk: whoever drives the walk does, in the same turn in which it puts the facts here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec.structs import replace

from .facts import Fact, FactKind, Place, kept_beside

__all__ = ["Journal", "ValueReader"]


_SEEN = frozenset({FactKind.STEP, FactKind.MAP, FactKind.GATE, FactKind.ITEMS})
"""Kinds of facts that handlers see, or that say which of the others they see."""


class ValueReader(Protocol):
    """What the walk must know about encoded values: the codec's reading half."""

    def decode(self, text: str, /) -> Any:
        """Return the value."""
        ...

    def split(self, text: str, /) -> list[str]:
        """Return the encoded elements of an encoded list."""
        ...

    def join(self, texts: Iterable[str], /) -> str:
        """Return the encoded list of these encoded elements."""
        ...

    def entries(self, text: str, /) -> dict[str, str]:
        """Return the names of an encoded mapping, each with its encoded value."""
        ...

    def compose(self, texts: Mapping[str, str], /) -> str:
        """Return the encoded mapping of these names to these encoded values."""
        ...


class Journal:
    """Facts by key, and which of them the walk has asked for."""

    __slots__ = ("_asked", "facts", "reader")

    def __init__(self, reader: ValueReader, facts: Iterable[Fact] = ()) -> None:
        self.reader = reader
        self.facts: dict[str, Fact] = {fact.key: fact for fact in facts}
        self._asked: set[str] = set()

    def enter(self, fact: Fact) -> tuple[Fact, ...]:
        """Take a fact in; return what has to be recorded: this fact, and perhaps another one with it.

        A fact of a loop's next turn stands in the place of what the turn before has left. But that is what a handler of
        the turn sees that was asked for earlier, and must see again after a restart: so it is kept beside.
        """
        old = self.facts.get(fact.key)
        self.facts[fact.key] = fact
        if old is None or old.turn == fact.turn or not old.succeeded or old.kind not in _SEEN:
            return (fact,)
        beside = self.facts[kept_beside(old.key)] = replace(old, key=kept_beside(old.key))
        return (beside, fact)

    def answer(self, place: Place, kind: FactKind) -> Fact | None:
        """Return the fact of this kind that stands at a place, in whatever status, unless it is of another turn."""
        fact = self.facts.get(place.key)
        if fact is None or fact.kind is not kind:
            return None
        self._asked.add(place.key)
        return fact if fact.turn == place.turn else None

    def was_asked(self, key: str) -> bool:
        """Tell whether the walk has asked for a fact."""
        return key in self._asked

    def mark(self, key: str) -> None:
        """Count a fact as asked for, though the walk had no more need of it."""
        self._asked.add(key)

    def value(self, fact: Fact) -> Any:
        """Return a fact's value, decoded; each call gives a value of its own."""
        return None if fact.value is None else self.reader.decode(fact.value)

    def stray(self, ignore: Callable[[Fact], bool]) -> Fact | None:
        """Return the first fact that nobody asked for: the walk has met a definition that has changed."""
        strays = (fact for fact in self.facts.values() if fact.key not in self._asked and not ignore(fact))
        return min(strays, key=lambda fact: fact.order, default=None)

    def earlier_turn(self, turn: tuple[int, ...], before: int) -> list[Fact]:
        """Return facts that turns before this one of a loop have left, in no order."""
        depth = len(turn)
        return [
            fact
            for fact in self.facts.values()
            if len(fact.turn) > depth and fact.turn[:depth] == turn and fact.turn[depth] < before
        ]
