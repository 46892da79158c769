"""The execution actor: one run, walking its graph one message at a time.

A turn is four verbs, the same for every message. This file is the first: it *decides*, and puts what is to be
remembered, told and done into the turn; the core does the rest in that order.

Rules:

1. A message changes facts; facts move the walk; the walk asks for effects; `_ask` begins each by recording a fact.
2. To start and to restore are one act: walk until the facts end, then ask for what is owed. What differs is only the
   fact that an effect finds when it is asked for.
3. An answer nobody waits for is dropped without harm.
4. Invariant: every unfinished run has something that will wake it: a handler in flight, a timer row, an open gate, a
   child, or an operator.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.context import RunFacts
from ..dsl.effects import Decide, Effect, Invoke, RunChild, UndoChild, WaitFor, WaitUntil
from ..dsl.errors import (
    ExecutionFinished,
    IllegalTransition,
    SignalTimeout,
    StepInterrupted,
    StepTimeout,
    UnknownSignal,
    WorkflowTimeout,
)
from ..dsl.facts import UNDO, ErrorRecord, Fact, FactKind, FactStatus, Place
from ..dsl.journal import Journal, ValueReader
from ..dsl.programs import DELAY, after, roll_back
from ..dsl.scope import Scope
from ..dsl.states import FINAL, State
from ..dsl.walk import Walk
from ..persistence.codec import encode
from ..persistence.records import ExecutionRow, SignalRow, Stored
from . import clock
from .bus import Notice
from .core import CoreActor
from .crew import Attempt, error_record
from .results import step_results

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor

__all__ = ["ExecutionActor"]

_MICROS = 1_000_000
_CANCEL = "__cancel"
_LIMIT = "__timeout"
"""Key of the fact that holds the run's deadline; failed once it has passed."""


