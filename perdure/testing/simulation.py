"""Walks a workflow's graph many times in virtual time, without handlers, threads or database.

Rules:

1. The walk is the engine's own; only its driver differs: a queue of virtual instants instead of lanes and a store.
2. Everything random comes from the seed: the same call gives the same figures.
3. User code is never called. What it would have said is an argument, or the plainest answer: a step succeeds at once,
   a branch takes each of its paths equally often, a loop turns once, a list has one item, a signal never comes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..dsl.definition import Definition
from ..dsl.errors import UsageError, did_you_mean
from ..dsl.states import State
from ..dsl.workflow import Workflow
from .journey import Assumptions, Duration, Journey

__all__ = ["Duration", "Simulation", "simulate"]


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
    assumptions = Assumptions(
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
        tally.add(Journey(definitions[workflow.name], assumptions, 0.0))
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

    def add(self, journey: Journey) -> None:
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
