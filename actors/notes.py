"""What a handler tells while it runs: how far it has come, and what its next attempt should begin with.

Rules:

1. A handler never waits for the core: it leaves the latest it has to tell, and a letter if none is under way.
2. Whatever was told before the handler ended is recorded with its outcome at the latest, and before the next attempt.
3. How far a handler has come is written so many times a second at most; a checkpoint as soon as the core gets to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dsl import events as ev
from ..dsl.errors import UsageError
from ..dsl.facts import CHECKPOINT, PROGRESS, Fact, FactKind, FactStatus
from ..dsl.messages import StepNoted
from ..persistence.codec import decode, encode
from .core import Letter
from .course import MICROS, Course

if TYPE_CHECKING:
    from .attempt import Attempt
    from .supervisor import Supervisor

__all__ = ["QUIET", "Notebook", "Notes"]

QUIET = "__quiet:"
"""What the key of the timer begins with that ends an attempt's quiet time."""

_QUIET_TIME = MICROS // 4


class Notes:
    """What one attempt has told; written by its handler, from any thread, and read on the core.

    Attributes:
        progress: What was told last of how far it has come, encoded.
        checkpoint: The last checkpoint, of this attempt or one before, encoded.
        is_posted: Whether a letter about it is under way.
        is_quiet: Whether what is told of the progress has to wait.
    """

    __slots__ = ("_attempt", "checkpoint", "is_posted", "is_quiet", "progress")

    def __init__(self, attempt: Attempt) -> None:
        if attempt.number == 0:
            msg = f"{attempt.effect.place.name!r} is no handler: only what has attempts tells progress and checkpoints"
            raise UsageError(msg)
        self._attempt = attempt
        self.progress: str | None = None
        self.checkpoint = attempt.checkpoint
        self.is_posted = False
        self.is_quiet = False

    def tell_progress(self, done: float, total: float | None, note: str | None) -> None:
        """Tell how far the handler has come."""
        self.progress = encode([done, total, note])
        # Invariant: what is told is read after the flags are lowered, so that it is either seen or posted.
        if not self.is_quiet:
            self._post()

    def keep(self, value: Any) -> None:
        """Keep a value for the next attempt."""
        self.checkpoint = encode(value)
        self._post()

    def kept(self) -> Any:
        """Return the value that was kept last."""
        return None if self.checkpoint is None else decode(self.checkpoint)

    def _post(self) -> None:
        attempt = self._attempt
        if self.is_posted or attempt.abandoned or attempt.actor is None:  # a handler alone, in a test, has none
            return
        if attempt.transaction is not None:  # who takes the letter may be this thread, and would wait for itself
            return
        self.is_posted = True
        letter = Letter(StepNoted(attempt.key, attempt.number, attempt.effect.place.turn))
        attempt.actor.core.post(attempt.actor, letter)


class Notebook:
    """Records what the attempts of one run tell."""

    __slots__ = ("_course", "_office")

    def __init__(self, course: Course, office: Supervisor) -> None:
        self._course = course
        self._office = office

    def begin(self, attempt: Attempt) -> None:
        """Give an attempt the checkpoint of the one before."""
        fact = self._course.journal.facts.get(f"{CHECKPOINT}{attempt.key}")
        if fact is not None and fact.turn == attempt.effect.place.turn:
            attempt.checkpoint = fact.value

    def take(self, attempt: Attempt) -> None:
        """Record what was told, and be told no more of the progress for a while."""
        notes = attempt.notes
        if notes is None:
            return
        notes.is_posted = notes.is_quiet = False
        self._record(attempt, FactKind.CHECKPOINT, CHECKPOINT, notes.checkpoint)
        if self._record(attempt, FactKind.PROGRESS, PROGRESS, notes.progress):
            notes.is_quiet = True
            due = self._course.now + _QUIET_TIME
            self._course.arm(due, f"{QUIET}{attempt.key}", attempt=0)

    def close(self, attempt: Attempt, *, succeeded: bool) -> None:
        """Record what was told last; a handler that has returned needs its checkpoint no more."""
        notes = attempt.notes
        if notes is not None:
            notes.is_posted = True  # whatever it tells from now on is too late
            self._record(attempt, FactKind.PROGRESS, PROGRESS, notes.progress)
            self._course.disarm(f"{QUIET}{attempt.key}")
        checkpoint = attempt.checkpoint if notes is None else notes.checkpoint
        self._record(attempt, FactKind.CHECKPOINT, CHECKPOINT, None if succeeded else checkpoint)

    def _record(self, attempt: Attempt, kind: FactKind, prefix: str, value: str | None) -> bool:
        course, place = self._course, attempt.effect.place
        key = f"{prefix}{place.key}"
        old = course.journal.facts.get(key)
        if (None if old is None or old.turn != place.turn else old.value) == value:
            return False
        step = course.journal.facts[place.key]
        course.record(Fact(key, kind, FactStatus.RUNNING, place.turn, step.order, value=value, started_at=course.now))
        if kind is FactKind.PROGRESS and value is not None:
            told: Any = decode(value)
            done, total, note = told
            name, number = place.name, attempt.number
            course.emit(ev.StepProgress, step=name, attempt=number, done=done, total=total, note=note)
        return True
