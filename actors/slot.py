"""The slot of one run whose workflow is limited: asked for, waited for in line, had, given back.

Rules:

1. Whether there is a slot is known once the question is on disk: the commit that holds it answers it. So a run asks in
   one turn and hears in the next.
2. The fact says how far the run has come: it is to ask, has asked, waits in line, or has its slot. The database's row
   is what counts, and stands as long as the run has or wants a slot.
3. A run has no slot once it has ended or was set aside. What it does to undo itself after its end needs none.
4. A run that began when its workflow was not limited never asks for a slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import TakeSlot
from ..dsl.facts import Fact, FactKind, FactStatus, Place
from ..dsl.programs import DELAY, SLOT, SLOT_KEY
from ..persistence.codec import decode, encode
from ..persistence.records import PoolRow, SlotAsk, SlotGivenBack, SlotHeld
from .core import Letter
from .course import Course

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from ..dsl.limits import Pool
    from .run_actor import RunActor
    from .supervisor import Supervisor

__all__ = ["SINGLETON", "Slot", "Wanted", "pool_row", "wanted_of"]

SINGLETON = "__singleton"
"""The idempotency key of a run of a singleton that was given none."""


class Wanted(NamedTuple):
    """What a run has, or waits for, of a limit: its name and whose run it is."""

    limit: str
    key: str


def wanted_of(fact: Fact) -> Wanted | None:
    """Return which limit a fact waits for, if it waits for one."""
    value: Any = None if fact.value is None else decode(fact.value)
    return Wanted(*value) if isinstance(value, list) else None


def pool_row(definition: Definition, pool: Pool) -> PoolRow:
    """Return how many slots the runs of a workflow have."""
    return PoolRow(pool.name or definition.name, pool.limit, pool.per_key)


class Slot:
    """What one run has to do with the limit of its workflow."""

    __slots__ = ("_actor", "_course", "_office")

    def __init__(self, actor: RunActor, course: Course, office: Supervisor) -> None:
        self._actor = actor
        self._course = course
        self._office = office

    @property
    def is_awaited(self) -> bool:
        """Whether the walk stands before the graph, for want of a slot."""
        walk = self._course.walk
        return walk is not None and (walk.asks(SLOT) is not None or walk.asks(SLOT_KEY) is not None)

    def begin(self) -> None:
        """Note that the run is to ask for a slot; its time counts from when it has one."""
        self._course.record(self._course.new_fact(Place(SLOT, SLOT), FactKind.SLOT, FactStatus.RETRYING))

    def ask(self, effect: TakeSlot, fact: Fact | None) -> None:
        """Ask for a slot; one that stands in line hears when it is its turn."""
        if fact is None or fact.status is FactStatus.WAITING:
            return
        course, definition = self._course, self._actor.definition
        assert definition is not None
        pool = pool_row(definition, effect.pool)
        wanted = wanted_of(fact) if fact.status is FactStatus.RUNNING else None  # it has asked, before a crash
        wanted = wanted or Wanted(pool.name, self._key_of(effect))
        course.record(fact, status=FactStatus.RUNNING, value=encode(list(wanted)), started_at=course.now)
        ask = SlotAsk(
            pool._replace(name=wanted.limit), course.run_id, wanted.key, course.row.priority, self._came_at(fact)
        )
        course.turn.slots += (ask,)
        course.questions += 1
        course.wake()  # a run that is said to wait is not looked at by the next start
        actor, core = self._actor, self._office.core
        course.turn.acts.append(
            lambda: core.post(actor, Letter(msg.SlotGiven(asked=True) if ask.given else msg.NoSlot()))
        )

    def _key_of(self, effect: TakeSlot) -> str:
        return (self._course.row.idempotency_key or SINGLETON) if effect.pool.is_singleton else effect.key

    def _came_at(self, fact: Fact) -> int:
        """Return when the run came to the line: when it was started, or could begin, unless it comes once more."""
        if fact.attempts:
            return self._course.now
        delay = self._course.journal.facts.get(DELAY)
        return self._course.row.created_at if delay is None else delay.completed_at or self._course.now

    def refused(self) -> None:
        """Stand in line: there was no slot."""
        course = self._course
        course.questions -= 1
        fact = self._awaited()
        if fact is None or fact.status is FactStatus.WAITING:
            return
        wanted = wanted_of(fact)
        assert wanted is not None  # it was written with the question
        course.record(fact, status=FactStatus.WAITING)
        course.emit(ev.WorkflowQueued, limit=wanted.limit, key=wanted.key)

    def given(self, *, asked: bool) -> bool:
        """Go on with a slot, asked for just now or its own after a time in line; tell whether it was awaited."""
        course = self._course
        course.questions -= asked
        fact = self._awaited()
        if fact is None:
            return False
        wanted = wanted_of(fact)
        assert wanted is not None
        course.wake()
        waited = (course.now - fact.started_at) / 1_000_000 if fact.status is FactStatus.WAITING else 0.0
        course.emit(ev.WorkflowAdmitted, limit=wanted.limit, key=wanted.key, waited=waited)
        course.turn.slots += (SlotHeld(wanted.limit, course.run_id),)
        course.settle(fact, FactStatus.COMPLETED)
        return True

    def _awaited(self) -> Fact | None:
        walk = self._course.walk
        effect = None if walk is None else walk.asks(SLOT)
        fact = self._course.journal.facts.get(SLOT)
        asked = fact is not None and fact.status in (FactStatus.RUNNING, FactStatus.WAITING)
        return fact if isinstance(effect, TakeSlot) and asked else None

    def leave(self) -> None:
        """Give back what the run has, or its place in line."""
        fact = self._course.journal.facts.get(SLOT)
        wanted = None if fact is None or fact.status is FactStatus.RETRYING else wanted_of(fact)
        if wanted is not None:
            self._course.turn.slots += (SlotGivenBack(wanted.limit, self._course.run_id),)
            self._course.turn.acts.append(self._office.doorkeeper.look)

    def forgo(self) -> None:
        """Leave the line, since the limit was taken away; if there is one again some day, stand in line anew."""
        fact = self._course.journal.facts[SLOT]
        if fact.status in (FactStatus.RUNNING, FactStatus.WAITING):
            self.leave()
            self._course.record(fact, status=FactStatus.RETRYING, value=None)

    def again(self) -> None:
        """Have a run that had given its slot back ask for one before it goes on."""
        course = self._course
        if (key := course.journal.facts.get(SLOT_KEY)) is not None and key.status is FactStatus.FAILED:
            course.forget(SLOT_KEY)
        fact = course.journal.facts[SLOT]
        course.record(fact, status=FactStatus.RETRYING, attempts=fact.attempts + 1, value=None, completed_at=None)
