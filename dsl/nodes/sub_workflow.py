"""A sub-workflow: another workflow run as an execution of its own, its results the value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..effects import RunChild, UndoChild, Walker
from ..facts import UNDO, Fact, FactStatus, Place
from ..graph import Node
from ..scope import Owed, Scope

__all__ = ["SubWorkflowNode"]


@dataclass(frozen=True, slots=True)
class SubWorkflowNode(Node):
    """A child; it is compensated in its place in the order when its parent fails after it completed."""

    workflow: str
    mapper: Callable[..., Any] | None = None

    kind = "sub_workflow"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the child to be run."""
        place = scope.place(self.name)
        fact = yield RunChild(place, self.workflow, self.mapper, scope)
        scope.learn(self.name, fact)
        if fact.status is not FactStatus.SKIPPED:
            scope.owe(self, place)
        return fact.value

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Make the child's results visible again."""
        scope.learn(name, fact)

    def undo(self, owed: Owed) -> Walker:
        """Ask for the child to be compensated."""
        place = Place(f"{UNDO}{owed.place.key}", owed.place.name, owed.place.turn)
        yield UndoChild(place, owed.place, owed.scope)

    def children(self) -> tuple[str, ...]:
        """Return the child's name."""
        return (self.workflow,)

    def owes(self) -> bool:
        """Tell that the child may have something to undo."""
        return True
