"""How a run goes back and ends: the half of its actor that begins where the way forward does not go on."""

from __future__ import annotations

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.facts import ErrorRecord, FactKind, FactStatus, Place
from ..dsl.programs import has_left, roll_back
from ..dsl.states import ENDS, FINAL, State
from ..dsl.walk import Walk
from .course import CANCEL
from .run_actor import RunActor

__all__ = ["RunEnds"]


class RunEnds(RunActor):
    """What is done when a run fails, is cancelled, completes or is set aside."""

    def _undo(self, message: msg.Undo) -> None:
        """Undo a completed run, because its parent failed; an answer is owed in every case."""
        course = self._course
        if self.row.state == State.COMPLETED and self.definition is not None:
            error = ErrorRecord("perdure.WorkflowCancelled", "the parent failed")
            self._start_walk()
            if course.scope.debts():
                cancel = course.new_fact(Place(CANCEL, CANCEL), FactKind.CONTROL, FactStatus.COMPLETED)
                course.record(cancel, value="true", error=error)
                self._roll_back(error)
                return
            course.walk = None
        if self.row.state != State.COMPENSATING:
            self._family.answer_undo(message, known=self.definition is not None)

    def _abort(self) -> None:
        """Stop going forward, where a cancelled or belated run stands; nothing is in flight any longer."""
        course = self._course
        stop = course.brake
        assert course.walk is not None
        assert stop is not None
        for effect in course.walk.open:
            fact = course.journal.answer(effect.place, effect.kind)
            if fact is not None and fact.due_at is not None:
                course.record(fact, due_at=None)
                course.disarm(fact.key)
        course.walk.close()
        self._roll_back(stop.error, compensate=stop.value == "true")

    def _roll_back(self, error: ErrorRecord | None, *, compensate: bool = True) -> None:
        course = self._course
        self.limit.drop()
        debts = course.scope.debts() if compensate else []
        if not debts:
            self.finish(self._bad_end, error=error, rollback="none")
            return
        if self.row.state != State.COMPENSATING:
            course.change_row(state=State.COMPENSATING, error=error, finished_at=None)
            course.emit(ev.WorkflowCompensating, error=error)
        elif self.row.error is None:  # why it had been set aside stood in its place
            course.change_row(error=error)
        course.rolling_back = True
        course.walk = Walk(roll_back(debts), course.journal)

    @property
    def _bad_end(self) -> State:
        return State.CANCELLED if CANCEL in self._course.journal.facts else State.FAILED

    def _leave_way_back(self) -> None:
        assert self._course.walk is not None
        rollback = "partial" if has_left(self._course.journal.facts.values()) else self._course.walk.value
        self.finish(self._bad_end, error=self.row.error, rollback=rollback)

    def finish(
        self, state: State, *, result: str | None = None, error: ErrorRecord | None = None, rollback: str | None = None
    ) -> None:
        """End the run, and tell everybody who has to hear of it."""
        course = self._course
        undone = self.row.result is not None  # it had completed before
        course.walk = None
        self.limit.drop()
        if self.is_limited:
            self.slot.leave()
        course.change_row(state=state, result=result, error=error, rollback=rollback, finished_at=course.now)
        match state:
            case State.COMPLETED:
                course.emit(ev.WorkflowCompleted, result=result, encoded="result")
            case State.CANCELLED:
                course.emit(ev.WorkflowCancelled, rollback=rollback)
            case _:
                course.emit(ev.WorkflowFailed, error=error, rollback=rollback)
        course.announce_end()
        if self.row.parent_id is not None:
            self._family.tell_parent(undone=undone)

    def _tell_again(self) -> None:
        """Tell of an end that is on disk: it may be there although its commit seemed to fail, and nobody was told."""
        if self.row.state in ENDS:
            self._course.announce_end()
        if self.row.state in FINAL:
            self._family.tell_parent(undone=False)
        if self.row.state in FINAL and self.row.state != State.COMPLETED:  # perhaps it had completed before
            self._family.tell_parent(undone=True)

    def _quarantine(self, error: ErrorRecord) -> None:
        self._course.walk = None
        if self.is_limited:
            self.slot.leave()
        self._course.change_row(state=State.QUARANTINED, error=error)
        self._course.emit(ev.WorkflowQuarantined, error=error)
        self._course.announce_end()
