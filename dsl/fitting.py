"""Whether a definition fits what a run has recorded: known by walking it over the run's facts, before anything is done.

Rules:

1. A definition fits if the walk asks for every fact of the run, and stops where the run stands.
2. Nothing but names and kinds is compared: code and options may change at any time.
"""

from __future__ import annotations

from typing import Final

from .facts import ErrorRecord, Fact, FactKind
from .journal import Journal
from .walk import Walk

__all__ = ["misfit"]


_BESIDE: Final = frozenset(
    {FactKind.UNDO, FactKind.CONTROL, FactKind.PROGRESS, FactKind.CHECKPOINT, FactKind.SLOT, FactKind.KEY}
)
"""The last two are of limits, which may come and go as any other option."""


def misfit(walk: Walk, journal: Journal, workflow: str, *, undoing: bool) -> ErrorRecord | None:
    """Return what a walk over the facts of a run says against the definition that was walked, if anything.

    Args:
        walk: The way forward, walked until the facts end.
        journal: The facts.
        workflow: Name of the workflow.
        undoing: Whether the run has failed, so that nothing more may be asked for on the way forward.
    """
    stray = walk.stray or journal.stray(_is_beside_the_way)
    leads_on = ", ".join(repr(effect.place.name) for effect in walk.open)
    goes_on = f"it would go on at {leads_on}" if leads_on else "it would end"
    if stray is not None:
        why = f"{stray.name!r} was recorded, but the definition does not lead there ({goes_on})"
    elif undoing and leads_on:
        why = f"the run has failed and is being undone, but by the definition {goes_on}"
    else:
        return None
    return ErrorRecord(
        "perdure.DefinitionChanged",
        f"the registered definition of {workflow!r} does not fit what this run has recorded: {why}. "
        "Register the definition the run began with, under its version, and resume the run.",
        stray.name if stray is not None else None,
    )


def _is_beside_the_way(fact: Fact) -> bool:
    """Tell whether a walk forward does not ask for facts of this kind."""
    return fact.kind in _BESIDE
