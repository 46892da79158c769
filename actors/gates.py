"""The gates of one run and the signals it has been sent: a durable mailbox, the oldest of a name first.

Invariant: a signal accepted at or before a gate's deadline opens it, a later one does not, whatever arrives first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import Remind, WaitFor
from ..dsl.errors import SignalTimeout
from ..dsl.facts import Fact, FactKind, FactStatus, Place
from ..dsl.states import State
from ..persistence.codec import decode, encode
from ..persistence.records import SignalRow
from . import clock
from .course import CALLED, MICROS, Course
from .outcomes import error_record
from .slot import wanted_of

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Gates", "waits_of"]


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
        self._untaken: list[SignalRow] = []
        self._keys: set[str] = set()
        for signal in signals:
            if signal.taken_by is None:
                self._untaken.append(signal)
            if signal.dedup_key is not None:
                self._keys.add(signal.dedup_key)

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
        counts = effect.demand.counts
        wanted = encode(effect.demand.label if list(counts.values()) == [1] else counts)
        fact = course.new_fact(effect.place, FactKind.GATE, FactStatus.WAITING, value=wanted, due_at=due)
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
        if course.walk is None and course.row.state != State.QUARANTINED and not course.is_behind:
            # The workflow is not registered: nobody can tell yet whether a gate opens.
            called = course.new_fact(Place(CALLED, CALLED), FactKind.CONTROL, FactStatus.RUNNING, due_at=course.now)
            course.record(called)
        for effect in course.walk.open if course.walk is not None else ():
            if isinstance(effect, WaitFor) and message.event in effect.demand.events:
                fact = course.journal.answer(effect.place, effect.kind)
                if fact is not None and not fact.settled and self._take(effect, fact):
                    break

    def _take(self, effect: WaitFor, gate: Fact) -> bool:
        """Open a gate with the oldest signals that meet its demand; one after the deadline closes it instead."""
        demand, due = effect.demand, gate.due_at
        named = [signal for signal in self._untaken if signal.event in demand.events]
        in_time = named if due is None else [signal for signal in named if signal.accepted_at <= due]
        chosen = demand.choose([signal.event for signal in in_time])
        if chosen is None:
            if len(in_time) < len(named):
                self.expire(effect, gate)
            return len(in_time) < len(named)
        taken = [in_time[position] for position in chosen]
        for signal in taken:
            self._untaken.remove(signal)
            self._course.turn.signals[signal.id] = signal._replace(taken_by=gate.key)
        value = demand.value(self._office.codec, [(signal.event, signal.payload) for signal in taken])
        self._course.settle(gate, FactStatus.COMPLETED, value=value)
        return True

    def expire(self, effect: WaitFor, gate: Fact) -> None:
        """Close a gate whose deadline has passed."""
        label = effect.demand.label
        self._course.emit(ev.SignalTimedOut, event=label)
        error = error_record(SignalTimeout(label, effect.timeout or 0), gate.name)
        self._course.settle(gate, FactStatus.FAILED, value=None, error=error)

    # ---- reminders

    def ask_reminder(self, effect: Remind) -> None:
        """Set the time of a gate's next reminder: those whose time has passed meanwhile are given as one with it."""
        course = self._course
        gate = course.journal.facts[effect.gate.key]
        every = round(effect.every * MICROS)
        due = gate.started_at + every * ((course.now - gate.started_at) // every + 1)
        in_time = gate.due_at is None or due < gate.due_at
        due_at = due if in_time else None
        course.record(course.new_fact(effect.place, FactKind.REMINDER, FactStatus.WAITING, due_at=due_at))
        if in_time:
            course.arm(due, effect.place.key)

    def remind(self, effect: Remind, reminder: Fact) -> None:
        """Tell that a gate still waits, unless its own deadline has passed too."""
        course = self._course
        gate = course.journal.facts[effect.gate.key]
        assert reminder.due_at is not None
        if gate.due_at is not None and course.now >= gate.due_at:
            course.record(reminder, due_at=None)
            return
        missed = (course.now - reminder.due_at) // round(effect.every * MICROS)
        course.emit(ev.SignalReminder, event=effect.label, number=effect.number, missed=missed)
        course.settle(reminder, FactStatus.COMPLETED)

    # ---- looking

    def waiting_for(self) -> list[ev.WaitingFor]:
        """Return what the open gates and sleeps of the run wait for."""
        course = self._course
        assert course.walk is not None
        found = [course.journal.facts.get(effect.place.key) for effect in course.walk.open]
        facts = [fact for fact in found if fact is not None]  # there is none where the run is paused before it
        untaken = Counter(signal.event for signal in self._untaken)
        return [waiting for fact in facts for waiting in waits_of(fact, untaken)]


def waits_of(fact: Fact, untaken: Mapping[str, int]) -> list[ev.WaitingFor]:
    """Return what a gate or sleep waits for, by event; so many signals of each event were not taken yet."""
    since = clock.from_micros(fact.started_at)
    deadline = None if fact.due_at is None else clock.from_micros(fact.due_at)
    if fact.kind is FactKind.REMINDER:
        return []
    if fact.kind in (FactKind.SLOT, FactKind.STEP):
        limited = wanted_of(fact) if fact.status is FactStatus.WAITING else None
        limit, key = limited or (None, None)
        return [ev.WaitingFor(fact.name, None, since, deadline, limit=limit, key=key or None)]
    wanted: Any = decode(fact.value) if fact.kind is FactKind.GATE and fact.value is not None else None
    if not isinstance(wanted, dict):
        return [ev.WaitingFor(fact.name, wanted, since, deadline)]
    return [
        ev.WaitingFor(fact.name, event, since, deadline, needed, untaken.get(event, 0))
        for event, needed in wanted.items()
    ]
