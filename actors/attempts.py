"""The attempts of one run: user code in flight, its answers, retries and time limits.

Rules:

1. An attempt is recorded before the crew hears of it, so that a crash in the middle of it leaves a trace.
2. An answer counts only for the attempt that is in flight under its key. Any other is told of, and dropped.
3. What decides between an answer and its time limit is when user code began and ended, not what arrived first.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.context import RunFacts
from ..dsl.effects import Decide, Effect, Invoke, RunChild, WaitUntil
from ..dsl.errors import StepInterrupted, StepTimeout
from ..dsl.facts import UNDO, ErrorRecord, Fact, FactKind, FactStatus
from ..persistence.records import AttemptRow
from . import clock
from .attempt import Attempt
from .core import CoreActor
from .course import MICROS, PARDON, Course
from .notes import QUIET, Notebook
from .outcomes import error_record
from .tokens import Tokens

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Attempts"]

_TO_BE_TRIED = (FactStatus.RETRYING, FactStatus.WAITING)
"""Without a timer: an operator has it tried again, or a crash came before it was told when its token is due."""


class Attempts:
    """What the crew does for one run.

    Attributes:
        in_flight: Attempts whose answer is waited for, by key.
    """

    __slots__ = ("_actor", "_answered", "_course", "_notebook", "_office", "_run_facts", "_tokens", "in_flight")

    def __init__(self, course: Course, office: Supervisor, actor: CoreActor) -> None:
        row = course.row
        self._course = course
        self._office = office
        self._actor = actor
        self._notebook = Notebook(course, office)
        self._tokens: Tokens | None = None
        self._run_facts = RunFacts(row.execution_id, row.workflow, row.input, office.logger_for)
        self.in_flight: dict[str, Attempt] = {}
        self._answered: Attempt | None = None

    def replace_input(self, encoded: str) -> None:
        """Show another input to the handlers to come."""
        self._run_facts.input = encoded

    def forget_actor(self) -> None:
        """Let go of the actor: nothing begins any more."""
        del self._actor
        self._answered = None

    # ---- beginning

    def ask(self, effect: Invoke, fact: Fact | None) -> None:
        """Begin with a handler, or take it up where its fact says it stands."""
        if fact is None:
            self.begin(effect, self._course.new_fact(effect.place, effect.kind, FactStatus.RUNNING))
        elif fact.status is FactStatus.RUNNING:  # a crash or shutdown cut this attempt short
            fact = replace(fact, interruptions=fact.interruptions + 1)
            self._keep(fact, "interrupted", None)
            self._take_up(effect, fact)
        elif fact.status in _TO_BE_TRIED and fact.due_at is None:
            self.begin(effect, fact)

    def _take_up(self, effect: Invoke, fact: Fact) -> None:
        """Do with an attempt that was interrupted what its policy says."""
        if effect.kind is not FactKind.STEP or effect.policy.on_interrupted == "repeat":
            self.begin(effect, fact)
            return
        parks = effect.policy.on_interrupted == "park"
        what = "what became of it has to be found out" if parks else "must not be repeated"
        text = f"step {effect.place.name!r} was interrupted in attempt {fact.attempts} and {what}"
        error = error_record(StepInterrupted(text), effect.place.name)
        if parks:
            self._park(effect, fact, error)
        else:
            self._give_up(effect, fact, error)

    def begin(self, effect: Invoke, fact: Fact) -> None:
        """Begin the next attempt of a handler, as soon as it may."""
        if effect.policy.rate is None or self._allows(effect, fact):
            self._begin(effect, fact)

    def _allows(self, effect: Invoke, fact: Fact) -> bool:
        self._tokens = self._tokens or Tokens(self._course, self._office, self._actor)
        return self._tokens.allow(effect, fact)

    def token_given(self, message: msg.TokenGiven) -> None:
        """Begin the attempt that has asked for a token, if it is due."""
        assert self._tokens is not None  # it was this actor that has asked
        if (fact := self._tokens.given(message)) is not None:
            assert self._course.walk is not None
            effect = self._course.walk.asks(message.key)
            assert isinstance(effect, Invoke)
            self._begin(effect, fact)

    def _begin(self, effect: Invoke, fact: Fact) -> None:
        course = self._course
        course.wake()
        number = fact.attempts + 1
        failure = course.row.error if effect.kind is FactKind.UNDO else None
        attempt = Attempt(course.run_id, effect, number, self._run_facts, self._actor, failure)
        attempt.priority = course.row.priority
        self.in_flight[effect.place.key] = attempt
        if fact.attempts:
            self._notebook.begin(attempt)
        started: type[ev.Event] = ev.StepStarted
        fields: dict[str, Any] = {"step": effect.place.name, "attempt": number}
        if effect.kind is FactKind.UNDO:
            started = ev.CompensationStarted
        else:
            fields["max_attempts"] = effect.policy.retry.attempts
        course.emit(started, **fields)
        if fact.due_at is not None:
            course.disarm(fact.key)
        if fact.value is not None:  # which limit it has waited for
            fact = replace(fact, value=None)
        course.record(fact, status=FactStatus.RUNNING, attempts=number, due_at=None)
        course.turn.acts.append(lambda: self._office.crew.run(attempt))
        if effect.policy.timeout is not None:
            due = course.now + round(effect.policy.timeout * MICROS)
            course.arm(due, fact.key, attempt=number)

    def question(self, effect: Decide | RunChild | WaitUntil) -> None:
        """Have user code asked that is no handler: it has no attempts, no slot and no time limit."""
        attempt = Attempt(self._course.run_id, effect, 0, self._run_facts, self._actor)
        self.in_flight[effect.place.key] = attempt
        self._course.turn.acts.append(lambda: self._office.crew.ask(attempt))

    # ---- answers

    def _about(self, message: msg.StepCompleted | msg.StepFailed | msg.StepInterrupted) -> Attempt | None:
        """Return the attempt a message is about, if it is in flight: not an earlier one, nor one of an earlier turn."""
        attempt = self.in_flight.get(message.key)
        if attempt is None or (attempt.number, attempt.effect.place.turn) != (message.attempt, message.turn):
            return None
        return attempt

    def answered(self, message: msg.StepCompleted | msg.StepFailed) -> Effect | None:
        """Return the effect this is the answer to; an answer nobody waits for is only told of."""
        course = self._course
        attempt = self._about(message)
        effect = course.walk.asks(message.key) if course.walk is not None else None
        if attempt is None or effect is None:
            if message.attempt:
                course.emit(ev.StepLate, step=_display(message.key), attempt=message.attempt)
            return None
        if isinstance(effect, Invoke) and effect.policy.timeout is not None:
            limit = round(effect.policy.timeout * MICROS)
            if attempt.began is not None and message.at > attempt.began + limit:
                self._timed_out(effect)
                return None
            course.disarm(message.key)
        self._answered = self.in_flight.pop(message.key)
        if attempt.notes is not None or attempt.checkpoint is not None:
            self._notebook.close(attempt, succeeded=isinstance(message, msg.StepCompleted))
        return effect

    def succeeded(self, effect: Invoke, result: str) -> None:
        """Settle a handler that has returned."""
        course = self._course
        fact = course.journal.facts[effect.place.key]
        if effect.kind is FactKind.UNDO:
            course.emit(ev.CompensationCompleted, step=effect.place.name, attempt=fact.attempts)
        else:
            course.emit(
                ev.StepCompleted,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=effect.policy.retry.attempts,
                result=result,
                encoded="result",
            )
        course.settle(fact, FactStatus.COMPLETED, value=result, error=None)

    def failed(
        self,
        effect: Invoke,
        error: ErrorRecord,
        *,
        retryable: bool = True,
        delay: float | None = None,
        outcome: str = "failed",
        lost: bool = False,
    ) -> None:
        """Put the next attempt of a handler that has raised on the clock, or give it up."""
        course = self._course
        fact = course.journal.facts[effect.place.key]
        failures = fact.attempts - fact.interruptions - self._pardoned(fact)
        retry = effect.policy.retry
        if not retryable or failures >= retry.attempts or course.halted or self._is_unwanted(fact.key):
            self._keep(fact, outcome, error)
            parks = effect.policy.parks or (lost and effect.policy.on_interrupted == "park")
            if parks and not course.halted and not self._is_unwanted(fact.key):
                self._park(effect, fact, error)
            else:
                self._give_up(effect, fact, error)
            return
        if delay is None:
            delay = retry.delay(failures, self._chance(fact))
        due = course.now + round(delay * MICROS)
        self._keep(fact, outcome, error, next_at=due)
        if effect.kind is FactKind.STEP:
            course.emit(
                ev.StepRetry,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=retry.attempts,
                error=error,
                next_attempt_at=clock.from_micros(due),
            )
        course.record(fact, status=FactStatus.RETRYING, error=error, due_at=due)
        course.arm(due, fact.key)

    def _keep(self, fact: Fact, outcome: str, error: ErrorRecord | None, *, next_at: int | None = None) -> None:
        """Keep an attempt that the fact will not tell of once the next one has begun; success needs no row."""
        course = self._course
        answered = self._answered
        began = None
        if answered is not None and (answered.key, answered.number) == (fact.key, fact.attempts):
            began = answered.began
        row = AttemptRow(fact.order, fact.attempts, fact.key, fact.turn, outcome, error, began, course.now, next_at)
        course.turn.attempts += (row,)

    def _chance(self, fact: Fact) -> float:
        """Draw the jitter: from the engine's seed and the attempt, so that no order of events changes it."""
        seed = f"{self._office.seed}:{self._course.row.execution_id}:{fact.key}:{fact.turn}:{fact.attempts}"
        return random.Random(seed).random()  # noqa: S311 - jitter is no secret

    def give_up(self, effect: Invoke, fact: Fact) -> None:
        """Let a handler fail that has waited for an operator."""
        self._give_up(effect, fact, fact.error or ErrorRecord("perdure.StepFailed", "given up", effect.place.name))

    def _give_up(self, effect: Invoke, fact: Fact, error: ErrorRecord) -> None:
        if effect.kind is FactKind.UNDO:
            self._course.emit(ev.CompensationFailed, step=effect.place.name, attempt=fact.attempts, error=error)
        else:
            self._course.emit(
                ev.StepFailed,
                step=effect.place.name,
                attempt=fact.attempts,
                max_attempts=effect.policy.retry.attempts,
                error=error,
            )
        self._course.settle(fact, FactStatus.FAILED, value=None, error=error)

    def _park(self, effect: Invoke, fact: Fact, error: ErrorRecord) -> None:
        """Leave it to an operator what becomes of a handler that has failed for good."""
        parked: type[ev.Event] = ev.CompensationParked if effect.kind is FactKind.UNDO else ev.StepParked
        self._course.emit(parked, step=effect.place.name, attempt=fact.attempts, error=error)
        now = self._course.now
        self._course.record(fact, status=FactStatus.PARKED, error=error, due_at=None, completed_at=now)

    def pardon(self, fact: Fact) -> None:
        """Have a handler that has failed for good tried again, with as many attempts as it had at first."""
        course = self._course
        course.record(fact, status=FactStatus.RETRYING, value=None, due_at=None, completed_at=None)
        key = f"{PARDON}{fact.key}"
        pardon = Fact(key, FactKind.CONTROL, FactStatus.COMPLETED, fact.turn, fact.order, fact.attempts)
        course.record(pardon, interruptions=fact.interruptions, started_at=course.now)

    def _pardoned(self, fact: Fact) -> int:
        """Return how many failures no longer count, since an operator wanted the handler tried again after them."""
        pardon = self._course.journal.facts.get(f"{PARDON}{fact.key}")
        return 0 if pardon is None or pardon.turn != fact.turn else pardon.attempts - pardon.interruptions

    def interrupted(self, message: msg.StepInterrupted) -> Fact | None:
        """Leave an attempt that began as it stands, for the next start to find; take back one that did not.

        Returns:
            What is to be ended, if it is no longer wanted.
        """
        attempt = self._about(message)
        if attempt is None:
            return None
        del self.in_flight[message.key]
        if attempt.notes is not None:
            self._notebook.close(attempt, succeeded=False)
        fact = self._course.journal.facts.get(message.key)
        if isinstance(attempt.effect, Invoke) and fact is not None:
            if not message.began:
                due, attempts = self._course.now, fact.attempts - 1
                fact = replace(fact, status=FactStatus.RETRYING, attempts=attempts, due_at=due)
            if self._is_unwanted(message.key):
                return fact
            if not message.began:
                self._course.record(fact)
        return None

    def _is_unwanted(self, key: str) -> bool:
        walk = self._course.walk
        return walk is not None and walk.withdraws(key)

    def noted(self, key: str) -> None:
        """Record what a running handler has told since it was last looked at."""
        attempt = self.in_flight.get(key)
        if attempt is not None:
            self._notebook.take(attempt)

    # ---- limits

    def alarmed(self, effect: Effect | None, message: msg.Timeout) -> None:
        """Heed a timer of an attempt: its limit, or the end of the time for which it may tell nothing."""
        if message.key.startswith(QUIET):
            self.noted(message.key.removeprefix(QUIET))
        else:
            self.limit_reached(effect, message)

    def limit_reached(self, effect: Effect | None, message: msg.Timeout) -> None:
        """Time an attempt out, unless it began later than its timer thought."""
        attempt = self.in_flight.get(message.key)
        if not isinstance(effect, Invoke) or attempt is None or attempt.number != message.attempt:
            return
        limit = round((effect.policy.timeout or 0) * MICROS)
        due = (self._course.now if attempt.began is None else attempt.began) + limit
        if due > self._course.now:  # it queued before it began: the limit is for the handler, not for the queue
            self._course.arm(due, message.key, attempt=message.attempt)
            return
        self._timed_out(effect)

    def _timed_out(self, effect: Invoke) -> None:
        self._answered = attempt = self.in_flight.pop(effect.place.key)
        self._course.turn.acts.append(lambda: self._office.crew.abandon(attempt))
        if attempt.notes is not None:
            self._notebook.close(attempt, succeeded=False)
        self._course.emit(ev.StepTimedOut, step=effect.place.name, attempt=attempt.number)
        error = StepTimeout(effect.place.name, effect.policy.timeout or 0)
        retryable = effect.policy.retry.allows(error)
        record = error_record(error, effect.place.name)
        self.failed(effect, record, retryable=retryable, outcome="timed_out")

    def stop(self, key: str) -> bool:
        """Ask one attempt to end early, if it is in flight; its answer is still waited for."""
        attempt = self.in_flight.get(key)
        if attempt is not None:
            self._course.turn.acts.append(lambda: self._office.crew.cancel(attempt))
        return attempt is not None

    def forget(self, key: str) -> None:
        """Wait no longer for user code that was asked something, if it is still being asked."""
        attempt = self.in_flight.pop(key, None)
        if attempt is not None:
            self._course.turn.acts.append(lambda: self._office.crew.abandon(attempt))

    def cancel(self) -> None:
        """Ask everything in flight to end early; its answers are still waited for."""
        for attempt in self.in_flight.values():
            self._course.turn.acts.append(lambda attempt=attempt: self._office.crew.cancel(attempt))  # type: ignore[misc]

    def rearm(self) -> None:
        """Set the timers of retries again, some of which may have fired while the run was paused."""
        walk = self._course.walk
        for effect in walk.open if walk is not None else ():
            fact = self._course.journal.facts.get(effect.place.key)
            if isinstance(effect, Invoke) and fact is not None and fact.due_at is not None:
                self._course.arm(fact.due_at, fact.key)

    def leave(self, *keys: str) -> None:
        """Wait no longer for what is in flight under these keys, or for anything; late answers are only told of."""
        for key in keys or list(self.in_flight):
            if (attempt := self.in_flight.pop(key, None)) is not None:
                self._course.disarm(key)
                self._course.turn.acts.append(lambda attempt=attempt: self._office.crew.abandon(attempt))  # type: ignore[misc]

    def abandon(self) -> None:
        """Give up at once what is in flight."""
        for attempt in self.in_flight.values():
            self._office.crew.abandon(attempt)


def _display(key: str) -> str:
    return Fact(key.removeprefix(UNDO), FactKind.STEP, FactStatus.RUNNING).name
