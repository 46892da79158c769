"""The gates of one run and the signals it has been sent: a durable mailbox, the oldest of a name first.

Invariant: a signal accepted at or before a gate's deadline opens it, a later one does not, whatever arrives first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import WaitFor
from ..dsl.errors import SignalTimeout
from ..dsl.facts import Fact, FactKind, FactStatus, Place
from ..dsl.states import State
from ..persistence.codec import encode
from ..persistence.records import SignalRow
from .course import CALLED, MICROS, Course
from .crew import error_record

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Gates"]


class Gates:
    """What one run waits for, and the signals it has not yet taken.

    Attributes:
        accepted: How many signals the run was sent so far.
    """

    __slots__ = ("_course", "_keys", "_office", "_untaken", "accepted")

    def __init__(self, course: Course, office: Supervisor, signals: Sequence[SignalRow]) -> None:
        self._course = course
        self._office = office
        self.accepted = len(signals)
        self._untaken = [signal for signal in signals if signal.taken_by is None]
        self._keys = {signal.dedup_key for signal in signals if signal.dedup_key is not None}

    def knows(self, key: str | None) -> bool:
        """Tell whether a signal with this key was accepted before."""
        return key is not None and key in self._keys

    def ask(self, effect: WaitFor, fact: Fact | None) -> None:
        """Open a gate at once if its signal is here; wait for it otherwise."""
        course = self._course
        if fact is not None:
            self._take(effect, fact)
            return
        due = None if effect.timeout is None else course.now + round(effect.timeout * MICROS)
        # The key does not tell the event: names may hold what marks items and second gates.
        event = encode(effect.signal.name)
        fact = course.new_fact(effect.place, FactKind.GATE, FactStatus.WAITING, value=event, due_at=due)
        if self._take(effect, fact):
            return
        if effect.timeout == 0:
            self.expire(effect, fact)
            return
        course.record(fact)
        if due is not None:
            course.arm(due, fact.key)

    def accept(self, message: msg.Signalled) -> None:
        """Keep a signal, and open the first gate that waits for it."""
        course = self._course
        key = message.dedup_key
        accepted_at = message.accepted_at or course.now
        signal = SignalRow(self._office.new_id(), course.run_id, message.event, message.payload, accepted_at, key)
        if key is not None:
            self._keys.add(key)
        self.accepted += 1
        self._untaken.append(signal)
        course.turn.signals[signal.id] = signal
        course.emit(ev.SignalReceived, event=message.event, payload=message.payload, encoded="payload")
        course.change_row()  # the event's number must not come again after a restart
        if course.walk is None and course.row.state != State.QUARANTINED:
            # The workflow is not registered: nobody can tell yet whether a gate opens.
            called = course.new_fact(Place(CALLED, CALLED), FactKind.CONTROL, FactStatus.RUNNING, due_at=course.now)
            course.record(called)
        for effect in course.walk.open if course.walk is not None else ():
            if isinstance(effect, WaitFor) and effect.signal.name == message.event:
                fact = course.journal.answer(effect.place, effect.kind)
                if fact is not None and not fact.settled and self._take(effect, fact):
                    break

    def _take(self, effect: WaitFor, gate: Fact) -> bool:
        """Open a gate with the oldest signal of its name; one that came after the deadline closes it instead."""
        signal = next((signal for signal in self._untaken if signal.event == effect.signal.name), None)
        if signal is None:
            return False
        if gate.due_at is not None and signal.accepted_at > gate.due_at:
            self.expire(effect, gate)
            return True
        self._untaken.remove(signal)
        self._course.turn.signals[signal.id] = signal._replace(taken_by=gate.key)
        self._course.settle(gate, FactStatus.COMPLETED, value=signal.payload)
        return True

    def expire(self, effect: WaitFor, gate: Fact) -> None:
        """Close a gate whose deadline has passed."""
        self._course.emit(ev.SignalTimedOut, event=effect.signal.name)
        error = error_record(SignalTimeout(effect.signal.name, effect.timeout or 0), gate.name)
        self._course.settle(gate, FactStatus.FAILED, value=None, error=error)
