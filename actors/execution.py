"""The execution actor: one run, walking its graph one message at a time.

A turn is four verbs, the same for every message. This file is the first: it *decides*, and puts what is to be
remembered, told and done into the turn; the core does the rest in that order. What it decides of user code, signals and
other runs stands with its helpers: the attempts, the gates, the family; what operators ask, with the steering. All of
them write into one course. How a run goes back and ends stands with the ends.

Rules:

1. A message changes facts; facts move the walk; the walk asks for effects; `_ask` begins each by recording a fact.
2. To start and to restore are one act: walk until the facts end, then ask for what is owed. What differs is only the
   fact that an effect finds when it is asked for.
3. An answer nobody waits for is dropped without harm.
4. Invariant: every unfinished run has something that will wake it: a handler in flight, a timer row, an open gate, a
   child, or an operator.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import (
    Conclude,
    Decide,
    Effect,
    Invoke,
    Remind,
    RunChild,
    TakeSlot,
    UndoChild,
    WaitFor,
    WaitUntil,
    Withdraw,
)
from ..dsl.errors import DuplicateRow, ExecutionFinished, UnknownSignal, UnknownWorkflow
from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus, Place
from ..dsl.fitting import misfit
from ..dsl.programs import DELAY
from ..dsl.states import ENDS, FINAL, State
from ..persistence.codec import encode
from ..persistence.records import TagRow
from . import clock
from .core import Letter
from .course import BEHIND, CALLED, FORK, LIMIT, MICROS, RECOVER
from .ends import RunEnds
from .steering import TERMINATED, Steering
from .withdrawals import Withdrawals

__all__ = ["ExecutionActor"]


class ExecutionActor(RunEnds):
    """Drives one run."""

    @cached_property
    def _withdrawals(self) -> Withdrawals:
        return Withdrawals(self._course, self._office, self._attempts)

    @cached_property
    def _steering(self) -> Steering:
        return Steering(self, self._course, self._office, self._attempts, self._family)

    # ---- messages

    def on_receive(self, message: msg.Message) -> Any:
        """Decide; what is returned is the caller's answer. Runs on the core."""
        course = self._course
        course.turn = self.turn
        at = getattr(message, "at", -1)
        course.now = at if at > 0 else clock.micros()
        if self.limit.is_up:
            self._expire()
        answer = self._heed(message)
        if not self.is_gone:
            self._go_on()
        course.end_turn()
        return answer

    def _heed(self, message: msg.Message) -> Any:  # noqa: C901, PLR0912 - one case a message
        if self.is_left_behind and not isinstance(message, (msg.Signalled, msg.Confirm, msg.Restore)):
            self._set_out()
        match message:
            case msg.StepCompleted():
                self._completed(message)
            case msg.StepFailed():
                self._failed(message)
            case msg.StepNoted():
                self._attempts.noted(message.key)
            case msg.Begin():
                self.turn.replaced, self.turn.freed = message.replaces, message.takes_key_of
                self._begin(message.start_at)
                return self.row.execution_id
            case msg.Confirm():
                return self.row.execution_id
            case msg.Restore():
                self.restore()
            case msg.Signalled():
                return self._signalled(message)
            case msg.Timeout():
                self._timed_out(message)
            case msg.ChildEnded():
                self._family.ended(message)
            case msg.StepInterrupted():
                self._withdrawals.interrupted(message)
            case msg.Undo():
                self._undo(message)
            case msg.SlotGiven():
                self._admit(message)
            case msg.NoSlot():
                self.slot.refused()
            case msg.TokenGiven():
                self._attempts.token_given(message)
            case msg.SetAside():
                self._quarantine(message.error)
            case _:
                postponed = isinstance(message, msg.Postpone)
                return self._postpone(message) if postponed else self._steering.heed(message)
        return None

    def undelivered(self, message: msg.Message) -> None:
        """Hear of a letter that came after the actor had left memory.

        Questions have no attempts: an answer to one that was asked before would pass for that of the one asked anew.
        """
        if isinstance(message, (msg.StepCompleted, msg.StepFailed)) and message.attempt:
            self._office.late(self.run_id, message)

    def report(self, error: BaseException, what: object) -> None:
        """Log the first crash of a row: those that follow say the same, and the quarantine is an event."""
        if not self._office.has_crashed(self.run_id):
            super().report(error, what)

    def crashed(self, error: BaseException) -> None:
        """Hear that the turn was dropped: give up what is in flight, and be restored from the store."""
        if self.is_gone:  # it had left memory before, and its turn held nothing but late letters
            return
        super().crashed(error)
        self._attempts.abandon()
        self._office.actor_crashed(self, error)

    # ---- the way forward

    def _begin(self, start_at: int | None = None) -> None:
        self._course.change_row()
        self._course.emit(ev.WorkflowStarted, input=self.row.input, encoded="input")
        if self.row.tags is not None:
            self.turn.tags = self._tags(self.row.tags)
        put_off = self._course.journal.facts.get(DELAY)  # written with the row, within a caller's transaction
        if put_off is not None and put_off.due_at is not None:
            start_at = put_off.due_at
            self._course.arm(start_at, DELAY)
        if (fork := self._course.journal.facts.get(FORK)) is not None:
            origin = self._course.journal.value(fork)
            self._course.emit(ev.WorkflowForked, source=origin["source"], step=origin["at"])
        if self.definition is not None and self.definition.pool is not None:
            self.slot.begin()
        else:
            self.limit.begin(start_at)
        if start_at is None and not self._office.backlog.has_room_for(self.row):
            self._stay_behind()
        else:
            self._start_walk(start_at)

    def _stay_behind(self) -> None:
        """Be a row, and nothing in memory, until there is room; what comes meanwhile and is no signal does not wait."""
        course = self._course
        if is_new := not course.is_behind:
            course.record(course.new_fact(Place(BEHIND, BEHIND), FactKind.CONTROL, FactStatus.WAITING))
        self.turn.acts.append(lambda: self._office.backlog.leave_behind(self.run_id, is_new=is_new))

    def _set_out(self) -> None:
        """Begin with the first node, late."""
        self._course.record(
            self._course.journal.facts[BEHIND], status=FactStatus.COMPLETED, completed_at=self._course.now
        )
        self._start_walk()

    def _tags(self, encoded: str) -> tuple[TagRow, ...]:
        """Return the rows by which the run is found by its tags: those whose names are texts."""
        tags = self._office.codec.decode(encoded)
        named = ((name, encode(value)) for name, value in tags.items() if isinstance(name, str))
        return tuple(TagRow(name, value, self.row.created_at, self.run_id) for name, value in named)

    def _postpone(self, message: msg.Postpone) -> Any:
        """Begin later and with another input; too late is for the caller to try again, with a run of its own."""
        if DELAY not in self._course.journal.facts or not self.is_put_off or self.definition is None:
            return DuplicateRow(f"run {self.row.execution_id!r} has begun meanwhile; nothing was written")
        course = self._course
        course.record(course.journal.facts[DELAY], due_at=message.start_at)
        course.arm(message.start_at, DELAY)
        self.limit.postpone(message.start_at)
        course.change_row(input=message.input)
        self.turn.inputs += ((self.run_id, message.input),)
        self._attempts.replace_input(message.input)
        return None

    def restore(self) -> None:
        """Go on from the facts, unless the run has ended or cannot be driven."""
        if self.definition is None or self.row.state in ENDS:
            return
        if self._course.walk is not None:  # it was asked for twice
            return
        if self._course.is_new:  # a child whose row was written by its parent, and nothing since
            self._begin()
            return
        self._course.keep_armed(self._course.journal.facts.get(LIMIT))
        if self.is_limited and self.definition.pool is None:
            self.slot.forgo()
        if self._course.is_behind:
            if not self._office.backlog.has_room_for(self.row):
                self._stay_behind()
                return
            self._set_out()
        else:
            self._start_walk()
        if (called := self._course.journal.facts.get(CALLED)) is not None and called.due_at is not None:
            self._course.record(called, status=FactStatus.COMPLETED, due_at=None)
        if (changed := self._changed_definition()) is not None:
            self._quarantine(changed)
        else:
            self._steering.pass_pause_on()

    def _admit(self, message: msg.SlotGiven) -> None:
        """Begin with a slot, or go on with one."""
        if not self.slot.given(asked=message.asked):
            return
        if self.limit.due is None:
            self.limit.begin()
        if (changed := self._changed_definition()) is not None:
            self._quarantine(changed)

    def _changed_definition(self) -> ErrorRecord | None:
        """Return what a walk over the recorded facts says against the registered definition, if anything."""
        course = self._course
        assert course.walk is not None
        if self.is_limited and self.slot.is_awaited:  # the walk has not come to the graph yet
            return None
        undoing = self.row.state == State.COMPENSATING and not course.halted
        return misfit(course.walk, course.journal, self.row.workflow, undoing=undoing)

    def _go_on(self) -> None:
        """Ask for what the walk owes until it rests or ends."""
        if self.limit.is_up:
            self._expire()
        course = self._course
        while course.walk is not None:
            if course.walk.fresh and (not course.paused or course.halted or self._bring_forward()):
                effect = course.walk.fresh[0]
                if self._office.closing and not isinstance(effect, Conclude):  # it belongs to what was just recorded
                    course.wake()  # a run that is said to wait is not looked at by the next start
                    return
                course.walk.fresh.pop(0)
                if course.halted:  # begin nothing more; but a child that lives has to end first
                    self._family.pass_cancel_on(effect, self._stop_for_children)
                else:
                    self._ask(effect)
            elif course.walk.ended:
                self._leave_way_back() if course.rolling_back else self._leave_forward()
            elif course.halted and not self._busy():
                self._abort()
            else:
                self._settle_state()
                return
        self._rest()

    def _bring_forward(self) -> bool:
        """Put in front what may happen though the run is paused: what belongs to a fact, or ends what was begun."""
        walk = self._course.walk
        assert walk is not None
        at = next((at for at, one in enumerate(walk.fresh) if isinstance(one, (Conclude, Withdraw))), None)
        if at is not None:
            walk.fresh.insert(0, walk.fresh.pop(at))
        return at is not None

    @property
    def _stop_for_children(self) -> msg.Cancel | msg.Terminate:
        brake = self._course.brake
        if brake is not None and brake.error is not None and brake.error.type == TERMINATED:
            return msg.Terminate(brake.error.message)
        return msg.Cancel(reason="the parent was cancelled")

    def _busy(self) -> bool:
        """Tell whether anything is in flight that has to end before the run can be undone."""
        walk = self._course.walk
        assert walk is not None
        return self.has_attempts or any(map(self._family.lives, walk.open))

    def _leave_forward(self) -> None:
        course = self._course
        assert course.walk is not None
        error = course.walk.error
        if course.halted:
            self._abort()
        elif self.row.state == State.COMPENSATING:  # a completed child that is being undone, or a restored rollback
            self._roll_back(error or self.row.error)
        elif error is not None:
            self._roll_back(error)
        else:
            self.finish(State.COMPLETED, result=course.walk.value or "null")

    # ---- asking

    def _ask(self, effect: Effect) -> None:  # noqa: C901 - one case an effect
        """Begin an effect, take it up where its fact says it stands, or end it."""
        fact = self._course.journal.answer(effect.place, effect.kind)
        self._course.keep_armed(fact)
        match effect:
            case Invoke():
                self._attempts.ask(effect, fact)
            case WaitFor():
                self._gates.ask(effect, fact)
            case Remind() if fact is None:
                self._gates.ask_reminder(effect)
            case WaitUntil() if fact is None:
                self._ask_time(effect)
            case Decide():
                self._ask_decision(effect)
            case TakeSlot():
                self.slot.ask(effect, fact)
            case RunChild():
                self._family.ask(effect, fact)
            case UndoChild():
                self._family.ask_undo(effect, fact)
            case Conclude():
                concluded = self._course.new_fact(effect.place, effect.kind, FactStatus.COMPLETED, value=effect.value)
                self._course.record(concluded, completed_at=self._course.now)
            case Withdraw():
                self._withdrawals.ask(effect)

    def _ask_decision(self, effect: Decide) -> None:
        self._course.wake()
        if effect.kind is FactKind.MAP:
            self._course.emit(ev.StepStarted, step=effect.place.name)
        self._attempts.question(effect)

    def _ask_time(self, effect: WaitUntil) -> None:
        if callable(effect.until):
            self._course.wake()
            self._attempts.question(effect)
        elif isinstance(effect.until, (int, float)):
            self._sleep_until(effect, self._course.now + round(effect.until * MICROS))
        else:
            self._sleep_until(effect, clock.to_micros(effect.until))

    def _sleep_until(self, effect: WaitUntil, due: int) -> None:
        fact = self._course.new_fact(effect.place, FactKind.SLEEP, FactStatus.WAITING, due_at=due)
        self._course.record(fact)
        self._course.arm(due, fact.key)

    # ---- answers of the crew

    def _completed(self, message: msg.StepCompleted) -> None:
        effect = self._attempts.answered(message)
        if self._course.halted and isinstance(effect, (RunChild, WaitUntil)):
            return
        match effect:
            case Invoke():
                self._attempts.succeeded(effect, message.value)
            case Decide():
                if effect.kind is FactKind.MAP:
                    self._course.emit(ev.StepCompleted, step=effect.place.name, result=message.value, encoded="result")
                fact = self._course.new_fact(effect.place, effect.kind, FactStatus.COMPLETED, value=message.value)
                self._course.settle(fact, FactStatus.COMPLETED)
            case RunChild():
                self._family.start(effect, message.value)
            case WaitUntil():
                self._sleep_until(effect, clock.to_micros(self._office.codec.decode(message.value)))

    def _failed(self, message: msg.StepFailed) -> None:
        effect = self._attempts.answered(message)
        if isinstance(effect, Invoke):
            self._attempts.failed(
                effect, message.error, retryable=message.retryable, delay=message.delay, lost=message.lost
            )
        elif effect is not None:
            if effect.kind in (FactKind.MAP, FactKind.CHILD):
                self._course.emit(ev.StepFailed, step=effect.place.name, error=message.error)
            fact = self._course.new_fact(effect.place, effect.kind, FactStatus.FAILED)
            self._course.settle(fact, FactStatus.FAILED, error=message.error)

    # ---- time

    def _timed_out(self, message: msg.Timeout) -> None:  # noqa: C901 - one case an effect
        course = self._course
        if message.key == LIMIT:
            if message.due == self.limit.due:
                self._expire()
            return
        if message.key == RECOVER:
            self._tell_again()
            return
        effect = course.walk.asks(message.key) if course.walk is not None else None
        behind = self.letters.copy()  # of which more may come at any moment
        if any(_came_in_time(letter.message, message.due) for letter in behind):
            self.core.post(self, Letter(message))  # Invariant: timestamps decide races, not the order of arrival
            return
        if message.attempt is not None:
            self._attempts.alarmed(effect, message)
            return
        fact = course.journal.facts.get(message.key)
        if effect is None or fact is None or fact.due_at != message.due or course.halted:
            return
        match effect:
            case Invoke():
                if not course.paused:
                    self._attempts.begin(effect, fact)
            case WaitFor():
                self._gates.expire(effect, fact)
            case Remind():
                self._gates.remind(effect, fact)
            case WaitUntil():
                course.emit(ev.TimerFired, name=effect.place.name)
                course.settle(fact, FactStatus.COMPLETED)

    # ---- what callers ask for

    def _signalled(self, message: msg.Signalled) -> Any:
        if self._gates.knows(message.dedup_key):
            return None
        state = State(self.row.state)
        if state in FINAL or state is State.COMPENSATING or self._course.halted:
            return ExecutionFinished(self.row.execution_id, state, f"take the signal {message.event!r}")
        known = self.definition.events if self.definition is not None else None
        if message.strict and known is not None and message.event not in known:
            return UnknownSignal(self.row.workflow, message.event, known)
        if self.definition is None:  # whoever can drive the run has to look at it
            self._course.wake()
        self._gates.accept(message)
        return None

    def _expire(self) -> None:
        """Stop the run: its time is up."""
        if (stop := self.limit.expire()) is not None:
            assert stop.error is not None
            self.halt(stop, msg.Cancel(stop.value == "true", stop.error.message))

    def halt(self, stop: Fact, message: msg.Cancel | msg.Terminate) -> None:
        """Record why the run goes no further, and stop what is in flight; nobody waits for an operator any longer."""
        course = self._course
        course.record(stop)
        self._attempts.cancel()
        self._family.cancel(message)
        assert course.walk is not None
        for effect in course.walk.open:
            fact = course.journal.answer(effect.place, effect.kind)
            if fact is not None and fact.status is FactStatus.PARKED:
                course.settle(fact, FactStatus.FAILED)

    def leave_quarantine(self) -> Any:
        """Give a run that was set aside another chance."""
        if self.definition is None:
            return UnknownWorkflow(self.row.workflow, self._office.definitions.names())
        rolling_back = any(fact.kind is FactKind.UNDO for fact in self._course.journal.facts.values())
        state = State.COMPENSATING if rolling_back else State.RUNNING
        self._course.change_row(state=state, error=None, adoptions=0, finished_at=None)
        self._course.emit(ev.WorkflowResumed)
        if self.is_limited and not rolling_back:
            self.slot.again()
        self._course.start_over()
        self.restore()
        return None

    # ---- rest

    def _settle_state(self) -> None:
        """Name what the run is doing, and leave memory if it only waits."""
        if self.has_attempts:
            return
        course = self._course
        if not course.rolling_back and self.row.state == State.RUNNING and self._only_waits():
            course.change_row(state=State.WAITING)
            course.emit(ev.WorkflowWaiting, waiting_for=tuple(self._gates.waiting_for()))
        if self.row.adoptions:  # nothing of the user's is in flight: it was not this run that killed the process
            course.change_row(adoptions=0)
        self._rest()

    def _only_waits(self) -> bool:
        assert self._course.walk is not None
        waits = self._course.walk.open
        return bool(waits) and all(map(self._waits, waits))

    def _waits(self, effect: Effect) -> bool:
        """Tell whether it takes time, a signal or an operator to make this go on."""
        if isinstance(effect, (WaitFor, Remind, WaitUntil)):
            return True
        fact = self._course.journal.facts.get(effect.place.key)
        if fact is not None and fact.status is FactStatus.WAITING:  # for a slot, or for the time of its token
            return isinstance(effect, TakeSlot) or fact.due_at is not None
        parked = fact is not None and fact.status is FactStatus.PARKED
        return parked or (self._course.paused and not self._family.lives(effect))

    @property
    def may_rest(self) -> bool:
        """Whether only a signal or a time will wake it: all else that it waits for is asked for anew by a restore."""
        course = self._course
        if course.walk is None or course.paused or self.row.state != State.WAITING:
            return False
        return all(isinstance(effect, (WaitFor, Remind, WaitUntil)) for effect in course.walk.open)

    def _rest(self) -> None:
        self.turn.acts.append(lambda: self._office.rest(self))


def _came_in_time(message: msg.Message, due: int) -> bool:
    """Tell whether this, which stands behind a timer that was due then, may be what the timer ends the wait for."""
    if isinstance(message, msg.Signalled):
        return (message.accepted_at or message.at) <= due
    return isinstance(message, (msg.StepCompleted, msg.StepFailed)) and message.at <= due
