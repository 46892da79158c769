"""The family of one run: the children it starts, cancels and has undone, and the parent that hears of its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import Effect, RunChild, UndoChild, Withdraw
from ..dsl.facts import UNDO, ErrorRecord, Fact, FactKind, FactStatus
from ..dsl.journal import ValueReader
from ..dsl.programs import UNDONE_IN_PART, undone_in_part
from ..dsl.states import State
from ..persistence.records import ExecutionRow
from .attempts import Attempts
from .course import Course
from .outcomes import error_record
from .results import step_results

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Family", "child_ended"]


class Family:
    """The other runs that one run has to do with."""

    __slots__ = ("_attempts", "_course", "_office")

    def __init__(self, course: Course, office: Supervisor, attempts: Attempts) -> None:
        self._course = course
        self._office = office
        self._attempts = attempts

    # ---- children

    def ask(self, effect: RunChild, fact: Fact | None) -> None:
        """Begin with a child: ask for its input first, if somebody has to; or see what became of it."""
        course = self._course
        if fact is not None and fact.status is FactStatus.RETRYING:
            if self._retry(fact):
                return
            fact = None
        if fact is not None:
            course.turn.acts.append(lambda: self._office.children.check(course.run_id, effect.place.key))
            return
        course.wake()
        course.emit(ev.StepStarted, step=effect.place.name)
        if effect.mapper is not None:
            self._attempts.question(effect)
        else:
            self.start(effect, "null")

    def _retry(self, fact: Fact) -> bool:
        """Have a failed child try again, unless a new one has to be started, since this one was undone or is gone."""
        course = self._course
        child = self._office.children.find(course.run_id, fact.key)
        if child is None or child.state == State.CANCELLED or child.rollback in ("complete", "partial"):
            return False
        wish = msg.Retry("with its parent", number=fact.attempts)
        course.wake()
        course.turn.acts.append(lambda: self._office.children.tell(course.run_id, fact.key, wish))
        return True

    def start(self, effect: RunChild, encoded_input: str) -> None:
        """Start a child: its row is written with the fact that it runs."""
        course = self._course
        fact = course.new_fact(effect.place, FactKind.CHILD, FactStatus.RUNNING)
        try:
            child = self._office.children.new(course.run_id, effect, encoded_input)
        except Exception as error:  # noqa: BLE001 - the child's workflow is unknown: the node's failure, not ours
            course.settle(fact, FactStatus.FAILED, error=error_record(error, effect.place.name))
            return
        course.record(fact)
        course.turn.rows.append(child)
        course.turn.acts.append(lambda: self._office.begin(child))

    def ask_undo(self, effect: UndoChild, fact: Fact | None) -> None:
        """Have a completed child undone, or see how far it is."""
        course = self._course
        if fact is None:
            course.emit(ev.CompensationStarted, step=effect.place.name)
            course.record(course.new_fact(effect.place, FactKind.UNDO, FactStatus.RUNNING))
        course.turn.acts.append(lambda: self._office.children.undo(course.run_id, effect.child.key))

    def ended(self, message: msg.ChildEnded) -> None:
        """Settle the node of a child that has ended, or was undone."""
        course = self._course
        effect = course.walk.asks(message.key) if course.walk is not None else None
        fact = course.journal.facts.get(message.key)
        if fact is None or fact.settled:
            return
        match effect:
            case RunChild() if message.state == State.COMPLETED:
                course.emit(ev.StepCompleted, step=effect.place.name, result=message.value, encoded="result")
                course.settle(fact, FactStatus.COMPLETED, value=message.value)
            case RunChild():
                causes = tuple(cause for cause in (message.error, message.left) if cause is not None)
                why = "; ".join(cause.message for cause in causes)
                text = f"sub-workflow {effect.workflow!r} {message.state}{': ' if why else ''}{why}"
                error = ErrorRecord("perdure.ChildFailed", text, fact.name, causes=causes)
                course.emit(ev.StepFailed, step=effect.place.name, error=error)
                course.settle(fact, FactStatus.FAILED, error=error)
            case UndoChild() if message.error is None:
                course.emit(ev.CompensationCompleted, step=effect.place.name)
                nothing_to_undo = message.state == State.COMPLETED
                course.settle(fact, FactStatus.SKIPPED if nothing_to_undo else FactStatus.COMPLETED)
            case UndoChild():
                assert message.error is not None
                error = message.error._replace(step=effect.place.name)
                course.emit(ev.CompensationFailed, step=effect.place.name, error=error)
                course.settle(fact, FactStatus.FAILED, error=error)

    def lives(self, effect: Effect) -> bool:
        """Tell whether an effect that is waited for is a child that was started."""
        if isinstance(effect, Withdraw):
            effect = effect.effect
        return isinstance(effect, RunChild) and self._course.journal.answer(effect.place, effect.kind) is not None

    def pass_on(self, message: msg.Message) -> None:
        """Tell the children that live, or are being undone, what this run was told."""
        course = self._course
        for fact in course.journal.facts.values():
            key = fact.key.removeprefix(UNDO)
            target = course.journal.facts.get(key)
            if not fact.settled and target is not None and target.kind is FactKind.CHILD:
                course.turn.acts.append(lambda key=key: self._office.children.tell(course.run_id, key, message))  # type: ignore[misc]

    def cancel(self, message: msg.Cancel | msg.Terminate) -> None:
        """Cancel or terminate the children that live."""
        course = self._course
        assert course.walk is not None
        for effect in course.walk.open:
            if self.lives(effect):
                key = effect.place.key
                course.turn.acts.append(lambda key=key: self._office.children.stop(course.run_id, key, message))  # type: ignore[misc]

    def pass_cancel_on(self, effect: Effect, message: msg.Cancel | msg.Terminate) -> None:
        """Cancel a child that a run finds when it is restored in the middle of being cancelled."""
        if self.lives(effect):
            course = self._course
            course.turn.acts.append(lambda: self._office.children.check(course.run_id, effect.place.key, stop=message))

    # ---- the parent

    def tell_parent(self, *, undone: bool) -> None:
        """Tell the parent, if there is one, that this run has ended, or was undone."""
        row = self._course.row
        if row.parent_id is None or row.parent_key is None:
            return
        key = f"{UNDO}{row.parent_key}" if undone else row.parent_key
        self._deliver(row.parent_id, child_ended(key, row, self._course.journal.facts.values(), self._office.codec))

    def answer_undo(self, message: msg.Undo, *, known: bool) -> None:
        """Tell the parent that there is nothing to undo, or why it cannot be undone."""
        row = self._course.row
        assert row.parent_id is not None
        error = _undo_error(row, self._course.journal.facts.values(), known=known)
        self._deliver(row.parent_id, msg.ChildEnded(f"{UNDO}{message.parent_key}", row.state, error=error))

    def _deliver(self, parent: int, ended: msg.ChildEnded) -> None:
        self._course.turn.acts.append(lambda: self._office.deliver(parent, ended))


def child_ended(key: str, row: ExecutionRow, facts: Iterable[Fact], codec: ValueReader) -> msg.ChildEnded:
    """Return what a parent is told of its child's end, going forward or back."""
    if key.startswith(UNDO):
        return msg.ChildEnded(key, row.state, error=_undo_error(row, facts, known=True))
    if row.state == State.COMPLETED:
        return msg.ChildEnded(key, row.state, codec.compose(step_results(facts)))
    left = undone_in_part(row.workflow, facts, row.error) if row.rollback == "partial" else None
    return msg.ChildEnded(key, row.state, error=row.error, left=left and left._replace(type=UNDONE_IN_PART))


def _undo_error(row: ExecutionRow, facts: Iterable[Fact], *, known: bool) -> ErrorRecord | None:
    if row.state == State.COMPLETED and not known:
        return ErrorRecord("perdure.UnknownWorkflow", f"{row.workflow!r} is not registered, so it cannot be undone")
    return undone_in_part(row.workflow, facts, row.error) if row.rollback == "partial" else None
