"""How an engine and its database are doing, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .actors.clock import from_micros
from .dsl.states import State
from .persistence.figures import Figures, StepFigures

__all__ = ["LimitStats", "Load", "Stats", "StepStats", "stats_of"]


@dataclass(frozen=True, slots=True)
class StepStats:
    """How one step did in the newest 1000 runs (or the first 20,000 steps of them).

    Durations are from when a step was asked for until it was settled: queues, retries and their delays count.

    Attributes:
        workflow: Name of the workflow.
        step: Name of the step; the items of a ``for_each`` are one step.
        count: How often it was settled.
        failed: How often it failed for good.
        retries: How many attempts were made beyond the first ones.
        median: Half of them took no longer than this.
        p95: Of a hundred, 95 took no longer.
        p99: Of a hundred, 99 took no longer.
        longest: What the slowest took.
    """

    workflow: str
    step: str
    count: int
    failed: int
    retries: int
    median: timedelta
    p95: timedelta
    p99: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True)
class LimitStats:
    """How far one limit of concurrency is used, by all engines on the database.

    Attributes:
        name: Its name: that of the workflow, unless it was given one.
        limit: How many runs may be under way at once, or None.
        per_key: How many runs of each key may, or None.
        held: How many runs are under way.
        waiting: How many wait in line.
        keys: How many keys have runs that are under way or wait.
    """

    name: str
    limit: int | None
    per_key: int | None
    held: int
    waiting: int
    keys: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one engine is busy with.

    Attributes:
        runs: How many runs are in memory and at work; waiting ones are not.
        busy: How many of the engine's ``concurrency`` have handlers under way.
        handlers: How many handlers are under way.
        queued: How many handlers wait for one of the engine's places.
        in_flight: Everything under way: letters, handlers, commits, events; zero means idle.
        undelivered: How many events the listeners have not been given yet.
    """

    runs: int
    busy: int
    handlers: int
    queued: int
    in_flight: int
    undelivered: int


@dataclass(frozen=True, slots=True)
class Stats:
    """How things are at one moment.

    Attributes:
        at: The moment.
        window: How far back the rates look.
        executions: How many runs are in each state that occurs.
        started: How many runs were started within the window.
        ended: How many runs ended within the window, by final state.
        overdue: How many timers are due and have not been fired; more than a few means that engines cannot keep up.
        steps: Each step of the newest runs, by workflow and name.
        load: What the engine is busy with; None where a database is looked at without one.
        limits: The limits of concurrency that were ever used, by name.
    """

    at: datetime
    window: timedelta
    executions: Mapping[State, int]
    started: int
    ended: Mapping[State, int]
    overdue: int
    steps: tuple[StepStats, ...]
    load: Load | None
    limits: tuple[LimitStats, ...] = ()

    @property
    def running(self) -> int:
        """How many runs are running or being undone."""
        return self.executions.get(State.RUNNING, 0) + self.executions.get(State.COMPENSATING, 0)

    @property
    def waiting(self) -> int:
        """How many runs wait for a signal, a time or a slot."""
        return self.executions.get(State.WAITING, 0)

    @property
    def started_per_second(self) -> float:
        """How many runs were started a second."""
        return self.started / self.window.total_seconds()

    @property
    def ended_per_second(self) -> float:
        """How many runs ended a second."""
        return sum(self.ended.values()) / self.window.total_seconds()


def stats_of(found: Figures, now: int, window: int, load: Load | None) -> Stats:
    """Return a database's figures, and an engine's if there is one, as callers see them."""
    return Stats(
        at=from_micros(now),
        window=timedelta(microseconds=window),
        executions={State(name): count for name, count in found.states.items()},
        started=found.started,
        ended={State(name): count for name, count in found.ended.items()},
        overdue=found.overdue,
        steps=tuple(map(_step, found.steps)),
        load=load,
        limits=tuple(LimitStats(*pool) for pool in found.pools),
    )


def _step(found: StepFigures) -> StepStats:
    durations = (timedelta(microseconds=one) for one in (found.median, found.p95, found.p99, found.longest))
    return StepStats(found.workflow, found.step, found.count, found.failed, found.retries, *durations)
