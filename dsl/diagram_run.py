"""A run painted on the figure of its workflow: read from the run's facts, by the names they are kept under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .definition import Definition
from .diagram import Mark, Paint
from .facts import UNDO, Fact, FactKind, FactStatus, is_beside, node_of
from .graph import Inside, Node
from .journal import ValueReader
from .states import FINAL, State

__all__ = ["RunPainter"]

_URGENT_FIRST: Final = (Mark.FAILED, Mark.RUNNING, Mark.WAITING, Mark.UNDONE, Mark.DONE, Mark.NOT_TAKEN)
_ENDS: Final = {
    State.COMPLETED: Mark.DONE,
    State.FAILED: Mark.FAILED,
    State.CANCELLED: Mark.UNDONE,
    State.QUARANTINED: Mark.FAILED,
}


class RunPainter:
    """Paints one run as it stands."""

    def __init__(self, definition: Definition, state: State, facts: Iterable[Fact], reader: ValueReader) -> None:
        self._state = state
        self._reader = reader
        self._facts: defaultdict[str, list[Fact]] = defaultdict(list)
        self._undoing: dict[str, FactStatus] = {}
        names = definition.body.all_names()
        for fact in facts:
            if fact.kind is FactKind.UNDO:
                self._undoing[fact.key.removeprefix(UNDO)] = fact.status
            elif not is_beside(fact.key) and (left := node_of(fact.name, names)) is not None:
                self._facts[left[0]].append(fact)

    def start(self) -> Paint:
        """Return done: a run that exists has started."""
        return Paint(Mark.DONE)

    def end(self) -> Paint:
        """Return how the run has ended, if it has."""
        if self._state not in _ENDS:
            return Paint(note=str(self._state))
        return Paint(_ENDS[self._state], str(self._state))

    def takes(self, node: Node, label: str) -> bool:
        """Tell whether the run goes, or may still go, into the body of this label."""
        answers = [fact for fact in self._facts_of(node) if fact.settled]
        if not answers:
            return True
        if node.inside is Inside.ONE:
            return label in self._chosen(node, answers)
        return node.inside is not Inside.INSTEAD or any(fact.status is FactStatus.FAILED for fact in answers)

    def _facts_of(self, node: Node) -> list[Fact]:
        """Return what a node has left under its name; anything else it leaves says not how far it has come."""
        names = (node.name,) if node.name in node.own_names() else node.own_names()
        return [fact for name in names for fact in self._facts[name]]

    def _chosen(self, node: Node, answers: list[Fact]) -> set[Any]:
        labels = [label for label, _ in node.bodies()]
        values = [self._reader.decode(fact.value) for fact in answers if fact.value is not None]
        return {value if value in labels else "otherwise" for value in values}

    def passed(self, *, later: bool) -> Mark | None:
        """Return done where a later node was begun or the run is through."""
        if later or self._state is State.COMPLETED:
            return Mark.DONE
        return Mark.NOT_TAKEN if self._state in FINAL else None

    def paint(self, node: Node, inside: Iterable[Mark | None], *, taken: bool) -> Paint:
        """Return what the facts of a node say, and for a group or loop also what stands inside it."""
        if not taken:
            return Paint(Mark.NOT_TAKEN)
        facts = self._facts_of(node)
        marks = [self._mark(fact) for fact in facts]
        within = [mark for mark in inside if mark not in (None, Mark.NOT_TAKEN)]
        if not marks and within and node.inside is Inside.ONE:
            return Paint(Mark.DONE, "led here")
        if Mark.FAILED in marks and (within or not node.bodies()) and _goes_another_way(node):
            return Paint(Mark.DONE, "went another way")
        if node.bodies() and node.inside not in (Inside.ONE, Inside.INSTEAD):
            marks += self._of_a_group(within, decided=bool(marks))
        if not marks:
            return Paint(Mark.NOT_TAKEN if self._state in FINAL else None)
        mark = next(mark for mark in _URGENT_FIRST if mark in marks)
        return Paint(mark, self._note(facts, mark))

    def _of_a_group(self, within: Sequence[Mark | None], *, decided: bool) -> Sequence[Mark]:
        """Return the marks inside that count for the whole: a failure that the run goes on with does not."""
        marks: list[Mark] = [mark for mark in within if mark is not None]
        goes_on = self._state in (State.RUNNING, State.WAITING, State.COMPLETED)
        borne: list[Mark] = [mark for mark in marks if mark is not Mark.FAILED]
        return borne if goes_on and (borne or decided) else marks

    def _mark(self, fact: Fact) -> Mark:
        undoing = self._undoing.get(fact.key)
        match fact.status:
            case FactStatus.FAILED:
                return Mark.FAILED
            case FactStatus.CANCELLED:
                return Mark.UNDONE if undoing is FactStatus.COMPLETED else Mark.NOT_TAKEN
            case FactStatus.SKIPPED:
                return Mark.DONE
            case FactStatus.COMPLETED if undoing is None:
                return Mark.DONE
            case FactStatus.COMPLETED if undoing in (FactStatus.COMPLETED, FactStatus.SKIPPED):
                return Mark.UNDONE
            case FactStatus.COMPLETED:
                return Mark.FAILED if undoing is FactStatus.FAILED else Mark.RUNNING
            case _ if self._state in FINAL:
                return Mark.NOT_TAKEN
            case FactStatus.WAITING | FactStatus.PARKED:
                return Mark.WAITING
            case _:
                return Mark.RUNNING

    def _note(self, facts: list[Fact], mark: Mark) -> str:
        said = []
        if len(facts) > 1 and facts[0].kind is not FactKind.DECISION:
            done = sum(fact.succeeded for fact in facts)
            said.append(f"{done} of {len(facts)}")
        if turn := max((fact.turn for fact in facts), default=()):
            said.append(f"turn {'.'.join(map(str, turn))}")
        if (attempts := max((fact.attempts for fact in facts), default=0)) > 1:
            said.append(f"{attempts} attempts")
        said += sorted({str(fact.status) for fact in facts if fact.status in (FactStatus.PARKED, FactStatus.SKIPPED)})
        if mark is Mark.FAILED:
            said += sorted({_reason(fact) for fact in facts if fact.error is not None})[:1]
            said += ["undo failed"] * any(self._undoing.get(fact.key) is FactStatus.FAILED for fact in facts)
        if mark is Mark.RUNNING and any(fact.key in self._undoing for fact in facts):
            said.append("being undone")
        return ", ".join(said)


def _reason(fact: Fact) -> str:
    assert fact.error is not None
    return fact.error.type.rpartition(".")[2]


def _goes_another_way(node: Node) -> bool:
    return node.inside is Inside.INSTEAD and (bool(node.bodies()) or getattr(node, "leads_to", None) is not None)
