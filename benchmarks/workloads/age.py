"""Whether a database that holds many finished runs makes anything slower."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perdure import Engine

from ..measure import latencies, median, stopwatch
from .shared import INPUT, folder, gated, straight

_REAL = 100


def perdure(*, stored: int, seconds: float) -> dict[str, float]:
    """Use each call on an engine whose database holds so many finished runs."""
    workflow = straight(3)
    with folder() as path:
        database = path / "runs.db"
        with Engine(database, workflow, durability="normal") as engine:
            for _ in range(min(stored, _REAL)):
                known = engine.start(workflow.name, INPUT)
                known.result()
        if stored > _REAL:
            _multiply(database, stored)
        with Engine(database, workflow, gated(), durability="normal") as engine:

            def run() -> None:
                engine.start(workflow.name, INPUT).result()

            def signal() -> float:
                waiting = engine.start("gated")
                with stopwatch() as watch:
                    waiting.signal("go")
                    waiting.result()
                return watch[0]

            share = seconds / 5
            found = {
                "run": median(latencies(run, seconds=share)),
                "signal": median(latencies(signal, seconds=share)),
                "get": median(latencies(lambda: engine.get_execution(known.id), seconds=share)),
                "list": median(latencies(lambda: engine.list_executions(limit=100), seconds=share)),
                "list-state": median(
                    latencies(lambda: engine.list_executions(state="completed", limit=100), seconds=share)
                ),
            }
            with stopwatch() as watch:
                moved = engine.archive(0)
            found["archive"] = watch[0] / max(moved, 1)
    return {name: 1e6 * cost for name, cost in found.items()}


def _multiply(database: Path, stored: int) -> None:
    """Copy the finished runs until there are enough, by SQL: this prepares the measurement, it is no part of it."""
    connection = sqlite3.connect(database)
    runs = [run for (run,) in connection.execute("SELECT id FROM workflow_executions ORDER BY id")]
    columns = {
        table: [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        for table in ("workflow_executions", "workflow_steps")
    }
    own = {"workflow_executions": "id", "workflow_steps": "execution"}
    for copy in range(1, -(-stored // len(runs))):
        for table, names in columns.items():
            # Between the ids of the runs that are there and those of the next engine.
            changed = {own[table]: f"{own[table]} + {copy * 1_000_000}", "execution_id": f"execution_id || '-{copy}'"}
            values = ", ".join(changed.get(name, name) for name in names)
            some = f"{own[table]} BETWEEN {runs[0]} AND {runs[-1]}"
            connection.execute(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE {some}")  # noqa: S608
    connection.commit()
    connection.close()
