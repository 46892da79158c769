"""One walk over a workflow's graph in virtual time: a queue of instants in the place of lanes and a store.

The walk is the engine's own, and all it asks for is answered by assumptions; see `simulation` for the rules.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..actors.reader import CodecReader
from ..dsl.definition import Definition
from ..dsl.effects import (
    Conclude,
    Decide,
    Effect,
    Invoke,
    Remind,
    RunChild,
    TakeSlot,
    UndoChild,
    WaitFor,
    WaitUntil,
    Withdraw,
)
from ..dsl.facts import ITEMS, ErrorRecord, Fact, FactKind, FactStatus, without_indices
from ..dsl.journal import Journal
from ..dsl.programs import roll_back
from ..dsl.scope import Scope
from ..dsl.states import State
from ..dsl.walk import Walk
from ..persistence.codec import encode
from .freezing import START

__all__ = ["Assumptions", "Duration", "Journey"]

Duration = float | timedelta | tuple[float, float] | Callable[[random.Random], float]
"""Seconds, a `timedelta`, a lowest and a highest number of seconds, or a function that draws them."""


@dataclass(slots=True)
class Assumptions:
    """What user code and the outside world are taken to do."""

    fail: Mapping[str, float]
    durations: Mapping[str, Duration]
    signals: Mapping[str, Duration | None]
    branches: Mapping[str, Mapping[str, float]]
    loops: Mapping[str, int]
    items: Mapping[str, int]
    children: Mapping[str, Definition]
    chance: random.Random

    def seconds(self, name: str) -> float:
        """Return how long one attempt of a step takes."""
        return self.draw(self.durations.get(name, 0.0))

    def draw(self, duration: Duration) -> float:
        """Return a duration in seconds, drawn if it is not fixed."""
        if isinstance(duration, timedelta):
            return duration.total_seconds()
        if isinstance(duration, tuple):
            return self.chance.uniform(*duration)
        return float(duration(self.chance)) if callable(duration) else float(duration)


class Journey:
    """One run, from start to end.

    Attributes:
        now: Seconds since the first run began; at last, when this one ended.
        path: Names of the nodes that completed, in order.
        retries: Further attempts, by step.
        compensations: Compensations, by step.
        state: How it ended; ``waiting`` if it would wait for ever.
    """

    def __init__(self, definition: Definition, assumptions: Assumptions, start: float) -> None:
        self._definition = definition
        self._assume = assumptions
        self._journal = Journal(CodecReader())
        self._scope = Scope(self._journal)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)
        self._children: dict[str, Journey] = {}
        self.now = start
        self.path: list[str] = []
        self.retries: Counter[str] = Counter()
        self.compensations: Counter[str] = Counter()
        self.state = State.RUNNING
        self._walk = Walk(definition.body.walk(self._scope), self._journal)
        self._drive()
        if not self._walk.ended:
            self.state = State.WAITING
        elif self._walk.error is None:
            self.state = State.COMPLETED
        else:
            self.undo(self.now)
            self.state = State.FAILED

    def undo(self, start: float) -> None:
        """Compensate what was completed, from this instant on."""
        self.now = start
        self._walk = Walk(roll_back(self._scope.debts()), self._journal)
        self._drive()

    def _drive(self) -> None:
        self._begin_fresh()
        while self._agenda and not self._walk.ended:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
            self._begin_fresh()

    def _begin_fresh(self) -> None:
        while self._walk.fresh:
            self._begin(self._walk.fresh.pop(0))

    def _at(self, instant: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (instant, next(self._count), act))

    # ---- effects

    def _begin(self, effect: Effect) -> None:
        match effect:
            case Invoke():
                self._attempt(effect, 1)
            case Decide():
                value = encode(self._decide(effect))
                self._at(self.now, lambda: self._settle(effect, value))
            case WaitFor():
                self._wait(effect)
            case TakeSlot():
                pass  # runs are simulated one by one, and each walks its graph alone
            case WaitUntil():
                self._at(max(self.now, self._end_of_sleep(effect)), lambda: self._settle(effect))
            case RunChild():
                self._run_child(effect)
            case UndoChild():
                self._undo_child(effect)
            case Conclude() | Remind():
                pass  # nothing is ever restored here, and nobody is there to be reminded
            case Withdraw():
                self._cancel(effect)

    def _cancel(self, effect: Withdraw) -> None:
        if self._walk.asks(effect.place.key) is not None:
            place = effect.place
            fact = Fact(place.key, effect.kind, FactStatus.CANCELLED, place.turn, next(self._count))
            self._journal.facts[place.key] = fact
            self._walk.resume(fact)

    def _settle(self, effect: Effect, value: str = "null", error: ErrorRecord | None = None) -> None:
        place = effect.place
        if self._walk.asks(place.key) is not effect:
            return  # it was stopped
        kind = FactKind.STEP
        if isinstance(effect, Invoke | Decide):
            kind = effect.kind
        elif isinstance(effect, UndoChild):
            kind = FactKind.UNDO
        status = FactStatus.COMPLETED if error is None else FactStatus.FAILED
        fact = Fact(place.key, kind, status, place.turn, next(self._count), value=value, error=error)
        self._journal.facts[place.key] = fact
        if error is None and kind in (FactKind.STEP, FactKind.MAP):
            self.path.append(place.name)
        self._walk.resume(fact)

    def _fail(self, effect: Effect, kind: str) -> None:
        self._settle(effect, error=ErrorRecord(kind, "simulated", effect.place.name))

    def _attempt(self, effect: Invoke, number: int) -> None:
        if self._walk.asks(effect.place.key) is not effect:
            return  # it was stopped
        node = without_indices(effect.place.name)
        name = f"undo:{node}" if effect.kind is FactKind.UNDO else node
        if effect.kind is FactKind.UNDO and number == 1:
            self.compensations[node] += 1
        took, limit = self._assume.seconds(name), effect.policy.timeout
        late = limit is not None and took > limit
        failed = self._assume.chance.random() < self._assume.fail.get(name, 0.0) or late
        end = self.now + (limit if late and limit is not None else took)
        if not failed:
            self._at(end, lambda: self._settle(effect))
        elif number >= effect.policy.retry.attempts:
            self._at(end, lambda: self._fail(effect, "perdure.StepTimeout" if late else "Exception"))
        else:
            self.retries[name] += 1
            again = end + effect.policy.retry.delay(number, self._assume.chance.random())
            self._at(again, lambda: self._attempt(effect, number + 1))

    def _decide(self, effect: Decide) -> Any:
        name = without_indices(effect.place.name)
        if name.startswith(ITEMS):
            return [None] * self._assume.items.get(name.removeprefix(ITEMS), 1)
        node = self._definition.node(name)
        match node.kind if node is not None else "":
            case "branch":
                assert node is not None
                weights = self._assume.branches.get(name) or dict.fromkeys([label for label, _ in node.bodies()], 1.0)
                return self._assume.chance.choices(list(weights), list(weights.values()))[0]
            case "do_until":
                return (effect.turn or 0) >= self._assume.loops.get(name, 1)
            case "do_while":
                return (effect.turn or 0) < self._assume.loops.get(name, 1)
        return None

    def _wait(self, effect: WaitFor) -> None:
        arrivals = sorted(
            (self._assume.draw(comes), event)
            for event, needed in effect.demand.counts.items()
            if (comes := self._assume.signals.get(event)) is not None
            for _ in range(needed)
        )
        events = [event for _, event in arrivals]
        opens = next((at for at in range(len(events)) if effect.demand.choose(events[: at + 1]) is not None), None)
        after = None if opens is None else arrivals[opens][0]
        if opens is not None and after is not None and (effect.timeout is None or after <= effect.timeout):
            taken = [(events[at], "null") for at in effect.demand.choose(events[: opens + 1]) or ()]
            value = effect.demand.value(self._journal.reader, taken)
            self._at(self.now + after, lambda: self._settle(effect, value))
        elif effect.timeout is not None:
            self._at(self.now + effect.timeout, lambda: self._fail(effect, "perdure.SignalTimeout"))

    def _end_of_sleep(self, effect: WaitUntil) -> float:
        if isinstance(effect.until, datetime):
            return (effect.until - START).total_seconds()
        if callable(effect.until):
            return self.now + self._assume.seconds(without_indices(effect.place.name))
        return self.now + effect.until

    # ---- children

    def _run_child(self, effect: RunChild) -> None:
        definition = self._assume.children.get(effect.workflow)
        name = without_indices(effect.place.name)
        if definition is None:
            failed = self._assume.chance.random() < self._assume.fail.get(name, 0.0)
            end = self.now + self._assume.seconds(name)
            self._at(
                end, (lambda: self._fail(effect, "perdure.ChildFailed")) if failed else (lambda: self._settle(effect))
            )
            return
        child = self._children[effect.place.key] = Journey(definition, self._assume, self.now)
        self._absorb(child)
        if child.state is State.COMPLETED:
            self._at(child.now, lambda: self._settle(effect))
        elif child.state is State.FAILED:
            self._at(child.now, lambda: self._fail(effect, "perdure.ChildFailed"))

    def _undo_child(self, effect: UndoChild) -> None:
        child = self._children.get(effect.child.key)
        if child is not None:
            child.undo(self.now)
            self._absorb(child)
        self._at(self.now if child is None else child.now, lambda: self._settle(effect))

    def _absorb(self, child: Journey) -> None:
        self.retries.update(child.retries)
        self.compensations.update(child.compensations)
        child.retries.clear()
        child.compensations.clear()
