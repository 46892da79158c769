"""Figures about a whole database, in one read: how many runs, how quickly they come and go, how long steps take.

Nothing is counted while runs are driven: all of it is worked out of rows that are there anyway, when somebody asks.
"""

# ruff: noqa: S608 - the pieces are numbers of this file.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..dsl.facts import without_indices, without_turn
from .connection import Connection
from .limits import POOLS, PoolFigures, pool_figures

__all__ = ["STATEMENTS", "Figures", "StepFigures", "figures"]

_RUNS_SAMPLED: Final = 1000
_STEPS_SAMPLED: Final = 20_000

_STATES: Final = "SELECT state, count(*) FROM workflow_executions INDEXED BY workflow_executions_state GROUP BY state"
_STARTED: Final = "SELECT count(*) FROM workflow_executions WHERE created_at >= ?"
_ENDED: Final = "SELECT state, count(*) FROM workflow_executions WHERE finished_at >= ? GROUP BY state"
_OVERDUE: Final = (
    "SELECT count(*) FROM workflow_steps INDEXED BY workflow_timers WHERE due_at IS NOT NULL AND due_at < ?"
)
_STEPS: Final = f"""
    SELECT run.workflow, step.key, step.status, step.attempts, step.completed_at - step.started_at
    FROM (
        SELECT id, workflow FROM workflow_executions INDEXED BY workflow_executions_created
        ORDER BY created_at DESC LIMIT {_RUNS_SAMPLED}
    ) AS run CROSS JOIN workflow_steps AS step ON step.execution = run.id
    WHERE step.kind = 'step' AND step.completed_at IS NOT NULL
    LIMIT {_STEPS_SAMPLED}
"""
STATEMENTS: Final = (_STATES, _STARTED, _ENDED, _OVERDUE, _STEPS, POOLS)
"""What is asked: each is answered from an index, from so many rows, or from those of the limits that are in use."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """How one step of one workflow did in the runs that were started last; durations in microseconds.

    Attributes:
        workflow: Name of the workflow.
        step: Name of the step; the items of a ``for_each`` are one step.
        count: How often it was settled.
        failed: How often it failed for good.
        retries: How many attempts were made beyond the first ones.
        median: Half of them took no longer than this, from when they were asked for until they were settled.
        p95: Of a hundred, 95 took no longer.
        p99: Of a hundred, 99 took no longer.
        longest: What the slowest took.
    """

    workflow: str
    step: str
    count: int
    failed: int
    retries: int
    median: int
    p95: int
    p99: int
    longest: int


class Figures(NamedTuple):
    """A database at one moment.

    Attributes:
        states: How many runs are in each state that occurs.
        started: How many runs were started since the instant that was asked about.
        ended: How many ended since then, by final state.
        overdue: How many timers are due and have not been fired.
        steps: Each step of the newest runs.
        pools: Slots that runs take, as they are used.
    """

    states: dict[str, int]
    started: int
    ended: dict[str, int]
    overdue: int
    steps: list[StepFigures]
    pools: list[PoolFigures]


def figures(connection: Connection, *, since: int, now: int) -> Figures:
    """Return the figures of a database; ``since`` is where rates are counted from."""
    return Figures(
        dict(connection.execute(_STATES).fetchall()),
        int(connection.execute(_STARTED, (since,)).fetchone()[0]),
        dict(connection.execute(_ENDED, (since,)).fetchall()),
        int(connection.execute(_OVERDUE, (now,)).fetchone()[0]),
        _steps(connection.execute(_STEPS)),
        pool_figures(connection),
    )


def _steps(rows: Iterable[tuple[str, str, str, int, int]]) -> list[StepFigures]:
    found: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for workflow, key, status, attempts, took in rows:
        found.setdefault((workflow, without_indices(without_turn(key))), []).append((status, attempts, took))
    return [_of_step(workflow, step, settled) for (workflow, step), settled in sorted(found.items())]


def _of_step(workflow: str, step: str, settled: list[tuple[str, int, int]]) -> StepFigures:
    took = sorted(one[2] for one in settled)
    return StepFigures(
        workflow,
        step,
        count=len(settled),
        failed=sum(status == "failed" for status, _, _ in settled),
        retries=sum(max(attempts - 1, 0) for _, attempts, _ in settled),
        median=_percentile(took, 50),
        p95=_percentile(took, 95),
        p99=_percentile(took, 99),
        longest=took[-1],
    )


def _percentile(ascending: list[int], percent: int) -> int:
    """Return the smallest one that so many percent do not exceed."""
    return ascending[max(-(-len(ascending) * percent // 100) - 1, 0)]
