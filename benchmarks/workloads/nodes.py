"""Node kinds that do many things at once: ``for_each`` of 100, ``parallel`` of 50, a sub-workflow of one step."""

from __future__ import annotations

from typing import Any

from perdure import Workflow, step

from ..measure import latencies, percentiles
from .shared import noop, open_engine, straight


def _workflow(kind: str) -> Workflow[Any, Any]:
    match kind:
        case "for_each":
            return Workflow(kind).for_each(lambda ctx: list(range(100)), "item", noop)
        case "parallel":
            return Workflow(kind).parallel(*(step(f"strand-{number}")(noop) for number in range(50)))
        case _:
            return Workflow(kind).sub_workflow("straight-1")


def perdure(*, durability: str, kind: str, seconds: float) -> dict[str, float]:
    """Run the one node, again and again."""
    with open_engine(straight(1), _workflow(kind), durability=durability, concurrency=50) as engine:

        def once() -> None:
            engine.start(kind).result()

        found = latencies(once, seconds=seconds)
    return percentiles(found)
