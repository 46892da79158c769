"""What operators ask of one run: to stop, to pause, to go on. How what went wrong is mended stands in the repairs.

Rules:

1. Each wish is one message, legal where the table says so and otherwise refused with nothing changed.
2. Who asked, when and why is written down with what it causes, in the same turn.
3. A wish that concerns children is passed on once it is remembered, and again by a parent that is restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.errors import IllegalTransition, UnknownWorkflow, UsageError
from ..dsl.facts import ErrorRecord, FactKind, FactStatus, Place
from ..dsl.legality import LEGAL_VERBS, Standing, Verb, legal_in
from ..dsl.states import FINAL, State
from .course import CANCEL, PAUSE, Course
from .repairs import Repairs

if TYPE_CHECKING:
    from .attempts import Attempts
    from .execution import ExecutionActor
    from .family import Family
    from .supervisor import Supervisor

__all__ = ["TERMINATED", "Steering"]

TERMINATED = "perdure.WorkflowTerminated"
"""Type of the error of a run that was terminated."""


class Steering:
    """An operator's hand on one run."""

    __slots__ = ("_actor", "_attempts", "_course", "_family", "_office", "_repairs")

    def __init__(
        self, actor: ExecutionActor, course: Course, office: Supervisor, attempts: Attempts, family: Family
    ) -> None:
        self._actor = actor
        self._course = course
        self._office = office
        self._attempts = attempts
        self._family = family
        self._repairs = Repairs(actor, course, office, attempts, family)

    def heed(self, message: msg.Message) -> Any:  # noqa: C901 - one case a message
        """Do what an operator asks, or say why not."""
        if isinstance(message, msg.Settle):
            verb = Verb.SKIP if message.skip else Verb.COMPLETE_STEP
        elif type(message) in _VERBS:
            verb = _VERBS[type(message)]
        else:
            return None
        if (refusal := self._refusal(verb, message)) is not None:
            return refusal
        match message:
            case msg.Cancel():
                return self._cancel(message)
            case msg.Terminate():
                return self._terminate(message)
            case msg.Pause():
                return self._pause(message)
            case msg.Resume():
                return self._resume(message)
            case msg.Retry():
                return self._repairs.retry(message, self.standing)
            case msg.Settle():
                return self._repairs.settle(message, verb, self.standing)
            case msg.Resolve():
                return self._repairs.resolve(message)
            case msg.Fork():
                return self._repairs.fork(message)
        return None

    # ---- what is legal

    @property
    def standing(self) -> Standing:
        """Where the run stands."""
        course = self._course
        state = State(course.row.state)
        if state in FINAL:
            return self._standing_at_end(state)
        if state is State.QUARANTINED:
            return Standing.QUARANTINED
        if course.halted:
            return Standing.STOPPING
        back = course.rolling_back or state is State.COMPENSATING
        if course.paused:
            return Standing.ROLLBACK_PAUSED if back else Standing.PAUSED
        if any(fact.status is FactStatus.PARKED for fact in course.journal.facts.values()):
            return Standing.ROLLBACK_PARKED if back else Standing.PARKED
        return Standing(state)

    def _standing_at_end(self, state: State) -> Standing:
        row = self._course.row
        undone = {fact.status for fact in self._course.journal.facts.values() if fact.kind is FactKind.UNDO}
        if state is State.COMPLETED or (row.error is not None and row.error.type == TERMINATED):
            return Standing(state)
        if FactStatus.FAILED in undone:
            return Standing.PARTLY_UNDONE
        return Standing.UNDONE if FactStatus.COMPLETED in undone else Standing(state)

    def _refusal(self, verb: Verb, message: msg.Message) -> Exception | None:
        row, standing = self._course.row, self.standing
        if verb not in LEGAL_VERBS[standing]:
            self._answer_parent(message)
            return IllegalTransition(row.execution_id, standing, verb, legal_in(verb))
        if self._actor.definition is None and verb not in _WITHOUT_A_WALK:
            return UnknownWorkflow(row.workflow, self._office.definitions.names())
        return None

    def _answer_parent(self, message: msg.Message) -> None:
        """Tell a parent that wants a child tried again which has ended otherwise."""
        if isinstance(message, msg.Retry) and message.number is not None and self._course.row.state in FINAL:
            self._family.tell_parent(undone=False)

    # ---- stop

    def _cancel(self, message: msg.Cancel) -> bool:
        course = self._course
        if course.halted:
            return False
        self._lift_pause()
        error = ErrorRecord("perdure.WorkflowCancelled", message.reason)
        fact = course.new_fact(Place(CANCEL, CANCEL), FactKind.CONTROL, FactStatus.COMPLETED)
        course.note(Verb.CANCEL, message.by, message.reason, compensate=message.compensate)
        value = "true" if message.compensate else "false"
        self._actor.halt(replace(fact, value=value, error=error), message)
        return True

    def _terminate(self, message: msg.Terminate) -> Any:
        course = self._course
        if course.walk is None and (child := self._office.children.living(course.run_id)) is not None:
            text = (
                f"cannot terminate execution {course.row.execution_id!r} before its sub-workflow {child!r}, which lives"
            )
            return UsageError(f"{text}: terminate that one first")
        course.note(Verb.TERMINATE, message.by, message.reason)
        self._lift_pause()
        self._attempts.leave()
        error = ErrorRecord(TERMINATED, message.reason)
        if course.walk is None or course.rolling_back:
            self._family.pass_on(message)
            course.disarm_all()
            self._actor.finish(State.CANCELLED, error=error, rollback="partial" if self._has_undone() else "none")
            return None
        fact = course.new_fact(Place(CANCEL, CANCEL), FactKind.CONTROL, FactStatus.COMPLETED)
        self._actor.halt(replace(fact, value="false", error=error), message)
        return None

    def _has_undone(self) -> bool:
        undone = (FactStatus.COMPLETED, FactStatus.FAILED)
        facts = self._course.journal.facts.values()
        return self._course.rolling_back or any(fact.kind is FactKind.UNDO and fact.status in undone for fact in facts)

    # ---- pause

    def _pause(self, message: msg.Pause) -> None:
        course = self._course
        course.note(Verb.PAUSE, message.by, message.reason)
        fact = course.new_fact(Place(PAUSE, PAUSE), FactKind.CONTROL, FactStatus.RUNNING)
        course.record(fact, value="true" if message.by_parent else "false")
        course.paused = True
        course.change_row()
        course.emit(ev.WorkflowPaused, reason=message.reason, by=message.by)
        self.pass_pause_on()

    def _resume(self, message: msg.Resume) -> Any:
        course = self._course
        if message.by_parent and (not course.paused or course.journal.facts[PAUSE].value != "true"):
            return None  # somebody else has paused it, or it goes on already
        course.note(Verb.RESUME, message.by, message.reason)
        if course.row.state == State.QUARANTINED:
            return self._actor.leave_quarantine()
        self._lift_pause()
        if course.row.state == State.WAITING:
            course.change_row(state=State.RUNNING)
        course.emit(ev.WorkflowResumed)
        self._attempts.rearm()
        self.pass_pause_on()
        return None

    def _lift_pause(self) -> None:
        if self._course.paused:
            self._course.paused = False
            self._course.record(self._course.journal.facts[PAUSE], status=FactStatus.COMPLETED)

    def pass_pause_on(self) -> None:
        """Have the children that live do as this run does, if it was ever paused."""
        fact = self._course.journal.facts.get(PAUSE)
        if fact is not None:
            passed: type[msg.Pause | msg.Resume] = msg.Pause if self._course.paused else msg.Resume
            self._family.pass_on(passed("with its parent", by_parent=True))


_VERBS: dict[type[Any], Verb] = {
    msg.Cancel: Verb.CANCEL,
    msg.Terminate: Verb.TERMINATE,
    msg.Pause: Verb.PAUSE,
    msg.Resume: Verb.RESUME,
    msg.Retry: Verb.RETRY,
    msg.Resolve: Verb.RESOLVE,
    msg.Fork: Verb.FORK,
}
_WITHOUT_A_WALK = frozenset({Verb.TERMINATE, Verb.PAUSE, Verb.RESUME})
