"""Walks a workflow's graph many times in virtual time, without handlers, threads or database.

Rules:

1. The walk is the engine's own; only its driver differs: a queue of virtual instants instead of lanes and a store.
2. Everything random comes from the seed: the same call gives the same figures.
3. User code is never called. What it would have said is an argument, or the plainest answer: a step succeeds at once,
   a branch takes each of its paths equally often, a loop turns once, a list has one item, a signal never comes.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..actors.reader import CodecReader
from ..dsl.definition import Definition
from ..dsl.effects import Conclude, Decide, Effect, Invoke, Remind, RunChild, UndoChild, WaitFor, WaitUntil, Withdraw
from ..dsl.errors import UsageError, did_you_mean
from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus
from ..dsl.journal import Journal
from ..dsl.programs import roll_back
from ..dsl.scope import Scope
from ..dsl.states import State
from ..dsl.walk import Walk
from ..dsl.workflow import Workflow
from ..persistence.codec import encode
from .freezing import START

__all__ = ["Duration", "Simulation", "simulate"]

Duration = float | timedelta | tuple[float, float] | Callable[[random.Random], float]
"""Seconds, a `timedelta`, a lowest and a highest number of seconds, or a function that draws them."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What so many simulated runs came to.

    Attributes:
        runs: How many there were.
        states: How many ended in each state; ``waiting`` are those that would wait for ever.
        paths: How many took each way: the names of the nodes that completed, in order.
        durations: Seconds from start to end of every run that ended, ascending.
        retries: Expected further attempts a run, by step.
        compensations: Expected compensations a run, by step.
    """

    runs: int
    states: Mapping[State, int]
    paths: Mapping[tuple[str, ...], int]
    durations: tuple[float, ...]
    retries: Mapping[str, float]
    compensations: Mapping[str, float]

    def percentile(self, percent: float) -> timedelta:
        """Return the duration within which so many percent of the runs end.

        Raises:
            UsageError: it is no percentage, or no run has ended.
        """
        if not 0 <= percent <= 100 or not self.durations:  # noqa: PLR2004 - percent
            msg = f"percentile({percent!r}): give 0 to 100, of runs that have ended ({len(self.durations)} have)"
            raise UsageError(msg)
        place = min(int(len(self.durations) * percent / 100), len(self.durations) - 1)
        return timedelta(seconds=self.durations[place])

    def __str__(self) -> str:
        """Show it as a page."""
        lines = [
            f"{self.runs} runs: " + ", ".join(f"{count / self.runs:.1%} {state}" for state, count in _most(self.states))
        ]
        if self.durations:
            lines.append("duration: " + ", ".join(f"p{part} {self.percentile(part)}" for part in (50, 90, 99)))
        lines += [
            f"path {count / self.runs:6.1%}  {' > '.join(path) or '(nothing completed)'}"
            for path, count in _most(self.paths)[:10]
        ]
        lines += [f"retries of {step}: {mean:.2f} a run" for step, mean in self.retries.items()]
        lines += [f"compensations of {step}: {mean:.2f} a run" for step, mean in self.compensations.items()]
        return "\n".join(lines)


def _most(counts: Mapping[Any, int]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))


@dataclass(slots=True)
class _Assumptions:
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
        return self.draw(self.durations.get(name, 0.0))

    def draw(self, duration: Duration) -> float:
        if isinstance(duration, timedelta):
            return duration.total_seconds()
        if isinstance(duration, tuple):
            return self.chance.uniform(*duration)
        return float(duration(self.chance)) if callable(duration) else float(duration)


def simulate(
    workflow: Workflow[Any, Any],
    *children: Workflow[Any, Any],
    n: int = 1000,
    fail: Mapping[str, float] | None = None,
    durations: Mapping[str, Duration] | None = None,
    signals: Mapping[str, Duration | None] | None = None,
    branches: Mapping[str, Mapping[str, float]] | None = None,
    loops: Mapping[str, int] | None = None,
    items: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Simulation:
    """Walk a workflow ``n`` times in virtual time and say what came of it.

    Args:
        workflow: The workflow.
        children: Workflows it starts; one that is left out is taken for a step named ``sub:<name>``.
        n: How many runs.
        fail: Probability that an attempt of a step fails; ``"undo:charge"`` for the compensation of ``charge``.
        durations: How long an attempt of a step takes, or a sleep whose end a function computes.
        signals: How long after a gate opens its signal comes; None, or no mention, for never.
        branches: Weights of a branch's labels, by the branch's name.
        loops: How often a loop turns, by its name.
        items: How many items a ``for_each`` has, by its name.
        seed: What everything random is drawn from.

    Raises:
        UsageError: a name stands for nothing in the workflows, or ``n`` is not positive.

    Example:
        >>> shop = Workflow("shop").step("charge", lambda: 1, retry=2).step("ship", lambda: 2)
        >>> print(simulate(shop, n=100, fail={"charge": 0.0}, durations={"charge": 2.0, "ship": (1, 1)}))
        100 runs: 100.0% completed
        duration: p50 0:00:03, p90 0:00:03, p99 0:00:03
        path 100.0%  charge > ship
    """
    definitions = {one.name: one.definition() for one in (workflow, *children)}
    if n < 1:
        msg = f"n must be at least 1, not {n}"
        raise UsageError(msg)
    assumptions = _Assumptions(
        fail or {},
        durations or {},
        signals or {},
        branches or {},
        loops or {},
        items or {},
        definitions,
        random.Random(seed),  # noqa: S311 - no secrets here
    )
    for given in (fail, durations, signals, branches, loops, items):
        _check_names(given or {}, definitions)
    tally = _Tally()
    for _ in range(n):
        tally.add(_Journey(definitions[workflow.name], assumptions, 0.0))
    return tally.simulation()


def _check_names(given: Mapping[str, Any], definitions: Mapping[str, Definition]) -> None:
    known = {name.removeprefix("__items:") for one in definitions.values() for name in one.body.all_names()}
    known |= {node.name for one in definitions.values() for node in one.body.every()}
    known |= {event for one in definitions.values() for event in one.events}
    for name in given:
        if name.removeprefix("undo:") not in known:
            msg = f"nothing in the workflow is called {name!r}{did_you_mean(name, known)}"
            raise UsageError(msg)


@dataclass(slots=True)
class _Tally:
    runs: int = 0
    states: Counter[State] = field(default_factory=Counter)
    paths: Counter[tuple[str, ...]] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    compensations: Counter[str] = field(default_factory=Counter)

    def add(self, journey: _Journey) -> None:
        self.runs += 1
        self.states[journey.state] += 1
        self.paths[tuple(journey.path)] += 1
        if journey.state is not State.WAITING:
            self.durations.append(journey.now)
        self.retries.update(journey.retries)
        self.compensations.update(journey.compensations)

    def simulation(self) -> Simulation:
        return Simulation(
            self.runs,
            dict(self.states),
            dict(self.paths),
            tuple(sorted(self.durations)),
            {step: count / self.runs for step, count in sorted(self.retries.items())},
            {step: count / self.runs for step, count in sorted(self.compensations.items())},
        )


class _Journey:
    """One run, from start to end."""

    def __init__(self, definition: Definition, assumptions: _Assumptions, start: float) -> None:
        self._definition = definition
        self._assume = assumptions
        self._journal = Journal(CodecReader())
        self._scope = Scope(self._journal)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)
        self._children: dict[str, _Journey] = {}
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
        node = _node_name(effect.place.name)
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
        name = _node_name(effect.place.name)
        if name.startswith("__items:"):
            return [None] * self._assume.items.get(name.removeprefix("__items:"), 1)
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
            return self.now + self._assume.seconds(_node_name(effect.place.name))
        return self.now + effect.until

    # ---- children

    def _run_child(self, effect: RunChild) -> None:
        definition = self._assume.children.get(effect.workflow)
        name = _node_name(effect.place.name)
        if definition is None:
            failed = self._assume.chance.random() < self._assume.fail.get(name, 0.0)
            end = self.now + self._assume.seconds(name)
            self._at(
                end, (lambda: self._fail(effect, "perdure.ChildFailed")) if failed else (lambda: self._settle(effect))
            )
            return
        child = self._children[effect.place.key] = _Journey(definition, self._assume, self.now)
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

    def _absorb(self, child: _Journey) -> None:
        self.retries.update(child.retries)
        self.compensations.update(child.compensations)
        child.retries.clear()
        child.compensations.clear()


def _node_name(name: str) -> str:
    """Return the name of the node, without the indices of the items it stands in."""
    while (parts := name.rpartition(":"))[1] and parts[2].isdigit():
        name = parts[0]
    return name
