"""A pivot: the point of no return, after which a failure compensates nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..effects import Walker
from ..graph import Node
from ..scope import Scope

__all__ = ["PivotNode"]


@dataclass(frozen=True, slots=True)
class PivotNode(Node):
    """Once passed, the run can only go forward."""

    kind = "pivot"

    def walk(self, scope: Scope) -> Walker:
        """Ask for nothing: whether it was passed follows from the facts around it."""
        scope.pivot()
        return
        yield

    def forgives(self) -> bool:
        """Tell that nothing is owed once this was passed."""
        return True

    def own_names(self) -> tuple[str, ...]:
        """Leave no fact."""
        return ()
