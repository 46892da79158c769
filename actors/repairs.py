"""How operators mend one run: try again, settle a step by hand, resolve an incident, make another run of it.

Rules:

1. What is recorded as done is never done again. Only what has failed, or waits for an operator, is asked for anew.
2. A run that had ended goes on as one that is restored: from the facts, which is all that a repair changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import Decide, Effect, Invoke, RunChild, TakeSlot, UndoChild, WaitFor
from ..dsl.errors import DuplicateExecution, InvalidPayload, SchemaError, StepNotOpen, UsageError
from ..dsl.facts import UNDO, ErrorRecord, Fact, FactKind, FactStatus
from ..dsl.forking import broken_by, cut, way_forward
from ..dsl.legality import Standing, Verb
from ..dsl.states import State
from ..persistence.codec import encode
from .course import FORK, LIMIT, RETRIED, Course

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .attempts import Attempts
    from .execution import ExecutionActor
    from .family import Family
    from .supervisor import Supervisor

__all__ = ["Repairs"]


class Repairs:
    """What an operator mends of one run."""

    __slots__ = ("_actor", "_attempts", "_course", "_family", "_office")

    def __init__(
        self, actor: ExecutionActor, course: Course, office: Supervisor, attempts: Attempts, family: Family
    ) -> None:
        self._actor = actor
        self._course = course
        self._office = office
        self._attempts = attempts
        self._family = family

    @property
    def _definition(self) -> Definition:
        definition = self._actor.definition
        assert definition is not None  # nothing is legal here without one
        return definition

    # ---- try again

    def retry(self, message: msg.Retry, standing: Standing) -> Any:
        """Have what has failed tried again, and nothing else."""
        course = self._course
        if standing in (Standing.PARKED, Standing.ROLLBACK_PARKED):
            course.note(Verb.RETRY, message.by, message.reason)
            for effect, fact in self._incidents(None):
                self._try_again(effect, fact)
            return None
        if standing is Standing.FAILED and (refusal := self._belongs_to_parent(message.number, Verb.RETRY)) is not None:
            return refusal
        if message.number is not None and not self._is_new(message.number):
            return None
        course.note(Verb.RETRY, message.by, message.reason)
        if standing is Standing.PARTLY_UNDONE:
            self._retry_rollback(message)
        else:
            self._revive(message, broken_by(self._definition, course.journal.facts.values(), self._office.codec))
        return None

    def _belongs_to_parent(self, number: int | None, verb: Verb) -> Exception | None:
        row = self._course.row
        if row.parent_id is None or number is not None:
            return None
        parent = self._office.core.store.name_of(row.parent_id)
        text = f"it is a sub-workflow, and its end was heeded; {verb} in {parent!r}, which takes it along"
        return UsageError(f"cannot {verb} execution {row.execution_id!r}: {text}")

    def _is_new(self, number: int) -> bool:
        """Tell whether the parent's wish was not heeded yet; if it was, the parent has missed how it ended."""
        course = self._course
        heeded = course.journal.facts.get(RETRIED)
        if heeded is not None and heeded.attempts >= number:
            self._family.tell_parent(undone=False)
            return False
        course.record(Fact(RETRIED, FactKind.CONTROL, FactStatus.COMPLETED, attempts=number, started_at=course.now))
        return True

    def _revive(self, message: msg.Retry | msg.Settle, broken: list[Fact]) -> None:
        """Go on from the facts, but for those that the run has failed for."""
        course = self._course
        for fact in broken:
            self._ask_anew(fact)
        for fact in list(course.journal.facts.values()):
            cut_short = fact.kind in (FactKind.GATE, FactKind.SLEEP) and not fact.settled
            if fact.kind is FactKind.UNDO or fact.key == LIMIT or cut_short:
                course.forget(fact.key)
        course.change_row(state=State.RUNNING, result=None, error=None, rollback=None, adoptions=0, finished_at=None)
        course.emit(ev.WorkflowRetried, reason=message.reason, by=message.by)
        course.start_over()
        if self._actor.is_limited:
            self._actor.slot.again()
        if self._actor.pool is None:  # else its time counts from when it has a slot
            self._actor.limit.begin()
        self._actor.restore()

    def _ask_anew(self, fact: Fact) -> None:
        if fact.kind is FactKind.STEP:
            self._attempts.pardon(fact)
        elif fact.kind is FactKind.CHILD:  # the child is to try again itself, and is told so by its parent's count
            changes: dict[str, Any] = {"value": None, "error": None, "completed_at": None}
            self._course.record(fact, status=FactStatus.RETRYING, attempts=fact.attempts + 1, **changes)
        else:
            self._course.forget(fact.key)

    def _retry_rollback(self, message: msg.Retry) -> None:
        """Try the compensations again that have failed; a child's rollback is the child's own."""
        course = self._course
        for fact in list(course.journal.facts.values()):
            if fact.kind is FactKind.UNDO and fact.status is FactStatus.FAILED and not self._undoes_child(fact):
                self._attempts.pardon(fact)
        course.change_row(state=State.COMPENSATING, rollback=None, adoptions=0, finished_at=None)
        course.emit(ev.WorkflowRetried, reason=message.reason, by=message.by)
        course.start_over()
        self._actor.restore()

    def _undoes_child(self, fact: Fact) -> bool:
        undone = self._course.journal.facts.get(fact.key.removeprefix(UNDO))
        return undone is not None and undone.kind is FactKind.CHILD

    # ---- settle by hand

    def settle(self, message: msg.Settle, verb: Verb, standing: Standing) -> Any:
        """Take a value as the outcome of a step at which the run stands, or for which it has failed."""
        course = self._course
        broken: list[Fact] = []
        walk = course.walk
        if standing is Standing.FAILED:
            if (refusal := self._belongs_to_parent(None, verb)) is not None:
                return refusal
            facts = course.journal.facts
            broken = broken_by(self._definition, facts.values(), self._office.codec)
            keys = {fact.key for fact in broken}
            rest = [fact for fact in facts.values() if fact.key not in keys]
            walk, _ = way_forward(self._definition, rest, self._office.codec)
        assert walk is not None
        steps: list[Effect] = [each for each in walk.open if not isinstance(each, TakeSlot)]  # no slot is given by hand
        effect = next((each for each in steps if message.step in (each.place.name, each.place.key)), None)
        if effect is None:
            names = [each.place.name for each in steps]
            return StepNotOpen(course.row.execution_id, message.step, verb, names)
        if (refusal := self._misfit(effect, message)) is not None:
            return refusal
        if standing is Standing.FAILED:
            self._revive(message, broken)
            assert course.walk is not None
            effect = course.walk.asks(effect.place.key) or effect  # it need not be asked for yet, for want of a slot
        course.note(verb, message.by, message.reason, message.step, result=self._office.codec.decode(message.value))
        self._settle(effect, message)
        return None

    def _misfit(self, effect: Effect, message: msg.Settle | msg.Resolve) -> Exception | None:
        """Return what is wrong with a value for this step, or with a step that cannot be settled by hand now."""
        fact = self._course.journal.facts.get(effect.place.key)
        if isinstance(effect, (RunChild, UndoChild)) and fact is not None and not fact.settled:
            text = "its sub-workflow lives: cancel or mend that one instead"
            name = effect.place.name
            return UsageError(f"cannot settle {name!r} of execution {self._course.row.execution_id!r}: {text}")
        check = effect.check if isinstance(effect, Decide) else None
        if isinstance(effect, WaitFor):
            check = effect.demand.check
        if check is None:
            return None
        try:
            check(self._office.codec.decode(message.value))
        except Exception as error:  # noqa: BLE001 - what a check raises is the caller's mistake
            return InvalidPayload(f"the result given for {effect.place.name!r}: {error}")
        return None

    def _settle(self, effect: Effect, message: msg.Settle | msg.Resolve) -> None:
        course = self._course
        assert course.walk is not None
        place = effect.place
        self._attempts.leave(place.key)
        course.walk.fresh[:] = [each for each in course.walk.fresh if each is not effect]
        fact = course.journal.answer(place, effect.kind) or course.new_fact(place, effect.kind, FactStatus.RUNNING)
        skips = message.skip if isinstance(message, msg.Settle) else message.how == "skip"
        if effect.kind is FactKind.UNDO:
            self._settle_undo(fact, place.name, message.reason, skips=skips)
        elif skips:
            who = {"reason": message.reason, "by": message.by}
            course.emit(ev.StepSkipped, step=place.name, result=message.value, encoded="result", **who)
            course.settle(fact, FactStatus.SKIPPED, value=message.value, error=None)
        else:
            course.emit(ev.StepCompleted, step=place.name, result=message.value, encoded="result")
            course.settle(fact, FactStatus.COMPLETED, value=message.value, error=None)

    def _settle_undo(self, fact: Fact, step: str, reason: str | None, *, skips: bool) -> None:
        """Take a compensation as done, or leave it undone: then the rollback is partial."""
        course = self._course
        if skips:
            error = fact.error or ErrorRecord("perdure.Skipped", reason or "skipped by an operator", step)
            course.emit(ev.CompensationFailed, step=step, error=error)
            course.settle(fact, FactStatus.FAILED, value=None, error=error)
        else:
            course.emit(ev.CompensationCompleted, step=step)
            course.settle(fact, FactStatus.COMPLETED, value="null", error=None)

    # ---- incidents

    def _incidents(self, step: str | None) -> list[tuple[Invoke, Fact]]:
        course = self._course
        assert course.walk is not None
        found = []
        for effect in course.walk.open:
            fact = course.journal.answer(effect.place, effect.kind)
            parked = fact is not None and fact.status is FactStatus.PARKED
            if parked and step in (None, effect.place.name, effect.place.key):
                assert isinstance(effect, Invoke)
                assert fact is not None
                found.append((effect, fact))
        return found

    def resolve(self, message: msg.Resolve) -> Any:
        """End the incidents of a step, or all of them, in the way an operator says; return how many there were."""
        course = self._course
        found = self._incidents(message.step)
        if not found:
            names = [effect.place.name for effect, _ in self._incidents(None)]
            return StepNotOpen(course.row.execution_id, message.step, "resolve an incident of", names)
        for effect, fact in found:
            course.note(Verb.RESOLVE, message.by, message.reason, effect.place.name, how=message.how)
            match message.how:
                case "retry":
                    self._try_again(effect, fact)
                case "fail":
                    self._attempts.give_up(effect, fact)
                case _:
                    self._settle(effect, message)
        return len(found)

    def _try_again(self, effect: Invoke, fact: Fact) -> None:
        course = self._course
        assert course.walk is not None
        self._attempts.pardon(fact)
        if not any(each is effect for each in course.walk.fresh):
            course.walk.fresh.append(effect)

    # ---- fork

    def fork(self, message: msg.Fork) -> Any:
        """Make a new run of what this one has recorded; return its id."""
        course, office = self._course, self._office
        if office.exists(message.execution_id):
            return DuplicateExecution(message.execution_id, "under this id")
        try:
            facts = cut(self._definition, course.journal.facts.values(), office.codec, message.step, message.steps)
        except (UsageError, SchemaError) as error:  # the latter of a result that was given
            return UsageError(f"cannot fork execution {course.row.execution_id!r}: {error}")
        given = course.row.input if message.input is None else message.input
        row = office.newcomers.row(self._definition, given, execution_id=message.execution_id)
        row = replace(row, tags=course.row.tags, business_key=course.row.business_key)
        copies = self._copies(facts, message.step)
        course.wish.copies.update(((row.id, fact.key), fact) for fact in copies)
        course.wish.signals.extend(self._taken(row.id, {fact.key for fact in copies}))
        course.turn.rows.append(row)
        course.turn.acts.append(lambda: office.begin(row, facts=copies))
        course.note(Verb.FORK, message.by, message.reason, message.step, fork=row.execution_id)
        return row.execution_id

    def _copies(self, facts: list[Fact], at: str | None) -> list[Fact]:
        """Return the facts of the new run: those it was given come last, and it owes what nobody else can undo."""
        course = self._course
        facts = sorted(facts, key=lambda fact: fact.order or 1 << 60)
        copies = [replace(fact, order=order, sequence=0) for order, fact in enumerate(facts, 1)]
        ended_badly = course.row.state in (State.FAILED, State.CANCELLED)
        borrowed = [fact.key for fact in copies if not ended_badly or fact.kind is FactKind.CHILD]
        origin = encode({"source": course.row.execution_id, "at": at, "borrowed": borrowed})
        mark = Fact(FORK, FactKind.CONTROL, FactStatus.COMPLETED, value=origin, started_at=course.now)
        return [mark, *copies]

    def _taken(self, run: int, keys: set[str]) -> list[Any]:
        """Return the signals that the new run's gates have taken."""
        stored = self._office.core.store.load(self._course.run_id)
        signals = [] if stored is None else [each for each in stored.signals if each.taken_by in keys]
        return [each._replace(id=self._office.new_id(), execution=run, dedup_key=None) for each in signals]
