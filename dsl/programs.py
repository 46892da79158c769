"""What stands around a workflow's own graph: a start that is put off, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .effects import WaitUntil, Walker
from .facts import Place
from .scope import Owed, Scope
from .walk import Broken

__all__ = ["DELAY", "after", "roll_back"]

DELAY = "__start"
"""Key of the fact that a put-off start waits for."""


def after(moment: datetime, walker: Walker, scope: Scope) -> Walker:
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
