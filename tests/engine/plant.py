"""Machines that break, and runs of them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from perdure import (
    Context,
    Engine,
    Workflow,
)
from tests.patience import PATIENCE

__all__ = ["PATIENCE", "Flow", "Plant", "run", "state"]


Flow = Workflow[Any, Any]


class Plant:
    """Machines that are broken or not; knows what has run, by step and attempt."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.ran: list[tuple[str, int]] = []

    def __call__(self, ctx: Context[Any]) -> str:
        self.ran.append((ctx.step_name, ctx.attempt))
        if ctx.step_name in self.broken:
            msg = "broken"
            raise ValueError(msg)
        return ctx.step_name

    def undo(self, ctx: Context[Any]) -> None:
        self.ran.append((f"undo {ctx.step_name}", ctx.attempt))
        if f"undo {ctx.step_name}" in self.broken:
            msg = "stuck"
            raise ValueError(msg)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.ran]

    @property
    def order(self) -> list[str]:
        """Names as they ran one after the other; a crash may have had one of them run again, or not."""
        return [name for name, _ in groupby(self.names)]


def run(engine: Engine, *workflows: Flow, **options: Any) -> str:
    """Start the first workflow and let everything happen; return the state."""
    engine.register(*workflows)
    engine.start(workflows[0].name, id="run", **options)
    engine.settle()
    return state(engine)


def state(engine: Engine, run_id: str = "run") -> str:
    engine.settle()
    execution = engine.get_execution(run_id)
    assert execution is not None
    return str(execution.state)
