"""What an actor that drives a run is made of, and what can be said of the run at any moment.

This file decides nothing.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..dsl.programs import DELAY, SLOT, forward
from ..dsl.states import ENDS
from ..persistence.records import ExecutionRow, Stored
from . import clock
from .attempts import Attempts
from .core import CoreActor
from .course import Course
from .family import Family
from .gates import Gates
from .limit import Limit
from .slot import Slot

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from ..dsl.limits import Pool
    from .supervisor import Supervisor

__all__ = ["RunActor"]

_STORM = 100


class RunActor(CoreActor):
    """The actor of one run.

    Attributes:
        definition: The graph it walks, or None when its workflow is not registered: then it only takes signals in.
        end_told: Whether the listeners have been told of the run's end.
        limit: How long the run may take as a whole.
    """

    def __init__(self, office: Supervisor, stored: Stored, definition: Definition | None) -> None:
        super().__init__(office.core)
        self.run_id = stored.execution.id
        self.definition = definition
        # One that is only looked up after its end has none to tell; whoever waits for it must read it.
        self.end_told = stored.execution.state in ENDS
        self._office = office
        self._course = Course(office, stored, self.turn)
        self._attempts = Attempts(self._course, office, self)
        self._gates = Gates(self._course, office, stored.signals)
        self.limit = Limit(self._course, definition)

    def __str__(self) -> str:
        """Name the run."""
        return f"{self.row.workflow} {self.row.execution_id}"

    # Most runs never need these: they are made when they are first asked for.

    @cached_property
    def _family(self) -> Family:
        return Family(self._course, self._office, self._attempts)

    @cached_property
    def slot(self) -> Slot:
        """What it has of its workflow's limit."""
        return Slot(self, self._course, self._office)

    @property
    def is_limited(self) -> bool:
        """Whether it needs, has or had a slot."""
        return SLOT in self._course.journal.facts

    @property
    def pool(self) -> Pool | None:
        """The slots of which it needs one before it goes on, if it does: it does not if it began without a limit."""
        return None if self.definition is None or not self.is_limited else self.definition.pool

    @property
    def row(self) -> ExecutionRow:
        """The run's row as it will be after this turn."""
        return self._course.row

    @property
    def is_stormed(self) -> bool:
        """Whether the run was sent so many signals that it must not read them all again for each one more."""
        return self._gates.accepted > _STORM

    @property
    def has_attempts(self) -> bool:
        """Whether user code is in flight for this run."""
        return bool(self._attempts.in_flight)

    @property
    def is_left_behind(self) -> bool:
        """Whether it could set out, and waits for room in memory."""
        return self._course.walk is None and self.definition is not None and self._course.is_behind

    @property
    def is_asking(self) -> bool:
        """Whether the run must not leave memory, since it is about to hear what it has asked of the database."""
        return self._course.questions > 0

    @property
    def is_put_off(self) -> bool:
        """Whether it has not begun with its first node, because its start was put off."""
        fact = self._course.journal.facts.get(DELAY)
        if fact is None:  # perhaps it is about to be: its first letter is in its inbox
            return self._course.is_new
        return not fact.settled and not self._course.halted

    def leave(self) -> None:
        """Leave memory; from now on only late letters come.

        It lets go of whatever refers back to it, and so of everything: what refers to itself in circles would stay
        until the garbage collector finds it, which costs a tenth of what a run does.
        """
        self.is_gone = True
        for helper in ("_steering", "slot"):
            vars(self).pop(helper, None)
        self._attempts.forget_actor()
        self._course.leave(self.turn)

    def _start_walk(self, start_at: int | None = None) -> None:
        assert self.definition is not None
        course = self._course
        start = None if start_at is None else clock.from_micros(start_at)
        course.walk = forward(self.definition.body, course.scope, start, self.pool)
