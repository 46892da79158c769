"""The way back: what a run owes is undone one after the other, whatever becomes of each."""

from __future__ import annotations

from collections.abc import Sequence

from .effects import Walker
from .scope import Owed
from .walk import Broken

__all__ = ["roll_back"]


def roll_back(debts: Sequence[Owed]) -> Walker:
    """Yield each undo in the order given; return ``complete``, or ``partial`` when any of them failed."""
    partial = False
    for owed in debts:
        try:
            yield from owed.node.undo(owed)
        except Broken:
            partial = True
    return "partial" if partial else "complete"
