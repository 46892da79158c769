"""How many bytes of the database a finished run of three steps keeps."""

from __future__ import annotations

from perdure import Engine

from ..measure import rate
from .shared import INPUT, folder, straight


def perdure(*, seconds: float) -> dict[str, float]:
    """Finish runs, close, and look at the file."""
    workflow = straight(3)
    with folder() as path:
        database = path / "runs.db"
        with Engine(database, workflow, durability="normal"):
            pass
        empty = database.stat().st_size
        with Engine(database, workflow, durability="normal", concurrency=50) as engine:
            rate(lambda: engine.start(workflow.name, INPUT).result, in_flight=48, callers=16, seconds=seconds)
        with Engine(database, workflow) as engine:
            runs = _count(engine)
        return {"bytes": (database.stat().st_size - empty) / runs}


def _count(engine: Engine) -> int:
    pages = 0
    while len(engine.list_executions(limit=1000, offset=1000 * pages)) == 1000:
        pages += 1
    return 1000 * pages + len(engine.list_executions(limit=1000, offset=1000 * pages))
