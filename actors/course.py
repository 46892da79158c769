"""The course of one run: its row, its facts, how far its walk has come, and the turn it is in.

What the actor and its helpers decide is written down here, and goes into the turn from here. This file decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..dsl import events as ev
from ..dsl.facts import Fact, FactKind, FactStatus, Place
from ..dsl.journal import Journal
from ..dsl.legality import Verb
from ..dsl.scope import Scope
from ..dsl.states import State
from ..dsl.walk import Walk
from ..persistence.codec import encode
from ..persistence.records import AuditRow, ExecutionRow, Stored
from .bus import Notice
from .turn import Turn
from .wish import Wish

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["BEHIND", "CALLED", "CANCEL", "FORK", "LIMIT", "MICROS", "PARDON", "PAUSE", "RECOVER", "RETRIED", "Course"]

BEHIND = "__behind"
"""Key of the fact that there was no room for the run in memory; completed once it has set out."""

RECOVER = "__recover"
"""Key of the timer by which a run is restored whose turn was dropped; no fact has it."""

MICROS = 1_000_000
"""Microseconds in a second."""

CANCEL = "__cancel"
"""Key of the fact that the run was cancelled."""

LIMIT = "__timeout"
"""Key of the fact that holds the run's deadline; failed once it has passed."""

PAUSE = "__pause"
"""Key of the fact that the run is paused; completed once it was resumed."""

PARDON = "__pardon:"
"""What the key of a fact begins with that keeps how many attempts of another fact no longer count as failures."""

RETRIED = "__retried"
"""Key of the fact that keeps how many of its parent's retries a child has heeded."""

FORK = "__fork"
"""Key of the fact that the run began with what another one had recorded."""

CALLED = "__called"
"""Key of the fact that something came while the workflow was not registered; due at once, as soon as it is."""


_CONTROL = FactKind.CONTROL