class ExecutionActor(CoreActor):
    """Drives one run.

    Attributes:
        row: The run's row as it will be after this turn.
        definition: The graph it walks, or None when its workflow is not registered: then it only takes signals in.
    """

    def __init__(self, office: Supervisor, stored: Stored, definition: Definition | None) -> None:
        super().__init__(office.core)
        self.run_id = stored.execution.id
        self.row = stored.execution
        self.definition = definition
        self._office = office
        self._journal = Journal(office.codec, stored.facts)
        self._scope = Scope(self._journal)
        self._walk: Walk | None = None
        self._rolling_back = False
        self._attempts: dict[str, Attempt] = {}
        self._signals = [signal for signal in stored.signals if signal.taken_by is None]
        self._dedup = {signal.dedup_key for signal in stored.signals if signal.dedup_key is not None}
        facts = stored.facts
        self._order = max((fact.order for fact in facts), default=0)
        self._sequence = max(self.row.sequence, max((fact.sequence for fact in facts), default=0))
        limit = self._journal.facts.get(_LIMIT)
        self._deadline = None if limit is None else limit.due_at
        self._recorded = self._sequence
        self._now = 0
        self._run_facts = RunFacts(self.row.execution_id, self.row.workflow, self.row.input, office.logger_for)

    def __str__(self) -> str:
        """Name the run."""
        return f"{self.row.workflow} {self.row.execution_id}"

    @property
    def has_attempts(self) -> bool:
        """Whether user code is in flight for this run."""
        return bool(self._attempts)

    # ---- messages

    def on_receive(self, message: msg.Message) -> Any:  # noqa: C901, PLR0912 - one case a message
        """Decide; what is returned is the caller's answer. Runs on the core."""
        self._now = getattr(message, "at", 0) or clock.micros()
        answer: Any = None
        self._check_deadline()
        match message:
            case msg.StepCompleted():
                self._completed(message)
            case msg.StepFailed():
                self._failed(message)
            case msg.Begin():
                self._begin(message.start_at)
                answer = self.row.execution_id
            case msg.Restore():
                self._restore()
            case msg.Signalled():
                answer = self._signalled(message)
            case msg.Timeout():
                self._timed_out(message)
            case msg.ChildEnded():
                self._child_ended(message)
            case msg.StepInterrupted():
                self._interrupted(message)
            case msg.Cancel():
                answer = self._cancel(message)
            case msg.Undo():
                self._undo(message)
            case msg.SetAside():
                self._quarantine(message.error)
            case msg.Resume():
                answer = self._resume()
        if not self.actor_stopped.is_set():
            self._go_on()
        if self.turn.row is not None or self._sequence != self._recorded:
            self._record_sequence()
        return answer

    def undelivered(self, message: msg.Message) -> None:
        """Hear of a letter that came after the actor had left memory."""
        if isinstance(message, (msg.StepCompleted, msg.StepFailed)):
            self._office.late(self.run_id, message)

    def crashed(self, error: BaseException) -> None:
        """Hear that the turn was dropped: give up what is in flight, and be restored from the store."""
        super().crashed(error)
        for attempt in self._attempts.values():
            self._office.crew.abandon(attempt)
        self._office.actor_crashed(self, error)

    # ---- the life of a run

    def _begin(self, start_at: int | None = None) -> None:
        self._change_row()
        self._emit(ev.WorkflowStarted, input=self.row.input, encoded="input")
        self._set_deadline(start_at)
        self._start_walk(start_at)

    def _set_deadline(self, start_at: int | None) -> None:
        assert self.definition is not None
        if self.definition.timeout is None:
            return
        due = self._deadline = max(self._now, start_at or 0) + round(self.definition.timeout * _MICROS)
        self._record(self._new_fact(Place(_LIMIT, _LIMIT), FactKind.CONTROL, FactStatus.RUNNING, due_at=due))
        self._act_arm(due, _LIMIT)

    def _restore(self) -> None:
        if self.definition is None or self.row.state in FINAL or self.row.state == State.QUARANTINED:
            return
        if self._sequence == 0:  # a child whose row was written by its parent, and nothing since
            self._begin()
            return
        self._start_walk()
        if (changed := self._changed_definition()) is not None:
            self._quarantine(changed)

    def _changed_definition(self) -> ErrorRecord | None:
        """Return what a walk over the recorded facts says against the registered definition, if anything."""
        assert self._walk is not None
        stray = self._walk.stray or self._journal.stray(_belongs_to_the_way_back)
        leads_on = ", ".join(repr(effect.place.name) for effect in self._walk.open)
        goes_on = f"it would go on at {leads_on}" if leads_on else "it would end"
        if stray is not None:
            why = f"{stray.name!r} was recorded, but the definition does not lead there ({goes_on})"
        elif self.row.state == State.COMPENSATING and leads_on and not self._halted:
            why = f"the run has failed and is being undone, but by the definition {goes_on}"
        else:
            return None
        return ErrorRecord(
            "perdure.DefinitionChanged",
            f"the registered definition of {self.row.workflow!r} does not fit what this run has recorded: {why}. "
            "Register the definition the run began with, under its version, and resume the run.",
            stray.name if stray is not None else None,
        )

    def _start_walk(self, start_at: int | None = None) -> None:
        assert self.definition is not None
        walker = self.definition.body.walk(self._scope)
        if start_at is not None or DELAY in self._journal.facts:
            walker = after(clock.from_micros(start_at or 0), walker, self._scope)
        self._walk = Walk(walker, self._journal)

    def _go_on(self) -> None:
        """Ask for what the walk owes until it rests or ends."""
        self._check_deadline()
        while self._walk is not None:
            if self._walk.fresh:
                if self._office.closing:
                    return
                effect = self._walk.fresh.pop(0)
                self._drop_ask(effect) if self._halted else self._ask(effect)
            elif self._walk.ended:
                self._leave_way_back() if self._rolling_back else self._leave_forward()
            elif self._halted and not self._busy():
                self._abort()
            else:
                self._settle_state()
                return
        self._rest()

    def _drop_ask(self, effect: Effect) -> None:
        """Begin nothing more in a run that is being cancelled; but a child that lives has to end first."""
        if isinstance(effect, RunChild) and self._journal.answer(effect.place, effect.kind) is not None:
            self.turn.acts.append(lambda: self._office.check_child(self.run_id, effect.place.key, cancel=True))

    @property
    def _halted(self) -> bool:
        return not self._rolling_back and self._brake is not None

    @property
    def _brake(self) -> Fact | None:
        """The fact for which the run goes no further: it was cancelled, or its deadline has passed."""
        facts = self._journal.facts
        limit = facts.get(_LIMIT)
        return facts.get(_CANCEL) or (limit if limit is not None and limit.status is FactStatus.FAILED else None)

    def _busy(self) -> bool:
        """Tell whether anything is in flight that has to end before the run can be undone."""
        assert self._walk is not None
        return bool(self._attempts) or any(
            isinstance(effect, RunChild) and self._journal.answer(effect.place, effect.kind) is not None
            for effect in self._walk.open
        )

    def _leave_forward(self) -> None:
        assert self._walk is not None
        error = self._walk.error
        if self._halted:
            self._abort()
        elif self.row.state == State.COMPENSATING:  # a completed child that is being undone, or a restored rollback
            self._roll_back(error or self.row.error)
        elif error is not None:
            self._roll_back(error)
        else:
            self._finish(State.COMPLETED, result=self._walk.value or "null")

    def _abort(self) -> None:
        """Stop going forward, where a cancelled or belated run stands; nothing is in flight any longer."""
        assert self._walk is not None
        stop = self._brake
        assert stop is not None
        for effect in self._walk.open:
            fact = self._journal.answer(effect.place, effect.kind)
            if fact is not None and fact.due_at is not None:
                self._record(fact, due_at=None)
                self._act_disarm(fact.key)
        self._walk.close()
        self._roll_back(stop.error, compensate=stop.value == "true")

    def _roll_back(self, error: ErrorRecord | None, *, compensate: bool = True) -> None:
        self._drop_deadline()
        debts = self._scope.debts() if compensate else []
        if not debts:
            self._finish(self._bad_end, error=error, rollback="none")
            return
        if self.row.state != State.COMPENSATING:
            self._change_row(state=State.COMPENSATING, error=error)
            self._emit(ev.WorkflowCompensating, error=error)
        self._rolling_back = True
        self._walk = Walk(roll_back(debts), self._journal)

    @property
    def _bad_end(self) -> State:
        return State.CANCELLED if _CANCEL in self._journal.facts else State.FAILED

    def _leave_way_back(self) -> None:
        assert self._walk is not None
        self._finish(self._bad_end, error=self.row.error, rollback=self._walk.value)

    def _finish(
        self, state: State, *, result: str | None = None, error: ErrorRecord | None = None, rollback: str | None = None
    ) -> None:
        undone = self.row.finished_at is not None
        self._walk = None
        self._drop_deadline()
        self._change_row(state=state, result=result, error=error, rollback=rollback, finished_at=self._now)
        match state:
            case State.COMPLETED:
                self._emit(ev.WorkflowCompleted, result=result, encoded="result")
            case State.CANCELLED:
                self._emit(ev.WorkflowCancelled, rollback=rollback)
            case _:
                self._emit(ev.WorkflowFailed, error=error, rollback=rollback)
        self._announce_end()
        if self.row.parent_id is not None and self.row.parent_key is not None:
            self._tell_parent(self.row.parent_id, undone=undone)

    def _tell_parent(self, parent: int, *, undone: bool) -> None:
        key = f"{UNDO}{self.row.parent_key}" if undone else str(self.row.parent_key)
        ended = child_ended(key, self.row, list(self._journal.facts.values()), self._office.codec)
        self.turn.acts.append(lambda: self._office.deliver(parent, ended))

    def _quarantine(self, error: ErrorRecord) -> None:
        self._walk = None
        self._change_row(state=State.QUARANTINED, error=error)
        self._emit(ev.WorkflowQuarantined, error=error)
        self._announce_end()

    def _announce_end(self) -> None:
        row = self.row
        fields = {"row": row}
        self.turn.notices.append(Notice(None, row.execution_id, row.workflow, self._now, self._sequence, fields))

    def _settle_state(self) -> None:
        """Name what the run is doing, and leave memory if it only waits."""
        assert self._walk is not None
        if not self._rolling_back and self.row.state == State.RUNNING and self._only_waits():
            self._change_row(state=State.WAITING)
            self._emit(ev.WorkflowWaiting, waiting_for=tuple(self._waiting_for()))
        if not self._attempts:
            self._rest()

    def _only_waits(self) -> bool:
        assert self._walk is not None
        waits = self._walk.open
        return bool(waits) and not self._attempts and all(isinstance(effect, (WaitFor, WaitUntil)) for effect in waits)

    def _waiting_for(self) -> list[ev.WaitingFor]:
        assert self._walk is not None
        waits = []
        for effect in self._walk.open:
            fact = self._journal.facts[effect.place.key]
            event = effect.signal.name if isinstance(effect, WaitFor) else None
            due = None if fact.due_at is None else clock.from_micros(fact.due_at)
            waits.append(ev.WaitingFor(fact.name, event, clock.from_micros(fact.started_at), due))
        return waits

    def _stop_waiting(self) -> None:
        if self.row.state == State.WAITING:
            self._change_row(state=State.RUNNING)
            self._emit(ev.WorkflowResumed)

    def _rest(self) -> None:
        self.turn.acts.append(lambda: self._office.rest(self))

    # ---- asking

    def _ask(self, effect: Effect) -> None:
        """Begin an effect, or take it up where its fact says it stands."""
        fact = self._journal.answer(effect.place, effect.kind)
        match effect:
            case Invoke():
                self._ask_handler(effect, fact)
            case WaitFor():
                self._ask_signal(effect, fact)
            case WaitUntil() if fact is None:
                self._ask_time(effect)
            case Decide():
                self._ask_decision(effect)
            case RunChild() if fact is not None:
                self.turn.acts.append(lambda: self._office.check_child(self.run_id, effect.place.key))
            case RunChild():
                self._ask_child(effect)
            case UndoChild():
                self._ask_undo_child(effect, fact)

    def _ask_handler(self, effect: Invoke, fact: Fact | None) -> None:
        if fact is None:
            self._attempt(effect, self._new_fact(effect.place, effect.kind, FactStatus.RUNNING))
        elif fact.status is FactStatus.RUNNING:  # a crash or shutdown cut this attempt short
            fact = fact._replace(interruptions=fact.interruptions + 1)
            if effect.policy.on_interrupted == "fail" and effect.kind is FactKind.STEP:
                error = StepInterrupted(
                    f"step {effect.place.name!r} was interrupted in attempt {fact.attempts} and must not be repeated"
                )
                self._give_up(effect, fact, error_record(error, effect.place.name))
            else:
                self._attempt(effect, fact)

    def _attempt(self, effect: Invoke, fact: Fact) -> None:
        self._stop_waiting()
        number = fact.attempts + 1
        attempt = self._new_attempt(effect, number)
        started: type[ev.Event] = ev.StepStarted
        fields: dict[str, Any] = {"step": effect.place.name, "attempt": number}
        if effect.kind is FactKind.UNDO:
            started = ev.CompensationStarted
        else:
            fields["max_attempts"] = effect.policy.retry.attempts
        self._emit(started, **fields)
        self._record(fact, status=FactStatus.RUNNING, attempts=number, due_at=None)
        self.turn.acts.append(lambda: self._office.crew.run(attempt))
        if effect.policy.timeout is not None:
            due = self._now + round(effect.policy.timeout * _MICROS)
            self._act_arm(due, fact.key, attempt=number)

    def _new_attempt(self, effect: Any, number: int) -> Attempt:
        failure = self.row.error if effect.kind is FactKind.UNDO else None
        attempt = Attempt(self.run_id, effect, number, self._run_facts, self, failure)
        self._attempts[effect.place.key] = attempt
        return attempt

    def _ask_decision(self, effect: Decide) -> None:
        self._stop_waiting()
        if effect.kind is FactKind.MAP:
            self._emit(ev.StepStarted, step=effect.place.name)
        self._ask_crew(effect)

    def _ask_crew(self, effect: Decide | RunChild | WaitUntil) -> None:
        attempt = Attempt(self.run_id, effect, 0, self._run_facts, self)
        self._attempts[effect.place.key] = attempt
        self.turn.acts.append(lambda: self._office.crew.ask(attempt))

    def _ask_signal(self, effect: WaitFor, fact: Fact | None) -> None:
        if fact is None:
            due = None if effect.timeout is None else self._now + round(effect.timeout * _MICROS)
            # The key does not tell the event: names may hold what marks items and second gates.
            event = encode(effect.signal.name)
            fact = self._new_fact(effect.place, FactKind.GATE, FactStatus.WAITING, value=event, due_at=due)
            if not self._take_signal(effect, fact):
                if effect.timeout == 0:
                    self._expire_gate(effect, fact)
                    return
                self._record(fact)
                if due is not None:
                    self._act_arm(due, fact.key)
        else:
            self._take_signal(effect, fact)

    def _ask_time(self, effect: WaitUntil) -> None:
        if callable(effect.until):
            self._stop_waiting()
            self._ask_crew(effect)
        elif isinstance(effect.until, (int, float)):
            self._sleep_until(effect, self._now + round(effect.until * _MICROS))
        else:
            self._sleep_until(effect, clock.to_micros(effect.until))

    def _sleep_until(self, effect: WaitUntil, due: int) -> None:
        fact = self._new_fact(effect.place, FactKind.SLEEP, FactStatus.WAITING, due_at=due)
        self._record(fact)
        self._act_arm(due, fact.key)

    def _ask_child(self, effect: RunChild) -> None:
        self._stop_waiting()
        self._emit(ev.StepStarted, step=effect.place.name)
        if effect.mapper is not None:
            self._ask_crew(effect)
        else:
            self._start_child(effect, "null")

    def _start_child(self, effect: RunChild, encoded_input: str) -> None:
        fact = self._new_fact(effect.place, FactKind.CHILD, FactStatus.RUNNING)
        try:
            child = self._office.new_child(self, effect, encoded_input)
        except Exception as error:  # noqa: BLE001 - the child's workflow is unknown: the node's failure, not ours
            self._settle(fact, FactStatus.FAILED, error=error_record(error, effect.place.name))
            return
        self._record(fact)
        self.turn.rows.append(child)
        self.turn.acts.append(lambda: self._office.begin(child))

    def _ask_undo_child(self, effect: UndoChild, fact: Fact | None) -> None:
        if fact is None:
            self._emit(ev.CompensationStarted, step=effect.place.name)
            self._record(self._new_fact(effect.place, FactKind.UNDO, FactStatus.RUNNING))
        self.turn.acts.append(lambda: self._office.undo_child(self.run_id, effect.child.key))

    # ---- answers of the crew

    def _attempt_of(self, message: msg.StepCompleted | msg.StepFailed | msg.StepInterrupted) -> Attempt | None:
        """Return the attempt a message is about, if it is in flight: not an earlier one, nor one of an earlier turn."""
        attempt = self._attempts.get(message.key)
        if attempt is None or (attempt.number, attempt.effect.place.turn) != (message.attempt, message.turn):
            return None
        return attempt

    def _answered(self, message: msg.StepCompleted | msg.StepFailed) -> Any:
        """Return the effect this is the answer to; an answer nobody waits for is only told of."""
        attempt = self._attempt_of(message)
        effect = self._walk.asks(message.key) if self._walk is not None else None
        if attempt is None or effect is None:
            self._emit(ev.StepLate, step=_display(message.key), attempt=message.attempt)
            return None
        if isinstance(effect, Invoke) and effect.policy.timeout is not None:
            limit = round(effect.policy.timeout * _MICROS)
            if attempt.began is not None and message.at > attempt.began + limit:
                self._attempt_timed_out(effect)
                return None
            self._act_disarm(message.key)
        del self._attempts[message.key]
        return effect

    def _completed(self, message: msg.StepCompleted) -> None:
        effect = self._answered(message)
        if self._halted and isinstance(effect, (RunChild, WaitUntil)):
            return
        match effect:
            case Invoke():
                fact = self._journal.facts[message.key]
                self._told_completed(effect, fact, message.value)
                self._settle(fact, FactStatus.COMPLETED, value=message.value, error=None)
            case Decide():
                if effect.kind is FactKind.MAP:
                    self._emit(ev.StepCompleted, step=effect.place.name, result=message.value, encoded="result")
                fact = self._new_fact(effect.place, effect.kind, FactStatus.COMPLETED, value=message.value)
                self._settle(fact, FactStatus.COMPLETED)
            case RunChild():
                self._start_child(effect, message.value)
            case WaitUntil():
                self._sleep_until(effect, clock.to_micros(self._office.codec.decode(message.value)))

    def _interrupted(self, message: msg.StepInterrupted) -> None:
        """Leave an attempt that began as it stands, for the next start to find; take back one that did not."""
        attempt = self._attempt_of(message)
        if attempt is None:
            return
        del self._attempts[message.key]
        fact = self._journal.facts.get(message.key)
        if isinstance(attempt.effect, Invoke) and fact is not None and not message.began:
            status = FactStatus.RETRYING
            self._record(fact, status=status, attempts=fact.attempts - 1, due_at=self._now)

    def _told_completed(self, effect: Invoke, fact: Fact, result: str) -> None:
        if effect.kind is FactKind.UNDO:
            self._emit(ev.CompensationCompleted, step=effect.place.name, attempt=fact.attempts)
        else:
            self._emit(
                ev.StepCompleted,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=effect.policy.retry.attempts,
                result=result,
                encoded="result",
            )

    def _failed(self, message: msg.StepFailed) -> None:
        effect = self._answered(message)
        if isinstance(effect, Invoke):
            self._attempt_failed(effect, message.error, retryable=message.retryable, delay=message.delay)
        elif effect is not None:
            if effect.kind in (FactKind.MAP, FactKind.CHILD):
                self._emit(ev.StepFailed, step=effect.place.name, error=message.error)
            fact = self._new_fact(effect.place, effect.kind, FactStatus.FAILED)
            self._settle(fact, FactStatus.FAILED, error=message.error)

    def _attempt_failed(
        self, effect: Invoke, error: ErrorRecord, *, retryable: bool = True, delay: float | None = None
    ) -> None:
        fact = self._journal.facts[effect.place.key]
        failures = fact.attempts - fact.interruptions
        retry = effect.policy.retry
        if not retryable or failures >= retry.attempts or self._halted:
            self._give_up(effect, fact, error)
            return
        if delay is None:
            delay = retry.delay(failures, self._chance(fact))
        due = self._now + round(delay * _MICROS)
        if effect.kind is FactKind.STEP:
            self._emit(
                ev.StepRetry,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=retry.attempts,
                error=error,
                next_attempt_at=clock.from_micros(due),
            )
        self._record(fact, status=FactStatus.RETRYING, error=error, due_at=due)
        self._act_arm(due, fact.key)

    def _chance(self, fact: Fact) -> float:
        """Draw the jitter: from the engine's seed and the attempt, so that no order of events changes it."""
        seed = f"{self._office.seed}:{self.row.execution_id}:{fact.key}:{fact.turn}:{fact.attempts}"
        return random.Random(seed).random()  # noqa: S311 - jitter is no secret

    def _give_up(self, effect: Invoke, fact: Fact, error: ErrorRecord) -> None:
        if effect.kind is FactKind.UNDO:
            self._emit(ev.CompensationFailed, step=effect.place.name, attempt=fact.attempts, error=error)
        else:
            self._emit(
                ev.StepFailed,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=effect.policy.retry.attempts,
                error=error,
            )
        self._settle(fact, FactStatus.FAILED, value=None, error=error)

    # ---- time

    def _timed_out(self, message: msg.Timeout) -> None:
        if message.key == _LIMIT:
            if message.due == self._deadline:
                self._expire()
            return
        effect = self._walk.asks(message.key) if self._walk is not None else None
        if message.attempt is not None:
            self._limit_reached(effect, message)
            return
        fact = self._journal.facts.get(message.key)
        if effect is None or fact is None or fact.due_at != message.due or self._halted:
            return
        match effect:
            case Invoke():
                self._attempt(effect, fact)
            case WaitFor():
                self._expire_gate(effect, fact)
            case WaitUntil():
                self._emit(ev.TimerFired, name=effect.place.name)
                self._settle(fact, FactStatus.COMPLETED)

    def _limit_reached(self, effect: Effect | None, message: msg.Timeout) -> None:
        attempt = self._attempts.get(message.key)
        if not isinstance(effect, Invoke) or attempt is None or attempt.number != message.attempt:
            return
        limit = round((effect.policy.timeout or 0) * _MICROS)
        due = (self._now if attempt.began is None else attempt.began) + limit
        if due > self._now:  # it queued before it began: the limit is for the handler, not for the queue
            self._act_arm(due, message.key, attempt=message.attempt)
            return
        self._attempt_timed_out(effect)

    def _attempt_timed_out(self, effect: Invoke) -> None:
        attempt = self._attempts.pop(effect.place.key)
        self.turn.acts.append(lambda: self._office.crew.abandon(attempt))
        self._emit(ev.StepTimedOut, step=effect.place.name, attempt=attempt.number)
        error = StepTimeout(effect.place.name, effect.policy.timeout or 0)
        retryable = effect.policy.retry.allows(error)
        self._attempt_failed(effect, error_record(error, effect.place.name), retryable=retryable)

    def _check_deadline(self) -> None:
        # Invariant: timestamps decide races, not arrival. The timer may be late, or have fired while nobody could act.
        if self._deadline is not None and self._now > self._deadline:
            self._expire()

    def _expire(self) -> None:
        """Stop the run as a whole, as a cancel does; but it ends as failed."""
        if self._walk is None or self._halted or self.definition is None:
            return
        fact = self._journal.facts[_LIMIT]
        error = error_record(WorkflowTimeout(self.row.workflow, self.definition.timeout or 0))
        self._drop_deadline()
        self._halt(fact._replace(status=FactStatus.FAILED, value="true", due_at=None, error=error), error.message)

    def _drop_deadline(self) -> None:
        """Forget the deadline: the run has ended, or is being undone."""
        if self._deadline is not None:
            self._deadline = None
            self._act_disarm(_LIMIT)
            self._record(self._journal.facts[_LIMIT]._replace(status=FactStatus.COMPLETED, due_at=None))

    def _expire_gate(self, effect: WaitFor, fact: Fact) -> None:
        self._emit(ev.SignalTimedOut, event=effect.signal.name)
        error = error_record(SignalTimeout(effect.signal.name, effect.timeout or 0), fact.name)
        self._settle(fact, FactStatus.FAILED, value=None, error=error)

    # ---- signals

    def _signalled(self, message: msg.Signalled) -> Any:
        if message.dedup_key is not None and message.dedup_key in self._dedup:
            return None
        state = State(self.row.state)
        if state in FINAL or state is State.COMPENSATING or self._halted:
            return ExecutionFinished(self.row.execution_id, state, f"take the signal {message.event!r}")
        known = self.definition.events if self.definition is not None else None
        if message.strict and known is not None and message.event not in known:
            return UnknownSignal(self.row.workflow, message.event, known)
        signal = SignalRow(
            self._office.new_id(), self.run_id, message.event, message.payload, self._now, message.dedup_key
        )
        if message.dedup_key is not None:
            self._dedup.add(message.dedup_key)
        self._signals.append(signal)
        self.turn.signals[signal.id] = signal
        self._emit(ev.SignalReceived, event=message.event, payload=message.payload, encoded="payload")
        self._change_row()  # the event's number must not come again after a restart
        for effect in self._walk.open if self._walk is not None else ():
            if isinstance(effect, WaitFor) and effect.signal.name == message.event:
                fact = self._journal.answer(effect.place, effect.kind)
                if fact is not None and not fact.settled and self._take_signal(effect, fact):
                    break
        return None

    def _take_signal(self, effect: WaitFor, gate: Fact) -> bool:
        """Open a gate with the oldest signal of its name; one that came after the deadline closes it instead."""
        signal = next((signal for signal in self._signals if signal.event == effect.signal.name), None)
        if signal is None:
            return False
        if gate.due_at is not None and signal.accepted_at > gate.due_at:
            self._expire_gate(effect, gate)
            return True
        self._signals.remove(signal)
        self.turn.signals[signal.id] = signal._replace(taken_by=gate.key)
        self._settle(gate, FactStatus.COMPLETED, value=signal.payload)
        return True

    # ---- children and control

    def _child_ended(self, message: msg.ChildEnded) -> None:
        effect = self._walk.asks(message.key) if self._walk is not None else None
        fact = self._journal.facts.get(message.key)
        if fact is None or fact.settled:
            return
        match effect:
            case RunChild() if message.state == State.COMPLETED:
                self._emit(ev.StepCompleted, step=effect.place.name, result=message.value, encoded="result")
                self._settle(fact, FactStatus.COMPLETED, value=message.value)
            case RunChild():
                why = f": {message.error.message}" if message.error else ""
                text = f"sub-workflow {effect.workflow!r} {message.state}{why}"
                causes = (message.error,) if message.error else ()
                error = ErrorRecord("perdure.ChildFailed", text, fact.name, causes=causes)
                self._emit(ev.StepFailed, step=effect.place.name, error=error)
                self._settle(fact, FactStatus.FAILED, error=error)
            case UndoChild() if message.error is None:
                self._emit(ev.CompensationCompleted, step=effect.place.name)
                self._settle(fact, FactStatus.COMPLETED)
            case UndoChild():
                self._emit(ev.CompensationFailed, step=effect.place.name, error=message.error)
                self._settle(fact, FactStatus.FAILED, error=message.error)

    def _cancel(self, message: msg.Cancel) -> Any:
        state = State(self.row.state)
        if self._walk is None or state in FINAL or state in (State.COMPENSATING, State.QUARANTINED):
            legal = (State.RUNNING, State.WAITING)
            return IllegalTransition(self.row.execution_id, state, "cancel", legal)
        if self._halted:
            return None
        error = ErrorRecord("perdure.WorkflowCancelled", message.reason)
        fact = self._new_fact(Place(_CANCEL, _CANCEL), FactKind.CONTROL, FactStatus.COMPLETED)
        self._halt(fact._replace(value="true" if message.compensate else "false", error=error), message.reason)
        return None

    def _halt(self, stop: Fact, reason: str) -> None:
        """Record why the run goes no further, and stop what is in flight."""
        assert self._walk is not None
        self._record(stop)
        message = msg.Cancel(stop.value == "true", reason)
        for attempt in self._attempts.values():
            self.turn.acts.append(lambda attempt=attempt: self._office.crew.cancel(attempt))  # type: ignore[misc]
        for effect in self._walk.open:
            if isinstance(effect, RunChild) and self._journal.answer(effect.place, effect.kind) is not None:
                key = effect.place.key
                self.turn.acts.append(lambda key=key: self._office.cancel_child(self.run_id, key, message))  # type: ignore[misc]

    def _undo(self, message: msg.Undo) -> None:
        """Undo a completed run, because its parent failed; an answer is owed in every case."""
        parent = self.row.parent_id
        assert parent is not None
        if self.row.state == State.COMPLETED and self.definition is not None:
            error = ErrorRecord("perdure.WorkflowCancelled", "the parent failed")
            self._start_walk()
            if self._scope.debts():
                cancel = self._new_fact(Place(_CANCEL, _CANCEL), FactKind.CONTROL, FactStatus.COMPLETED)
                self._record(cancel, value="true", error=error)
                self._roll_back(error)
                return
            self._walk = None
        if self.row.state != State.COMPENSATING:
            key = f"{UNDO}{message.parent_key}"
            ended = msg.ChildEnded(key, self.row.state, error=undo_error(self.row, known=self.definition is not None))
            self.turn.acts.append(lambda: self._office.deliver(parent, ended))

    def _resume(self) -> Any:
        if self.row.state != State.QUARANTINED:
            return IllegalTransition(self.row.execution_id, self.row.state, "resume", (State.QUARANTINED,))
        rolling_back = any(fact.kind is FactKind.UNDO for fact in self._journal.facts.values())
        self._change_row(
            state=State.COMPENSATING if rolling_back else State.RUNNING, error=None, adoptions=0, finished_at=None
        )
        self._emit(ev.WorkflowResumed)
        self._restore()
        return None

    # ---- recording and telling

    def _new_fact(
        self, place: Place, kind: FactKind, status: FactStatus, *, value: str | None = None, due_at: int | None = None
    ) -> Fact:
        self._order += 1
        return Fact(place.key, kind, status, place.turn, self._order, value=value, started_at=self._now, due_at=due_at)

    def _record(self, fact: Fact, **changes: Any) -> None:
        fact = fact._replace(sequence=self._sequence, **changes)
        self._recorded = self._sequence
        for each in self._journal.enter(fact):
            self.turn.facts[each.key] = each
        if self.row.adoptions and fact.settled:
            self._change_row(adoptions=0)

    def _settle(self, fact: Fact, status: FactStatus, **changes: Any) -> None:
        """Record the outcome and let the walk go on with it."""
        assert self._walk is not None
        if fact.due_at is not None:
            self._act_disarm(fact.key)
        self._record(fact, status=status, due_at=None, completed_at=self._now, **changes)
        self._walk.resume(self._journal.facts[fact.key])

    def _change_row(self, **changes: Any) -> None:
        self.row = self.row._replace(updated_at=self._now, **changes)
        self.turn.row = self.row

    def _emit(self, event: type[ev.Event], /, *, encoded: str | None = None, **fields: Any) -> None:
        self._sequence += 1
        if not self.core.bus.silent:
            row = self.row
            notice = Notice(event, row.execution_id, row.workflow, self._now, self._sequence, fields, encoded)
            self.turn.notices.append(notice)

    def _record_sequence(self) -> None:
        """Put the number of the last event on what is recorded anyway, or on the run's row.

        Invariant: an event's number is on disk with the turn that told of it, so that it never comes again.
        """
        self._recorded = self._sequence
        if self.turn.row is None and self.turn.facts:
            key, fact = self.turn.facts.popitem()
            self._journal.facts[key] = self.turn.facts[key] = fact._replace(sequence=self._sequence)
        else:
            self.row = self.turn.row = self.row._replace(sequence=self._sequence)

    def _act_arm(self, due: int, key: str, *, attempt: int | None = None) -> None:
        self.turn.acts.append(lambda: self._office.timekeeper.arm(due, self.run_id, key, attempt=attempt))

    def _act_disarm(self, key: str) -> None:
        self.turn.acts.append(lambda: self._office.timekeeper.disarm(self.run_id, key))


def child_ended(key: str, row: ExecutionRow, facts: list[Fact], codec: ValueReader) -> msg.ChildEnded:
    """Return what a parent is told of its child's end, going forward or back."""
    if key.startswith(UNDO):
        return msg.ChildEnded(key, row.state, error=undo_error(row, known=True))
    value = codec.compose(step_results(facts)) if row.state == State.COMPLETED else None
    return msg.ChildEnded(key, row.state, value, row.error)


def undo_error(row: ExecutionRow, *, known: bool) -> ErrorRecord | None:
    """Return why a child could not be undone, if it could not."""
    if row.state == State.COMPLETED and not known:
        return ErrorRecord("perdure.UnknownWorkflow", f"{row.workflow!r} is not registered, so it cannot be undone")
    return row.error or ErrorRecord("perdure.Partial", "not undone") if row.rollback == "partial" else None


def _belongs_to_the_way_back(fact: Fact) -> bool:
    return fact.kind in (FactKind.UNDO, FactKind.CONTROL)


def _display(key: str) -> str:
    return Fact(key.removeprefix(UNDO), FactKind.STEP, FactStatus.RUNNING).name
