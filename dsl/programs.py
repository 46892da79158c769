"""What stands around a workflow's own graph: a start that is put off, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from .effects import WaitUntil, Walker
from .facts import Place
from .graph import Body
from .scope import Owed, Scope
from .walk import Broken, Walk

__all__ = ["DELAY", "forward", "roll_back"]

DELAY = "__start"
"""Key of the fact that a put-off start waits for."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the time of a start that is on record: the fact knows it."""


def forward(body: Body, scope: Scope, start: datetime | None = None) -> Walk:
    """Walk a workflow's graph until the facts end; a start that was put off stands before it.

    Args:
        body: The graph.
        scope: What the walk sees; its journal holds the facts.
        start: When a run that begins now may ask for its first node, if that is put off.
    """
    walker = body.walk(scope)
    if start is not None or DELAY in scope.journal.facts:
        walker = _after(start or _LONG_AGO, walker, scope)
    return Walk(walker, scope.journal)


def _after(moment: datetime, walker: Walker, scope: Scope) -> Walker:
    """Wait until a point in time, then walk."""
    yield WaitUntil(Place(DELAY, DELAY), moment, scope)
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
