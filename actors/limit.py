"""The deadline of one run as a whole, for workflows that have one.

Invariant: timestamps decide races, not arrival. The timer may be late, or have fired while nobody could act: so whoever
does anything for the run asks first whether its time is up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..dsl.errors import WorkflowTimeout
from ..dsl.facts import Fact, FactKind, FactStatus, Place
from .course import LIMIT, MICROS, Course
from .outcomes import error_record

if TYPE_CHECKING:
    from ..dsl.definition import Definition

__all__ = ["Limit"]


class Limit:
    """How long one run may take.

    Attributes:
        due: When its time is up, or None.
    """

    __slots__ = ("_course", "_seconds", "due")

    def __init__(self, course: Course, definition: Definition | None) -> None:
        self._course = course
        self._seconds = None if definition is None else definition.timeout
        fact = course.journal.facts.get(LIMIT)
        self.due = None if fact is None else fact.due_at

    def begin(self, start_at: int | None = None) -> None:
        """Fix the deadline: so long from now, or from when the first node may begin."""
        if self._seconds is None:
            return
        course = self._course
        due = self.due = max(course.now, start_at or 0) + round(self._seconds * MICROS)
        course.record(course.new_fact(Place(LIMIT, LIMIT), FactKind.CONTROL, FactStatus.RUNNING, due_at=due))
        course.arm(due, LIMIT)

    def postpone(self, start_at: int) -> None:
        """Count from when the first node may begin, which is later than was said."""
        if self.due is not None and self._seconds is not None:
            self.due = start_at + round(self._seconds * MICROS)
            self._course.record(self._course.journal.facts[LIMIT], due_at=self.due)
            self._course.arm(self.due, LIMIT)

    @property
    def is_up(self) -> bool:
        """Whether the run has taken as long as it may."""
        return self.due is not None and self._course.now > self.due

    def expire(self) -> Fact | None:
        """Return the fact that stops the whole run, as a cancel does, but as failed; None if it goes no further."""
        course = self._course
        if course.walk is None or course.halted or self._seconds is None:
            return None
        fact = course.journal.facts[LIMIT]
        error = error_record(WorkflowTimeout(course.row.workflow, self._seconds))
        self.drop()
        return replace(fact, status=FactStatus.FAILED, value="true", due_at=None, error=error)

    def drop(self) -> None:
        """Forget the deadline: the run has ended, or is being undone."""
        if self.due is not None:
            self.due = None
            self._course.disarm(LIMIT)
            self._course.record(self._course.journal.facts[LIMIT], status=FactStatus.COMPLETED, due_at=None)
