"""The states of a run, and which may follow which."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ENDS", "FINAL", "IN_FLIGHT", "LEGAL", "State"]


class State(StrEnum):
    """What a run is doing.

    ``running``: a handler is in flight, will be retried, or a child runs. ``waiting``: only a signal or time can make
    it go on. ``compensating``: it failed or was cancelled and is being undone. ``completed``, ``failed`` and
    ``cancelled`` are final. ``quarantined``: set aside until a person has looked at it.
    """

    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
"""States that a run does not leave by itself: a parent that fails has its completed children undone, and an operator
may have a failed run try again."""

ENDS = FINAL | {State.QUARANTINED}
"""States in which nobody works at a run any more: whoever waits for its end has it."""

IN_FLIGHT = frozenset({State.RUNNING, State.COMPENSATING})
"""States in which a run has something to do, and does not wait."""

LEGAL: dict[State, frozenset[State]] = {
    State.RUNNING: frozenset(
        {State.WAITING, State.COMPENSATING, State.COMPLETED, State.FAILED, State.CANCELLED, State.QUARANTINED}
    ),
    State.WAITING: frozenset(
        {State.RUNNING, State.COMPENSATING, State.COMPLETED, State.FAILED, State.CANCELLED, State.QUARANTINED}
    ),
    State.COMPENSATING: frozenset({State.FAILED, State.CANCELLED, State.QUARANTINED}),
    State.QUARANTINED: frozenset({State.RUNNING, State.WAITING, State.COMPENSATING, State.CANCELLED}),
    State.COMPLETED: frozenset({State.COMPENSATING}),
    State.FAILED: frozenset({State.RUNNING, State.COMPENSATING}),
    State.CANCELLED: frozenset({State.COMPENSATING}),
}
"""Which states may follow; the docs draw this table."""
