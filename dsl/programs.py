"""What stands around a workflow's own graph: a start that is put off, the line for a slot, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from .effects import Decide, TakeSlot, WaitUntil, Walker
from .facts import ErrorRecord, Fact, FactKind, FactStatus, Place
from .graph import Body
from .limits import Pool, check_key
from .scope import Owed, Scope
from .walk import Broken, Walk

__all__ = ["DELAY", "SLOT", "SLOT_KEY", "UNDONE_IN_PART", "forward", "has_left", "roll_back", "undone_in_part"]

DELAY = "__start"
"""Key of the fact that a put-off start waits for."""

SLOT = "__slot"
"""Key of the fact that a run of a limited workflow has a slot, or waits in line for one."""

SLOT_KEY = "__slot_key"
"""Key of the fact that tells whose run it is, where the keys of a limit take turns."""

UNDONE_IN_PART = "perdure.UndoneInPart"
"""Type of the cause by which a parent remembers that a sub-workflow has failed and could not be undone."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the time of a start that is on record: the fact knows it."""


def forward(body: Body, scope: Scope, start: datetime | None = None, pool: Pool | None = None) -> Walk:
    """Walk a workflow's graph until the facts end; a start that was put off, and the line, stand before it.

    Args:
        body: The graph.
        scope: What the walk sees; its journal holds the facts.
        start: When a run that begins now may ask for its first node, if that is put off.
        pool: The slots of which the run needs one, if it needs one.
    """
    walker = body.walk(scope)
    if pool is not None:
        walker = _in_line(pool, walker, scope)
    if start is not None or DELAY in scope.journal.facts:
        walker = _after(start or _LONG_AGO, walker, scope)
    return Walk(walker, scope.journal)


def _after(moment: datetime, walker: Walker, scope: Scope) -> Walker:
    """Wait until a point in time, then walk."""
    yield WaitUntil(Place(DELAY, DELAY), moment, scope)
    return (yield from walker)


def _in_line(pool: Pool, walker: Walker, scope: Scope) -> Walker:
    """Take a slot, then walk."""
    key = ""
    if pool.question is not None:
        place = Place(SLOT_KEY, SLOT_KEY)
        fact = yield Decide(place, pool.question, scope, FactKind.KEY, check=check_key)
        key = scope.journal.value(fact)
    yield TakeSlot(Place(SLOT, SLOT), pool, key)
    return (yield from walker)


def roll_back(debts: Sequence[Owed]) -> Walker:
    """Yield each undo in the order given; return ``complete``, or ``partial`` when any of them failed."""
    partial = False
    for owed in debts:
        try:
            yield from owed.node.undo(owed)
        except Broken:
            partial = True
    return "partial" if partial else "complete"


def has_left(facts: Iterable[Fact]) -> bool:
    """Tell whether a sub-workflow that has failed was undone only in part."""
    failed = (fact for fact in facts if fact.kind is FactKind.CHILD and fact.status is FactStatus.FAILED)
    return any(cause.type == UNDONE_IN_PART for fact in failed if fact.error for cause in fact.error.causes)


def undone_in_part(workflow: str, facts: Iterable[Fact], end: ErrorRecord | None) -> ErrorRecord:
    """Return what a parent is told of a sub-workflow that was undone only in part: which undo has failed, and why.

    Args:
        workflow: The sub-workflow.
        facts: What it has recorded.
        end: Why it has ended: the reason, if no undo has failed.
    """
    undone = (fact for fact in facts if fact.kind is FactKind.UNDO and fact.status is FactStatus.FAILED)
    causes = tuple(fact.error for fact in undone if fact.error is not None) or ((end,) if end is not None else ())
    why = "; ".join(f"{cause.step!r}: {cause.message}" if cause.step else cause.message for cause in causes)
    text = f"sub-workflow {workflow!r} was undone only in part: {why}"
    return ErrorRecord("perdure.ChildFailed", text, causes=causes)
