"""What a handler sees of its run, as plain data: for handlers that run where the run's actor does not.

Values stay encoded: whoever unpacks a parcel decodes what the handler asks for, as it would be decoded here. A parcel
holds what was known when the handler was asked for, and nothing that could change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .effects import Invoke
from .facts import ErrorRecord, Fact, FactKind, FactStatus, Place
from .journal import Journal
from .scope import Scope

if TYPE_CHECKING:
    from .journal import ValueReader

__all__ = ["Parcel", "pack", "unpack"]


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True):
    """The view of one handler, selector or other piece of user code.

    Attributes:
        place: Where the fact of its answer belongs.
        undoes: What it undoes, for a compensation.
        steps: Encoded results by name, as they are seen; those of outer layers first.
        signals: Encoded payload of the signal taken last, by event.
        heard: Encoded payloads that the last gate for an event took.
        errors: Why strands and items have failed whose group went on without them.
        result: In a compensation: the encoded result of what it undoes.
    """

    place: Place
    undoes: Place | None = None
    steps: dict[str, str | None] = {}
    signals: dict[str, str | None] = {}
    heard: dict[str, list[str]] = {}
    errors: dict[str, ErrorRecord] = {}
    indices: tuple[int, ...] = ()
    item: str | None = None
    turn: tuple[int, ...] = ()
    result: str | None = None


def pack(effect: Any) -> Parcel:
    """Return what the user code of an effect sees."""
    scope: Scope = effect.scope
    undoes = effect.undoes if isinstance(effect, Invoke) else None
    undone = None if undoes is None else scope.journal.facts.get(undoes.key)
    return Parcel(
        effect.place,
        undoes,
        {name: fact.value for name in scope.names() if (fact := scope.find(name)) is not None},
        {event: fact.value for event in scope.signal_names() if (fact := scope.find_signal(event)) is not None},
        {event: scope.find_heard(event) for event in scope.signal_names()},
        scope.all_errors(),
        scope.indices,
        scope.item,
        scope.turn,
        None if undone is None else undone.value,
    )


def unpack(parcel: Parcel, reader: ValueReader) -> Scope:
    """Return a scope that shows what was packed, and nothing else."""
    journal = Journal(reader)
    if parcel.undoes is not None and parcel.result is not None:
        journal.facts[parcel.undoes.key] = _fact(parcel.undoes.key, parcel.result)
    scope = Scope(journal)
    for name, value in parcel.steps.items():
        scope.learn(name, _fact(name, value))
    for event, value in parcel.signals.items():
        scope.signals[event] = _fact(event, value)
    scope.heard.update(parcel.heard)
    scope.errors.update(parcel.errors)
    scope.indices, scope.item, scope.turn = parcel.indices, parcel.item, parcel.turn
    return scope


def _fact(key: str, value: str | None) -> Fact:
    return Fact(key, FactKind.STEP, FactStatus.COMPLETED, value=value)
