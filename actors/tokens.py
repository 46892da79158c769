"""The tokens that the attempts of one run take, where a step has a rate.

Rules:

1. When a token is an attempt's is known once the question is on disk: the commit that holds it answers it.
2. Whoever has to wait for a token has one: it waits for the moment at which it is its own, with a timer like any other.
3. A token that was not used when it was due is lost. Otherwise all that had to wait while nobody drove them would begin
   at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..dsl import events as ev
from ..dsl import messages as msg
from ..dsl.effects import Invoke
from ..dsl.facts import Fact, FactStatus
from ..persistence.codec import encode
from ..persistence.records import TokenAsk
from . import clock
from .core import CoreActor, Letter
from .course import Course
from .slot import wanted_of

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Tokens"]

_GOOD_FOR: Final = 1_000_000
"""Microseconds for which a token may be used once it is due."""


class Tokens:
    """What one run has to do with the rates of its steps."""

    __slots__ = ("_actor", "_course", "_office")

    def __init__(self, course: Course, office: Supervisor, actor: CoreActor) -> None:
        self._course = course
        self._office = office
        self._actor = actor

    def allow(self, effect: Invoke, fact: Fact) -> bool:
        """Tell whether an attempt may begin now; if it has to have a token first, ask for one."""
        if fact.status is FactStatus.WAITING and fact.due_at is not None:
            return 0 <= self._course.now - fact.due_at <= _GOOD_FOR or self._ask(effect, fact)
        return self._ask(effect, fact)

    def _ask(self, effect: Invoke, fact: Fact) -> bool:
        course, bucket = self._course, effect.policy.rate
        assert bucket is not None
        name = bucket.name or f"{course.row.workflow}.{effect.scope.node_name(effect.place)}"
        if fact.due_at is not None:
            course.disarm(fact.key)
        course.wake()
        value = encode([name, effect.bucket_key])
        course.record(fact, status=FactStatus.WAITING, value=value, due_at=None)
        ask = TokenAsk(name, effect.bucket_key, bucket.interval, bucket.most, course.now)
        course.turn.tokens += (ask,)
        course.questions += 1
        actor, core, key, turn = self._actor, self._office.core, fact.key, fact.turn
        course.turn.acts.append(lambda: core.post(actor, Letter(msg.TokenGiven(key, turn, ask.due))))
        return False

    def given(self, message: msg.TokenGiven) -> Fact | None:
        """Wait until the token is the attempt's own; return the attempt's fact, if that is now."""
        course = self._course
        course.questions -= 1
        effect = None if course.walk is None else course.walk.asks(message.key)
        fact = course.journal.facts.get(message.key)
        asked = fact is not None and fact.status is FactStatus.WAITING and fact.due_at is None
        if fact is None or not asked or fact.turn != message.turn or not isinstance(effect, Invoke) or course.halted:
            return None
        if message.due <= course.now and not course.paused:
            return fact
        wanted = wanted_of(fact)
        assert wanted is not None
        fields = {"step": effect.place.name, "limit": wanted.limit, "key": wanted.key}
        course.emit(ev.StepThrottled, **fields, until=clock.from_micros(message.due))
        course.record(fact, due_at=message.due)
        course.arm(message.due, fact.key)
        return None
