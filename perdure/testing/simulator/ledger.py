"""What has happened in one history, and which promise each thing that happens would break.

Three witnesses tell it everything: the store, of each commit at the moment it is on disk; user code, when it begins and
ends; and listeners, of each event. It outlives every process of the history, and asks no engine anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...actors.course import CANCEL, LIMIT
from ...dsl.effects import Invoke
from ...dsl.facts import Fact, FactKind, FactStatus
from ...dsl.states import FINAL, LEGAL, State
from ...persistence.records import Batch, ExecutionRow, SignalRow

if TYPE_CHECKING:
    from ...actors.attempt import Attempt
    from ...dsl.context import Context
    from ...dsl.events import Event
    from .clock import VirtualClock

__all__ = ["Ledger", "Witness"]

_KEPT = ("execution_id", "workflow", "input", "idempotency_key", "parent_id", "parent_key", "created_at")
_OUTCOME = ("status", "value", "error", "completed_at", "attempts", "order", "started_at")
_COPY = re.compile(r"[@.]0$")
"""How the key of a fact ends that is kept beside the next turn's; the copy was checked when it was no copy yet."""
_FORWARD = {state: LEGAL[state] - {State.QUARANTINED} for state in LEGAL}


def _reachable(state: State) -> set[State]:
    found, edge = {state, State.QUARANTINED}, [state]
    while edge:
        for following in _FORWARD[edge.pop()] - found:
            found.add(following)
            edge.append(following)
    return found


_REACHABLE = {state: _reachable(state) for state in LEGAL}
_REACHABLE[State.QUARANTINED] = set(State)


