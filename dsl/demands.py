"""What opens a gate: demands on the signals that a run was sent and has not taken, as data that only counts.

Invariant: a gate takes all the signals it demands, or none; one that times out leaves the mailbox as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import SchemaError
from .signals import Signal

if TYPE_CHECKING:
    from .journal import ValueReader

__all__ = ["AllOf", "AnyOf", "Demand", "Quorum", "Taken"]

_NOTHING = "null"

Taken = tuple[str, str]
"""A signal's event and its encoded payload."""


class _Demand(msgspec.Struct, frozen=True):
    signals: tuple[Signal[Any], ...]

    @property
    def events(self) -> tuple[str, ...]:
        """The names it takes."""
        return tuple(signal.name for signal in self.signals)

    @property
    def counts(self) -> dict[str, int]:
        """How many signals of each name open the gate."""
        return dict.fromkeys(self.events, 1)

    def value(self, reader: ValueReader, taken: Iterable[Taken]) -> str:
        """Return the encoded value of a gate that has taken these."""
        return reader.compose(dict(taken))

    def heard(self, reader: ValueReader, value: str) -> Iterator[tuple[str, list[str]]]:
        """Yield what a gate with this value has taken: events and their encoded payloads, in order of acceptance."""
        for event, payload in {} if value == _NOTHING else reader.entries(value).items():
            yield event, [payload]

    def check(self, value: Any) -> None:
        """Refuse what is no value of such a gate; None stands for no signal at all, as of a gate that was skipped.

        Raises:
            SchemaError: it is none.
        """
        if value is not None and not (isinstance(value, dict) and value.keys() <= set(self.events)):
            msg = f"expected a mapping of {' or '.join(map(repr, self.events))} to payloads, got {value!r}"
            raise SchemaError(msg)


class Quorum(_Demand, frozen=True):
    """So many signals of one name; the value is the payload, or the list of payloads when there are several.

    Attributes:
        count: How many.
    """

    count: int = 1

    @property
    def label(self) -> str:
        """How it is called in texts and events."""
        return self.signals[0].name

    @property
    def counts(self) -> dict[str, int]:
        """How many signals of each name open the gate."""
        return {self.signals[0].name: self.count}

    def choose(self, untaken: Sequence[str]) -> list[int] | None:
        """Return the positions of the signals to take, of those of these names; None to go on waiting."""
        event = self.signals[0].name
        found = [position for position, name in enumerate(untaken) if name == event][: self.count]
        return found if len(found) == self.count else None

    def value(self, reader: ValueReader, taken: Iterable[Taken]) -> str:
        """Return the payload, or the encoded list of the payloads."""
        payloads = [payload for _, payload in taken]
        return payloads[0] if self.count == 1 else reader.join(payloads)

    def heard(self, reader: ValueReader, value: str) -> Iterator[tuple[str, list[str]]]:
        """Yield the event with its payloads."""
        if self.count == 1:
            yield self.signals[0].name, [value]
        elif value != _NOTHING:
            yield self.signals[0].name, reader.split(value)

    def check(self, value: Any) -> None:
        """Refuse what is no payload, or no list of payloads; None stands for no signal at all.

        Raises:
            SchemaError: it is none.
        """
        if self.count > 1 and not isinstance(value, (list, tuple, type(None))):
            msg = f"expected a list of {self.count} payloads, got {value!r}"
            raise SchemaError(msg)


class AnyOf(_Demand, frozen=True):
    """The first signal of any of these names; the value maps its name to its payload."""

    @property
    def label(self) -> str:
        """How it is called in texts and events."""
        return " or ".join(self.events)

    def choose(self, untaken: Sequence[str]) -> list[int] | None:
        """Return the position of the signal to take, of those of these names; None to go on waiting."""
        found = next((position for position, name in enumerate(untaken) if name in self.events), None)
        return None if found is None else [found]


class AllOf(_Demand, frozen=True):
    """One signal of each of these names; the value maps the names to the payloads, in order of acceptance."""

    @property
    def label(self) -> str:
        """How it is called in texts and events."""
        return " and ".join(self.events)

    def choose(self, untaken: Sequence[str]) -> list[int] | None:
        """Return the positions of the signals to take, of those of these names; None to go on waiting."""
        first = {name: position for position, name in reversed(list(enumerate(untaken))) if name in self.events}
        return sorted(first.values()) if len(first) == len(self.signals) else None


Demand = Quorum | AnyOf | AllOf
