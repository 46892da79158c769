"""Workflows that several workloads run, and databases that last as long as a measurement."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdure import Context, Engine, Workflow

from ..recording import Transaction, record

__all__ = ["INPUT", "folder", "gated", "noop", "open_engine", "recorded_runs", "straight"]

INPUT = {"order": 42, "items": ["tea", "milk"], "total": 12.5}


def noop(ctx: Context[Any]) -> Any:
    """Return a small result at once."""
    return {"ok": True}


def straight(steps: int) -> Workflow[Any, Any]:
    """Return a workflow of so many no-op steps in a row."""
    workflow = Workflow(f"straight-{steps}")
    for number in range(steps):
        workflow = workflow.step(f"step-{number}", noop)
    return workflow


def gated() -> Workflow[Any, Any]:
    """Return a workflow that waits for a signal, and then says when the step behind it began."""
    return Workflow("gated").wait_for("go").step("after", lambda ctx: time.perf_counter())


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder of its own to a measurement; it lies where TMPDIR says."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as path:
        yield Path(path)


@contextmanager
def open_engine(*workflows: Workflow[Any, Any], **options: Any) -> Iterator[Engine]:
    """Give an engine on a new database."""
    with folder() as path, Engine(path / "runs.db", *workflows, **options) as engine:
        yield engine


def recorded_runs(path: Path, workflow: Workflow[Any, Any], count: int) -> list[list[Transaction]]:
    """Run a workflow one run after the other, and return the transactions that each has cost."""
    runs = []
    with record() as tape, Engine(path, workflow, durability="normal") as engine:
        for _ in range(count):
            tape.clear()
            engine.start(workflow.name, INPUT).result(60)
            runs.append(list(tape.transactions))
    return runs
