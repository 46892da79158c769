"""What of a run's journal holds when its walk is taken up somewhere else than where it stands: in a retry, or a fork.

Everything here is a walk over facts that are left out or put in; nothing is decided but what the graph says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .errors import UsageError, did_you_mean
from .facts import UNDO, Fact, FactKind, FactStatus, node_of
from .journal import Journal, ValueReader
from .limits import RATE_KEY
from .programs import DELAY, SLOT_KEY
from .scope import Scope
from .walk import Walk

if TYPE_CHECKING:
    from .definition import Definition
    from .effects import Effect
    from .graph import Node

__all__ = ["broken_by", "cut", "way_forward"]

_LOOPS = ("do_until", "do_while")


def way_forward(definition: Definition, facts: Iterable[Fact], reader: ValueReader) -> tuple[Walk, Journal]:
    """Return a walk over these facts, and their journal; what is open in it is where a run with them would go on."""
    journal = Journal(reader, facts)
    return Walk(definition.body.walk(Scope(journal)), journal), journal


def broken_by(definition: Definition, facts: Iterable[Fact], reader: ValueReader) -> list[Fact]:
    """Return the facts for which a run has failed; none when no fact is to blame, or it has not failed."""
    walk, _ = way_forward(definition, facts, reader)
    return sorted(walk.causes, key=lambda fact: fact.order)


def cut(
    definition: Definition, facts: Iterable[Fact], reader: ValueReader, at: str | None, given: Mapping[str, str]
) -> list[Fact]:
    """Return the facts that a new run begins with, which goes on with a step.

    Left out is what is not settled, what a run has failed for, what was undone, and what comes after the step.

    Args:
        definition: The graph.
        facts: Facts of the run that is copied.
        reader: Reads their values.
        at: Name of the step; None for where the run stands or has failed.
        given: Encoded results by step, in place of what is recorded, or of what would be asked for.

    Raises:
        UsageError: the run has not come to the step, the step is in a loop, or a result is given for none.
    """
    forward = _not_undone(facts)
    broken = {fact.key for fact in broken_by(definition, forward, reader)}
    forward = [fact for fact in forward if fact.key not in broken]
    begins = _begins_with(definition, at, forward) if at is not None else _nothing
    forward = [fact for fact in forward if not begins(fact.name)]
    used = {fact.name for fact in forward if fact.settled}
    forward = [
        replace(fact, value=given[fact.name]) if fact.succeeded and fact.name in given else fact for fact in forward
    ]
    walk, journal = way_forward(definition, forward, reader)
    if walk.stray is not None:
        msg = f"the run cannot be taken up at {at!r}, since {walk.stray.name!r} was decided with it; fork at the group"
        raise UsageError(msg)
    if at is not None and not any(begins(effect.place.name.removeprefix(RATE_KEY)) for effect in walk.open):
        msg = f"the run has not come to {at!r}; it can be forked at what it has recorded, or where it stands"
        raise UsageError(msg)
    if at is None and walk.ended:
        msg = "the run has completed: say at which step its fork is to begin, at=..."
        raise UsageError(msg)
    while ready := [effect for effect in walk.open if effect.place.name in given]:
        forward = [fact for fact in forward if fact.settled] + [_answer(effect, given) for effect in ready]
        used.update(effect.place.name for effect in ready)
        walk, journal = way_forward(definition, forward, reader)
    if unknown := sorted(set(given) - used):
        msg = f"the run has no result of {unknown[0]!r} to replace{did_you_mean(unknown[0], used)}"
        raise UsageError(msg)
    return [fact for fact in forward if fact.settled and journal.was_asked(fact.key)]


def _not_undone(facts: Iterable[Fact]) -> list[Fact]:
    facts = list(facts)
    undone = {
        fact.key.removeprefix(UNDO)
        for fact in facts
        if fact.kind is FactKind.UNDO and fact.status is not FactStatus.SKIPPED
    }
    outside = (FactKind.UNDO, FactKind.CONTROL, FactKind.SLOT)
    return [fact for fact in facts if fact.kind not in outside and fact.key not in (DELAY, SLOT_KEY, *undone)]


def _begins_with(definition: Definition, at: str, facts: Iterable[Fact]) -> Callable[[str], bool]:
    """Return what tells whether a fact of this name belongs to the step, or to one of its items or inner steps."""
    for loop in definition.body.every():
        if loop.kind in _LOOPS and any(at in _names(node) for _, body in loop.bodies() for node in body.every()):
            msg = f"{at!r} stands in the loop {loop.name!r}, whose earlier turns are not kept; fork at {loop.name!r}"
            raise UsageError(msg)
    node = next((node for node in definition.body.every() if at in _names(node)), None)
    if node is not None:
        inner = [each for _, body in node.bodies() for each in body.every()]
        names = {name for each in (node, *inner) for name in _names(each)}
        return lambda name: node_of(name, names) is not None
    if any(fact.name == at for fact in facts):  # one item of a for_each
        return lambda name: name == at
    known = {name for each in definition.body.every() for name in _names(each)}
    msg = f"workflow {definition.name!r} has no step {at!r}{did_you_mean(at, known)}"
    raise UsageError(msg)


def _nothing(_: str) -> bool:
    return False


def _names(node: Node) -> tuple[str, ...]:
    return (node.name, *node.own_names())


def _answer(effect: Effect, given: Mapping[str, str]) -> Fact:
    place = effect.place
    return Fact(place.key, effect.kind, FactStatus.COMPLETED, place.turn, value=given[place.name])
