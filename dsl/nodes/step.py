"""A step: one handler of the user's, tried under a policy, its result recorded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ..effects import Decide, Invoke, Walker
from ..facts import UNDO, Fact, FactKind, FactStatus, Place
from ..graph import Node
from ..limits import RATE_KEY, check_key
from ..policies import AttemptPolicy
from ..scope import Owed, Scope
from ..walk import Broken, Withdrawn

__all__ = ["StepNode"]


@dataclass(frozen=True, slots=True)
class StepNode(Node):
    """A step of a workflow.

    Attributes:
        handler: The user's function.
        policy: How it is tried.
        compensation: Its undo, if any.
        undo_policy: How the undo is tried.
        compensate_on_failure: Whether the undo also runs when the step itself failed, since its effect may have
            happened.
    """

    handler: Callable[..., Any]
    policy: AttemptPolicy
    compensation: Callable[..., Any] | None = None
    undo_policy: AttemptPolicy = field(default_factory=AttemptPolicy)
    compensate_on_failure: bool = False

    kind = "step"

    def walk(self, scope: Scope) -> Walker:
        """Ask for the handler to be run; owe its undo once it has completed."""
        place = scope.place(self.name)
        bucket_key = ""
        if self.policy.rate is not None and (question := self.policy.rate.question) is not None:
            whose = scope.place(f"{RATE_KEY}{self.name}")
            bucket_key = scope.journal.value((yield Decide(whose, question, scope, FactKind.KEY, check=check_key)))
        try:
            fact = yield Invoke(place, self.handler, self.policy, scope, bucket_key=bucket_key)
        except Broken:
            self._owe_what_may_have_happened(scope, place)
            raise
        except Withdrawn as end:
            if end.begun:
                self._owe_what_may_have_happened(scope, place)
            raise
        scope.learn(self.name, fact)
        if self.compensation and fact.status is not FactStatus.SKIPPED:
            scope.owe(self, place)
        return fact.value

    def _owe_what_may_have_happened(self, scope: Scope, place: Place) -> None:
        if self.compensation and self.compensate_on_failure:
            scope.owe(self, place)

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Make the result visible again."""
        scope.learn(name, fact)

    def parking(self) -> Self:
        """Wait for an operator after the last attempt, unless the step says what is to be done then."""
        if self.policy.on_exhausted is not None:
            return self
        return replace(self, policy=replace(self.policy, on_exhausted="park"))

    def undo(self, owed: Owed) -> Walker:
        """Ask for the compensation to be run with the context the step had."""
        place = Place(f"{UNDO}{owed.place.key}", owed.place.name, owed.place.turn)
        assert self.compensation is not None  # only then is anything owed
        yield Invoke(place, self.compensation, self.undo_policy, owed.scope, FactKind.UNDO, undoes=owed.place)

    def owes(self) -> bool:
        """Tell whether there is a compensation."""
        return self.compensation is not None