class Course:
    """Where one run stands.

    Attributes:
        run_id: Integer key of the run.
        row: The run's row as it will be after this turn.
        journal: The run's facts.
        scope: What the walk sees of them.
        walk: The walk, forward or back; None in a run that has ended or cannot be driven.
        rolling_back: Whether the walk goes back.
        paused: Whether nothing may begin until an operator resumes the run.
        questions: How many things were asked of the database that it answers with the commit.
        turn: What has been decided in the current cycle.
        now: When the message arrived that is being handled.
    """

    __slots__ = (
        "_office",
        "_order",
        "_recorded",
        "_sequence",
        "_was_steered",
        "journal",
        "now",
        "paused",
        "questions",
        "rolling_back",
        "row",
        "run_id",
        "scope",
        "turn",
        "walk",
    )

    def __init__(self, office: Supervisor, stored: Stored, turn: Turn) -> None:
        self._office = office
        self.run_id = stored.execution.id
        self.row: ExecutionRow = stored.execution
        self.journal = Journal(office.codec, stored.facts)
        self.scope = self._new_scope()
        self.walk: Walk | None = None
        self.rolling_back = False
        self.paused = (pause := self.journal.facts.get(PAUSE)) is not None and not pause.settled
        self.questions = 0
        self.turn = turn
        self.now = 0
        self._order, self._sequence = 0, self.row.sequence
        self._was_steered = False
        for fact in stored.facts:
            self._order = max(self._order, fact.order)
            self._sequence = max(self._sequence, fact.sequence)
            self._was_steered |= fact.kind is _CONTROL
        self._recorded = self._sequence

    def leave(self, turn: Turn) -> None:
        """Let go of the last turn, for one that holds nothing, and of what could be undone."""
        self.turn = turn
        self.walk = None
        self.scope.forget_debts()

    @property
    def is_behind(self) -> bool:
        """Whether the run is on disk, and has yet to set out because there was no room for it."""
        return (behind := self.journal.facts.get(BEHIND)) is not None and not behind.settled

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever told of the run."""
        return self._sequence == 0

    @property
    def brake(self) -> Fact | None:
        """The fact for which the run goes no further: it was cancelled, or its deadline has passed."""
        facts = self.journal.facts
        limit = facts.get(LIMIT)
        return facts.get(CANCEL) or (limit if limit is not None and limit.status is FactStatus.FAILED else None)

    @property
    def halted(self) -> bool:
        """Whether the run goes no further, and is not being undone yet."""
        return self._was_steered and not self.rolling_back and self.brake is not None

    def start_over(self) -> None:
        """Forget how far the walk has come; the next one begins from the facts."""
        self.journal = Journal(self._office.codec, self.journal.facts.values())
        self.scope = self._new_scope()
        self.walk = None
        self.rolling_back = False

    def _new_scope(self) -> Scope:
        scope = Scope(self.journal)
        fork = self.journal.facts.get(FORK)
        if fork is not None:
            scope.borrow(self.journal.value(fork)["borrowed"])
        return scope

    # ---- remembering

    def new_fact(
        self, place: Place, kind: FactKind, status: FactStatus, *, value: str | None = None, due_at: int | None = None
    ) -> Fact:
        """Return a fact that begins now, next in the run's order; it is not recorded yet."""
        self._order += 1
        return Fact(place.key, kind, status, place.turn, self._order, value=value, started_at=self.now, due_at=due_at)

    def record(self, fact: Fact, **changes: Any) -> None:
        """Record a fact as it is, but for these fields."""
        fact = replace(fact, sequence=self._sequence, **changes)
        self._recorded = self._sequence
        if fact.kind is _CONTROL:
            self._was_steered = True
        for each in self.journal.enter(fact):
            self.turn.facts[each.key] = each
        if self.row.adoptions and fact.settled:
            self.change_row(adoptions=0)

    def settle(self, fact: Fact, status: FactStatus, **changes: Any) -> None:
        """Record the outcome and let the walk go on with it."""
        assert self.walk is not None
        if fact.due_at is not None:
            self.disarm(fact.key)
        self.record(fact, status=status, due_at=None, completed_at=self.now, **changes)
        self.walk.resume(self.journal.facts[fact.key])

    def change_row(self, **changes: Any) -> None:
        """Change columns of the run's row."""
        self.row = self.turn.row = replace(self.row, updated_at=self.now, **changes)

    def end_turn(self) -> None:
        """Put the number of the last event on what is recorded anyway, or on the run's row.

        Invariant: an event's number is on disk with the turn that told of it, so that it never comes again.
        """
        if self.turn.row is None and self._sequence == self._recorded:
            return
        self._recorded = self._sequence
        if self.turn.row is None and self.turn.facts:
            key, fact = self.turn.facts.popitem()
            self.journal.facts[key] = self.turn.facts[key] = replace(fact, sequence=self._sequence)
        else:
            self.row = self.turn.row = replace(self.row, sequence=self._sequence)

    @property
    def wish(self) -> Wish:
        """What an operator's wish adds to this turn."""
        self.turn.wish = self.turn.wish or Wish()
        return self.turn.wish

    def forget(self, key: str) -> None:
        """Have a fact asked for anew, as if it never had been."""
        del self.journal.facts[key]
        self.turn.facts.pop(key, None)
        self.wish.forgotten.add(key)

    def note(self, verb: Verb, by: str | None, reason: str | None, step: str | None = None, **detail: Any) -> None:
        """Write down what an operator has asked, with what it causes."""
        row = AuditRow(self._office.new_id(), self.run_id, self.now, str(verb), by, reason, step, encode(detail))
        self.wish.audit.append(row)

    # ---- telling

    def emit(self, event: type[ev.Event], /, *, encoded: str | None = None, **fields: Any) -> None:
        """Tell of an event; the field named by ``encoded`` is decoded only if anybody listens."""
        self._sequence += 1
        if not self._office.core.bus.silent:
            row = self.row
            notice = Notice(event, row.execution_id, row.workflow, self.now, self._sequence, fields, encoded)
            self.turn.notices.append(notice)

    def announce_end(self) -> None:
        """Tell those who wait for the run's end, after everything else."""
        row = self.row
        fields = {"row": row}
        self.turn.notices.append(Notice(None, row.execution_id, row.workflow, self.now, self._sequence, fields))

    def wake(self) -> None:
        """Say that a waiting run has something to do again."""
        if self.row.state == State.WAITING:
            self.change_row(state=State.RUNNING)
            self.emit(ev.WorkflowResumed)

    # ---- acting

    def arm(self, due: int, key: str, *, attempt: int | None = None) -> None:
        """Set a timer, once this turn is remembered."""
        self.turn.acts.append(lambda: self._office.timekeeper.arm(due, self.run_id, key, attempt=attempt))

    def keep_armed(self, fact: Fact | None) -> None:
        """Set the timer of a fact that was found; the turn that it had fired for may have been dropped."""
        if fact is not None and fact.due_at is not None:
            self.arm(fact.due_at, fact.key)

    def disarm_all(self) -> None:
        """Take back every durable timer: nothing is waited for any longer."""
        for fact in list(self.journal.facts.values()):
            if fact.due_at is not None and fact.key != LIMIT:
                self.record(fact, due_at=None)
                self.disarm(fact.key)

    def disarm(self, key: str) -> None:
        """Take a timer back, once this turn is remembered."""
        self.turn.acts.append(lambda: self._office.timekeeper.disarm(self.run_id, key))
