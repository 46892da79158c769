"""One run at a time, from the call of ``start`` to its result in the caller's hands."""

from __future__ import annotations

import itertools

from ..measure import latencies, percentiles
from ..recording import raw_connection, write
from .shared import INPUT, folder, open_engine, recorded_runs, straight

_RECORDED = 300


def perdure(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Start a run and wait for its result, again and again."""
    workflow = straight(steps)
    with open_engine(workflow, durability=durability) as engine:

        def once() -> None:
            engine.start(workflow.name, INPUT).result()

        found = latencies(once, seconds=seconds)
    return {**percentiles(found), "runs": len(found) / sum(found)}


def raw(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Write the same rows in the same commits."""
    with folder() as path:
        runs = recorded_runs(path / "model.db", straight(steps), _RECORDED)
        connection = raw_connection(path / "raw.db", path / "model.db", durability)
        turn = itertools.cycle(runs)

        def once() -> None:
            for transaction in next(turn):
                write(connection, transaction)

        found = latencies(once, seconds=seconds)
        connection.close()
    return {**percentiles(found), "runs": len(found) / sum(found)}
