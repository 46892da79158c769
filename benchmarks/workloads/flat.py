"""Whether a step costs the same in a short and in a long workflow, and a turn in a young and in an old loop."""

from __future__ import annotations

from typing import Any

from perdure import Context, Workflow

from ..measure import median, repeat
from .shared import noop, open_engine, straight


def perdure(*, kind: str, sizes: list[int]) -> dict[str, float]:
    """Run workflows of each size, alone, and divide by the size."""
    workflows = {size: straight(size) if kind == "steps" else _loop(size) for size in sizes}
    found: dict[int, list[float]] = {size: [] for size in sizes}
    with open_engine(*workflows.values(), durability="normal") as engine:

        def once(size: int) -> None:
            engine.start(workflows[size].name).result()

        for size in sizes:
            once(min(size, sizes[0]))
        for _ in range(3):
            for size in sizes:
                found[size].append(repeat(lambda size=size: once(size), max(1, 200 // size)) / size)  # type: ignore[misc]
    costs = {f"{size}": 1e6 * median(costs) for size, costs in found.items()}
    return {**costs, "growth": costs[f"{sizes[-1]}"] / costs[f"{sizes[0]}"]}


def _loop(turns: int) -> Workflow[Any, Any]:
    def enough(ctx: Context[Any], turn: int) -> bool:
        return turn >= turns

    return Workflow(f"loop-{turns}").do_until(enough, lambda body: body.step("work", noop), max_iterations=turns + 1)
