"""What all gates have in common: a demand, a deadline and another way when it passes, and reminders meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

from .demands import AnyOf, Demand
from .effects import Invoke, Join, Remind, WaitFor, Walker
from .errors import DefinitionError
from .facts import Fact, FactKind, kept_beside
from .graph import Body, Inside, Node
from .joining import FirstStrand
from .policies import AttemptPolicy, Duration, seconds
from .scope import Scope
from .signals import Signal
from .walk import Broken

__all__ = ["GateNode", "Reminder", "check_reminder"]


class Reminder(NamedTuple):
    """What is done while a gate waits.

    Attributes:
        every: Seconds between two reminders, from when the wait began.
        handler: Gives the reminder; None if the event is enough.
        policy: How the handler is tried.
    """

    every: float
    handler: Callable[..., Any] | None = None
    policy: AttemptPolicy = AttemptPolicy()


@dataclass(frozen=True, slots=True)
class GateNode(Node):
    """A wait for what the demand says.

    When it is not met in time, ``on_timeout`` is walked instead of failing, or the path ``leads_to`` of the branch that
    follows is taken without asking its selector.
    """

    demand: Demand
    timeout: float | None = None
    on_timeout: Body | None = None
    reminder: Reminder | None = None
    leads_to: str | None = None

    prefix: ClassVar[str] = ""

    def walk(self, scope: Scope) -> Walker:
        """Ask for the oldest signals not yet taken that meet the demand."""
        gate = WaitFor(scope.place(self.name), self.demand, self.timeout, scope)
        try:
            if self.reminder is None:
                fact = yield gate
            else:  # the reminders are a strand beside the gate, which ends with it
                yield Join([_wait(gate), self._remind(scope, self.reminder)], 2, policy=FirstStrand())
                fact = scope.journal.facts[gate.place.key]
        except Broken:
            if self.leads_to is not None:
                scope.led = self.leads_to
                return None
            if self.on_timeout is None:
                raise
            return (yield from self.on_timeout.walk(scope))
        self._learn(scope, fact)
        return fact.value

    def _learn(self, scope: Scope, fact: Fact) -> None:
        assert fact.value is not None
        for event, payloads in self.demand.heard(scope.journal.reader, fact.value):
            scope.hear(event, fact, payloads)

    def recall(self, scope: Scope, name: str, fact: Fact) -> None:
        """Make the payloads visible again."""
        if fact.kind is FactKind.GATE:
            self._learn(scope, fact)

    # ---- reminders

    def _remind(self, scope: Scope, reminder: Reminder) -> Walker:
        number = self._given(scope)
        while True:
            turn = scope.at_turn(number, kept=False)
            gate = scope.place(self.name)
            yield Remind(turn.place(self._clock_name), gate, self.demand.label, reminder.every, number, turn)
            if reminder.handler is not None:
                with suppress(Broken):  # who was not reminded now will be the next time
                    yield Invoke(turn.place(self._reminder_name), reminder.handler, reminder.policy, turn)
            number += 1

    def _given(self, scope: Scope) -> int:
        """Return the number of the reminder that a recorded wait has come to; each takes the place of another."""
        journal = scope.journal
        for name in (self._clock_name, self._reminder_name):
            key = scope.place(name).key
            journal.mark(key)
            journal.mark(kept_beside(key))
        fact = journal.facts.get(scope.place(self._clock_name).key)
        return 1 if fact is None or fact.turn[:-1] != scope.turn else fact.turn[-1]

    @property
    def _clock_name(self) -> str:
        return f"__remindAt:{self.name.removeprefix(self.prefix)}"

    @property
    def _reminder_name(self) -> str:
        return f"__remind:{self.name.removeprefix(self.prefix)}"

    # ---- the graph

    def bodies(self) -> tuple[tuple[str, Body], ...]:
        """Return the way taken on a timeout, if there is one."""
        return (("timeout", self.on_timeout),) if self.on_timeout is not None else ()

    @property
    def inside(self) -> Inside:
        """The way taken on a timeout is taken instead of the signal's."""
        return Inside.INSTEAD

    def with_bodies(self, bodies: tuple[tuple[str, Body], ...]) -> Self:
        """Return the same node around other bodies."""
        return replace(self, on_timeout=bodies[0][1]) if bodies else self

    def own_names(self) -> tuple[str, ...]:
        """Leave the gate's fact, and those of its reminders."""
        return (self.name,) if self.reminder is None else (self.name, self._clock_name, self._reminder_name)

    def signals(self) -> tuple[Signal[Any], ...]:
        """Return the signals it takes."""
        return self.demand.signals

    def hears_all(self) -> bool:
        """Tell whether all of them have come when it is passed."""
        return not isinstance(self.demand, AnyOf)


def _wait(gate: WaitFor) -> Walker:
    fact = yield gate
    return fact.value


def check_reminder(
    every: Duration | None, handler: Callable[..., Any] | None, timeout: float | None, what: str
) -> Reminder | None:
    """Return the reminder that was asked for, if any.

    Raises:
        DefinitionError: the duration or handler cannot be used, or no reminder would ever be given.
    """
    if every is None:
        if handler is not None:
            msg = f"{what}: remind needs remind_every: how long until the first reminder, and between two"
            raise DefinitionError(msg)
        return None
    interval = seconds(every, f"{what}: remind_every", positive=True)
    if timeout is not None and interval >= timeout:
        msg = f"{what}: remind_every={interval:g} s is not shorter than timeout={timeout:g} s: nobody would be reminded"
        raise DefinitionError(msg)
    return Reminder(interval, handler)
