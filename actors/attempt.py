"""One call of user code, as everybody knows it who has to do with it: who runs, awaits or ends it."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl.context import RunFacts
from ..dsl.facts import ErrorRecord
from .core import CoreActor
from .notes import Notes

if TYPE_CHECKING:
    from ..dsl.effects import Decide, Invoke, RunChild, WaitUntil
    from .annexes import Annex

__all__ = ["CURRENT", "Attempt", "Loan", "running_attempt"]


CURRENT: ContextVar[Attempt | None] = ContextVar("perdure attempt", default=None)
"""A context variable, and not a thread's: handlers that are coroutines share a thread."""


def running_attempt() -> Attempt | None:
    """Return the attempt whose user code is asking, if any: on this thread, or in this task."""
    attempt = CURRENT.get()
    return None if attempt is None or attempt.is_over else attempt


class Attempt(msgspec.Struct, eq=False):
    """One call of user code.

    Attributes:
        run: Integer key of the run; what slots are counted by.
        effect: What asked for it.
        number: Attempt number for handlers, 0 for selectors and their like.
        facts: What the context shows of the run.
        actor: Who hears of the outcome.
        failure: Why the run is being undone, for compensations.
        began: When user code began, or None while it queues.
        abandoned: Whether nobody waits for the outcome any longer.
        cancelled: Whether the run is being cancelled; the outcome is still recorded.
        on_thread: Whether a ``def`` handler is running.
        stepped_over: Whether it was left running, and nothing waits for its thread.
        loan: What others may use while it waits for other runs.
        is_over: Whether user code has returned, so that what it left running may wait for anything.
        transaction: What its handler writes to the database through, if the step is a transaction.
        ending: Held while that transaction is being committed, and by whoever gives the attempt up.
        priority: How much its run matters beside others that queue.
        checkpoint: What the attempt before has left for this one, encoded.
        notes: What user code has told meanwhile, if it has told anything.
        annex: The executor that runs its handler, if one does.
    """

    run: int
    effect: Invoke | Decide | RunChild | WaitUntil
    number: int
    facts: RunFacts
    actor: CoreActor
    failure: ErrorRecord | None = None
    began: int | None = None
    abandoned: bool = False
    cancelled: bool = False
    task: Any = None
    holds_slot: bool = False
    on_thread: bool = False
    stepped_over: bool = False
    loan: Loan | None = None
    is_over: bool = False
    transaction: Any = None
    ending: threading.Lock | None = None
    priority: int = 0
    checkpoint: str | None = None
    notes: Notes | None = None
    annex: Annex | None = None

    def open_notes(self) -> Notes:
        """Return what the handler tells while it runs."""
        if self.notes is None:
            self.notes = Notes(self)
        return self.notes

    @property
    def key(self) -> str:
        """Key of the fact it works for."""
        return self.effect.place.key


class Loan(msgspec.Struct):
    """What a handler held when it began to wait for another run, and for how many it waits."""

    slot: bool
    thread: bool
    waits: int = 1
