"""What one run has begun and no longer wants: the strands of a group that was decided without them.

Rules:

1. What only waits ends at once. A handler is asked to end, and its answer is waited for: what it has done all the same
   is recorded, so that it can be undone. A child is cancelled, and undoes what it did.
2. Nothing is tried again, and after a restart nothing is taken up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..dsl import events as ev
from ..dsl.effects import Invoke, RunChild, Withdraw
from ..dsl.facts import Fact, FactKind, FactStatus
from ..dsl.messages import Cancel, StepInterrupted
from .attempts import Attempts
from .course import Course

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Withdrawals"]

_NOT_WANTED = Cancel(reason="the parent was cancelled")


class Withdrawals:
    """Ends what one run no longer wants."""

    __slots__ = ("_attempts", "_course", "_office")

    def __init__(self, course: Course, office: Supervisor, attempts: Attempts) -> None:
        self._course = course
        self._office = office
        self._attempts = attempts

    def ask(self, effect: Withdraw) -> None:
        """End an effect at once, or have it end."""
        course = self._course
        key = effect.place.key
        fact = course.journal.answer(effect.place, effect.kind)
        if fact is None:
            self._attempts.forget(key)
            if isinstance(effect.effect, RunChild) or effect.kind is FactKind.MAP:
                course.emit(ev.StepCancelled, step=effect.place.name)
        elif isinstance(effect.effect, RunChild):
            course.turn.acts.append(lambda: self._office.children.check(course.run_id, key, stop=_NOT_WANTED))
        elif not self._attempts.stop(key):
            self.end(fact)

    def interrupted(self, message: StepInterrupted) -> None:
        """Hear of an attempt that was cut short: that ends it, if it is no longer wanted."""
        fact = self._attempts.interrupted(message)
        if fact is not None:
            self.end(fact)

    def end(self, fact: Fact) -> None:
        """Record that a step, gate or sleep has ended before its time."""
        course = self._course
        effect = course.walk.asks(fact.key) if course.walk is not None else None
        if isinstance(effect, Invoke):
            course.emit(ev.StepCancelled, step=effect.place.name, attempt=fact.attempts)
            if fact.status is FactStatus.RUNNING:
                fact = replace(fact, interruptions=fact.interruptions + 1)
        course.settle(fact, FactStatus.CANCELLED, value=None)