class Witness:
    """One process, as the ledger knows it.

    Attributes:
        number: Which of the history's processes it is.
        excused: Whether numbers of events may be missing: a commit was written that the engine was told had failed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.excused = False

    def __str__(self) -> str:
        """Say which one it is."""
        return f"process {self.number}"


@dataclass(slots=True)
class _Told:
    sequence: int = 0
    by: Witness | None = None


@dataclass(slots=True)
class _Call:
    began: int
    ended: int | None = None
    raised: bool = False
    token: str = ""


@dataclass(slots=True)
class Ledger:
    """The book of one history.

    Attributes:
        clock: The history's clock.
        current: The process that has the right to write.
        violations: Promises broken so far, in words.
        rows: Runs as they are on disk.
        facts: Their facts, by run and key.
        signals: Their signals.
        failures: How many attempts of each step were recorded as failed, the last one not included.
        cancelled: Runs whose cancellation was acknowledged.
    """

    clock: VirtualClock
    current: Witness | None = None
    violations: list[str] = field(default_factory=list)
    rows: dict[int, ExecutionRow] = field(default_factory=dict)
    facts: dict[int, dict[str, Fact]] = field(default_factory=dict)
    signals: dict[int, SignalRow] = field(default_factory=dict)
    failures: dict[tuple[int, str, tuple[int, ...]], int] = field(default_factory=dict)
    limits: dict[tuple[int, str], float] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    _ids: dict[str, int] = field(default_factory=dict)
    _values: set[str] = field(default_factory=set)
    _calls: dict[tuple[int, str, tuple[int, ...], int], _Call] = field(default_factory=dict)
    _keys: dict[str, tuple[int, str, tuple[int, ...]]] = field(default_factory=dict)
    _told: dict[str, _Told] = field(default_factory=dict)
    _sequences: dict[int, int] = field(default_factory=dict)
    _begun: int = 0

    def broken(self, promise: int, text: str) -> None:
        """Note that a promise of RELIABILITY's list was broken."""
        self.violations.append(f"promise {promise}: {text}")

    def row_of(self, execution_id: str) -> ExecutionRow | None:
        """Return the run of this id as it is on disk."""
        run = self._ids.get(execution_id)
        return None if run is None else self.rows[run]

    def halted(self, run: int) -> bool:
        """Tell whether it is on disk that a run goes no further."""
        facts = self.facts.get(run, {})
        return CANCEL in facts or (LIMIT in facts and facts[LIMIT].status is FactStatus.FAILED)

    # ---- the store

    def committed(self, process: Witness, batch: Batch) -> None:
        """Hear of a commit that is on disk."""
        if process is not self.current:
            self.broken(6, f"{process} has written, though {self.current} had taken its runs over")
        for row in batch.executions.values():
            self._row(row)
        for signal in batch.signals.values():
            self._signal(signal)
        for (run, _), fact in batch.facts.items():
            self._fact(run, fact)
        for signal in batch.signals.values():
            self._check_turn_of(signal)

    def _row(self, row: ExecutionRow) -> None:
        old = self.rows.get(row.id)
        self.rows[row.id] = row
        self._ids[row.execution_id] = row.id
        self._sequences[row.id] = max(self._sequences.get(row.id, 0), row.sequence)
        if old is None:
            return
        who = f"run {row.execution_id}"
        if changed := [name for name in _KEPT if getattr(old, name) != getattr(row, name)]:
            self.broken(2, f"{who}: {changed} changed after the start")
        if row.state not in _REACHABLE[State(old.state)]:
            self.broken(2, f"{who} went from {old.state} to {row.state}")
        if old.state in FINAL and old.state == row.state:
            outcome = ("result", "error", "rollback", "finished_at")
            if changed := [name for name in outcome if getattr(old, name) != getattr(row, name)]:
                self.broken(2, f"{who} has ended, and then changed its {changed}")
        if row.sequence < old.sequence:
            self.broken(8, f"{who}: the number of its last event went from {old.sequence} to {row.sequence}")

    def _fact(self, run: int, fact: Fact) -> None:
        facts = self.facts.setdefault(run, {})
        old = facts.get(fact.key)
        facts[fact.key] = fact
        self._sequences[run] = max(self._sequences.get(run, 0), fact.sequence)
        same = old is not None and old.turn == fact.turn
        if old is not None and same:
            self._check_change(run, old, fact)
        elif old is not None and fact.turn < old.turn:
            self.broken(2, f"{self._name(run, fact)} went from turn {old.turn} back to {fact.turn}")
        if _COPY.search(fact.key):  # kept for handlers that have seen it
            return
        if fact.status is FactStatus.COMPLETED:
            if fact.kind in (FactKind.STEP, FactKind.MAP) and fact.value is not None:
                self._values.add(fact.value)
            self._check_result(run, fact)
        if fact.kind is FactKind.GATE and fact.settled and not (old is not None and same and old.settled):
            self._check_gate(run, old.due_at if old is not None and same else None, fact)

    def _check_change(self, run: int, old: Fact, new: Fact) -> None:
        who = self._name(run, new)
        if old.settled:
            if changed := [name for name in _OUTCOME if getattr(old, name) != getattr(new, name)]:
                self.broken(2, f"{who} was recorded as {old.status}, and then changed its {changed}")
            return
        if old.order != new.order or old.started_at != new.started_at:
            self.broken(2, f"{who} was begun twice")
        if old.status is new.status is FactStatus.WAITING and new.due_at not in (old.due_at, None):
            self.broken(2, f"{who}: its deadline moved from {old.due_at} to {new.due_at}")
        if new.status is FactStatus.RETRYING and old.status is FactStatus.RUNNING and new.attempts == old.attempts:
            key = (run, new.key, new.turn)
            self.failures[key] = self.failures.get(key, 0) + 1
        elif new.attempts < old.attempts and (new.attempts, new.status) != (old.attempts - 1, FactStatus.RETRYING):
            self.broken(4, f"{who}: its attempts went from {old.attempts} to {new.attempts}")
        goes_on = new.status is FactStatus.RUNNING or (new.kind is FactKind.SLEEP and new.settled)
        if goes_on and old.due_at is not None and self.clock.now < old.due_at:
            self.broken(7, f"{who} went on {old.due_at - self.clock.now} microseconds too early")

    def _check_result(self, run: int, fact: Fact) -> None:
        if fact.kind is not FactKind.STEP and not (fact.kind is FactKind.UNDO and fact.attempts):
            return
        call = self._calls.get((run, fact.key, fact.turn, fact.attempts))
        who = self._name(run, fact)
        if call is None or call.ended is None or call.raised or json.dumps(call.token) != fact.value:
            self.broken(2, f"{who} was recorded as completed with what its attempt {fact.attempts} never returned")
            return
        limit = self.limits.get((run, fact.key))
        if limit is not None and call.ended > call.began + limit:
            self.broken(2, f"{who} was recorded as completed, but came after its time limit")

    def _check_gate(self, run: int, due: int | None, gate: Fact) -> None:
        who = self._name(run, gate)
        taken = [one for one in self.signals.values() if one.execution == run and one.taken_by == gate.key]
        if gate.status is FactStatus.COMPLETED:
            if not taken or max(taken).payload != gate.value:
                self.broken(2, f"{who} opened without a signal that is on disk")
            elif due is not None and max(taken).accepted_at > due:
                self.broken(2, f"{who} opened by a signal accepted after its deadline")
        elif due is not None:
            event = gate.name.partition(":")[2].partition("#")[0].partition(":")[0]
            waiting = [
                one for one in self.signals.values() if (one.execution, one.event, one.taken_by) == (run, event, None)
            ]
            if any(one.accepted_at <= due for one in waiting):
                self.broken(1, f"{who} timed out, though a signal had come in time")
            if self.clock.now < due:
                self.broken(7, f"{who} timed out too early")

    def _signal(self, signal: SignalRow) -> None:
        old = self.signals.get(signal.id)
        self.signals[signal.id] = signal
        who = f"signal {signal.payload} to {self._id(signal.execution)}"
        if old is not None and old != signal._replace(taken_by=old.taken_by):
            self.broken(2, f"{who} changed after it was accepted")
        if old is not None and old.taken_by not in (None, signal.taken_by):
            self.broken(2, f"{who} was taken by {old.taken_by}, and then by {signal.taken_by}")
        for other in self.signals.values():
            if other.id == signal.id or other.execution != signal.execution:
                continue
            if other.payload == signal.payload:
                self.broken(1, f"{who} was stored twice")
            if other.dedup_key is not None and other.dedup_key == signal.dedup_key:
                self.broken(1, f"{who} was stored although its key was known")

    def _check_turn_of(self, signal: SignalRow) -> None:
        if signal.taken_by is None:
            return
        for other in self.signals.values():
            same = (other.execution, other.event, other.taken_by) == (signal.execution, signal.event, None)
            if same and other.id < signal.id:
                self.broken(1, f"signal {signal.payload} was taken before the older {other.payload}")

    # ---- user code

    def began(self, process: Witness, attempt: Attempt, context: Context[Any]) -> str:
        """Hear that user code has begun; return what it is to return, which nothing else ever returns."""
        self._begun += 1
        effect, place = attempt.effect, attempt.effect.place
        which = (attempt.run, place.key, place.turn)
        token = f"{context.idempotency_key} {attempt.number} {self._begun}"
        who = f"{context.idempotency_key}, attempt {attempt.number}"
        if process is self.current:
            self._check_may_begin(attempt, who)
            for name, value in context.steps.items():
                if isinstance(value, str) and json.dumps(value) not in self._values:
                    self.broken(3, f"{who} has seen the result of {name}, which is not on disk")
        if isinstance(effect, Invoke):
            if self._keys.setdefault(context.idempotency_key, which) != which:
                self.broken(4, f"two steps have the idempotency key {context.idempotency_key}")
            if (*which, attempt.number) in self._calls:
                self.broken(4, f"{who} has begun twice")
            self._calls[*which, attempt.number] = _Call(self.clock.now, token=token)
        return token

    def _check_may_begin(self, attempt: Attempt, who: str) -> None:
        effect = attempt.effect
        place = effect.place
        fact = self.facts.get(attempt.run, {}).get(place.key)
        if fact is not None and fact.turn != place.turn:
            fact = None
        recorded = fact is not None and (fact.status, fact.attempts) == (FactStatus.RUNNING, attempt.number)
        if fact is not None and fact.settled:
            self.broken(4, f"{who} has begun after its outcome was recorded")
        elif isinstance(effect, Invoke) and not recorded:
            self.broken(3, f"{who} has begun, which is not on disk")
        if attempt.run in self.cancelled and not (isinstance(effect, Invoke) and effect.kind is FactKind.UNDO):
            self.broken(5, f"{who} has begun after the run was cancelled")
        if attempt.run not in self.rows:
            self.broken(3, f"{who} has begun, but its run is not on disk")

    def ended(self, attempt: Attempt, *, raised: bool) -> None:
        """Hear that a handler is about to return or raise."""
        place = attempt.effect.place
        call = self._calls.get((attempt.run, place.key, place.turn, attempt.number))
        if call is not None:
            call.ended, call.raised = self.clock.now, raised
        timeout = getattr(getattr(attempt.effect, "policy", None), "timeout", None)
        if timeout is not None:
            self.limits[attempt.run, place.key] = timeout * 1_000_000

    # ---- listeners

    def told(self, process: Witness, event: Event) -> None:
        """Hear of an event."""
        if process is not self.current:
            return
        who = f"event {event.sequence} of {event.execution_id}, {event.type}"
        run = self._ids.get(event.execution_id)
        if run is None or event.sequence > self._sequences[run]:
            self.broken(8, f"{who}, was told before it was on disk")
        last = self._told.setdefault(event.execution_id, _Told())
        if event.sequence <= last.sequence:
            self.broken(8, f"{who}, came after event {last.sequence}")
        # Numbers may be missing only where a process died before it told of what it had recorded.
        whole = last.by is process or (last.by is None and process.number == 1)
        if event.sequence > last.sequence + 1 and whole and not process.excused:
            self.broken(8, f"{who}, came right after event {last.sequence}")
        last.sequence, last.by = event.sequence, process

    # ---- names

    def _id(self, run: int) -> str:
        row = self.rows.get(run)
        return f"run {run}" if row is None else row.execution_id

    def _name(self, run: int, fact: Fact) -> str:
        turn = f" in turn {'.'.join(map(str, fact.turn))}" if fact.turn else ""
        return f"{fact.key} of {self._id(run)}{turn}"
