"""Runs of three no-op steps, so many in flight, as fast as they go."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..measure import rate
from ..recording import grouped, raw_connection, write
from .shared import INPUT, folder, open_engine, recorded_runs, straight

STEPS = 3
_RECORDED = 500


def perdure(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Start and wait from several threads."""
    workflow = straight(STEPS)
    with open_engine(workflow, durability=durability, concurrency=max(in_flight, 5)) as engine:

        def start() -> Callable[[], object]:
            return engine.start(workflow.name, INPUT).result

        found = rate(start, in_flight=in_flight, callers=callers, seconds=seconds)
    return {"runs": found.per_second, "cpu": found.cpu / found.runs / STEPS * 1e6}


def raw(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Write the same rows by bare sqlite3, one commit for each turn that all runs in flight take together."""
    with folder() as path:
        runs = recorded_runs(path / "model.db", straight(STEPS), max(_RECORDED, in_flight))
        transactions = grouped(runs, in_flight)
        spent = cpu = written = 0.0
        while spent < seconds:
            connection = raw_connection(path / f"raw-{written}.db", path / "model.db", durability)
            began, used = time.perf_counter(), time.process_time()
            for transaction in transactions:
                write(connection, transaction)
            spent += time.perf_counter() - began
            cpu += time.process_time() - used
            written += len(runs)
            connection.close()
    return {"runs": written / spent, "cpu": cpu / written / STEPS * 1e6}
