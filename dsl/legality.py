"""What an operator may ask of a run, and when: the table that the engine obeys and the documentation draws.

A run stands somewhere between its states: a waiting run may wait for a signal or for an operator, a failed one may have
been undone or not. What is legal depends on that, so a standing is finer than a state; users see the state.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LEGAL_VERBS", "Standing", "Verb", "legal_in"]


class Verb(StrEnum):
    """What can be asked."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SKIP = "skip"
    COMPLETE_STEP = "complete_step"
    RESOLVE = "resolve"
    FORK = "fork"
    TERMINATE = "terminate"


class Standing(StrEnum):
    """Where a run stands, as far as it matters to an operator.

    ``paused``: nothing begins until it is resumed. ``parked``: it goes forward, and has an incident. ``stopping``: it
    was cancelled, or its deadline has passed, and what is in flight ends. ``rollback paused`` and ``rollback parked``:
    the same on the way back. ``undone``: failed or cancelled, and everything it owed was undone. ``partly undone``: a
    compensation has failed.
    """

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    PARKED = "parked"
    STOPPING = "stopping"
    COMPENSATING = "compensating"
    ROLLBACK_PAUSED = "rollback paused"
    ROLLBACK_PARKED = "rollback parked"
    COMPLETED = "completed"
    FAILED = "failed"
    UNDONE = "undone"
    PARTLY_UNDONE = "partly undone"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


_BY_HAND = {Verb.SKIP, Verb.COMPLETE_STEP, Verb.FORK}
_ALIVE = _BY_HAND | {Verb.TERMINATE}

LEGAL_VERBS: dict[Standing, frozenset[Verb]] = {
    Standing.RUNNING: frozenset(_ALIVE | {Verb.CANCEL, Verb.PAUSE}),
    Standing.WAITING: frozenset(_ALIVE | {Verb.CANCEL, Verb.PAUSE}),
    Standing.PAUSED: frozenset(_ALIVE | {Verb.CANCEL, Verb.RESUME, Verb.RESOLVE}),
    Standing.PARKED: frozenset(_ALIVE | {Verb.CANCEL, Verb.PAUSE, Verb.RETRY, Verb.RESOLVE}),
    Standing.STOPPING: frozenset({Verb.CANCEL, Verb.FORK, Verb.TERMINATE}),
    Standing.COMPENSATING: frozenset(_ALIVE | {Verb.PAUSE}),
    Standing.ROLLBACK_PAUSED: frozenset(_ALIVE | {Verb.RESUME, Verb.RESOLVE}),
    Standing.ROLLBACK_PARKED: frozenset(_ALIVE | {Verb.PAUSE, Verb.RETRY, Verb.RESOLVE}),
    Standing.COMPLETED: frozenset({Verb.FORK}),
    Standing.FAILED: frozenset(_BY_HAND | {Verb.RETRY}),
    Standing.UNDONE: frozenset({Verb.FORK}),
    Standing.PARTLY_UNDONE: frozenset({Verb.RETRY, Verb.FORK}),
    Standing.CANCELLED: frozenset({Verb.FORK}),
    Standing.QUARANTINED: frozenset({Verb.RESUME, Verb.FORK, Verb.TERMINATE}),
}
"""Which verbs are legal in which standing; everything else is an `IllegalTransition`. The docs draw this table."""


def legal_in(verb: Verb) -> list[Standing]:
    """Return the standings in which a verb is legal."""
    return [standing for standing, verbs in LEGAL_VERBS.items() if verb in verbs]
