"""What a command line tool or a test pays: import, opening a database that exists, closing an idle engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perdure import Engine

from ..measure import median, stopwatch
from .shared import INPUT, folder, straight

_IMPORT = "import time; began = time.perf_counter(); import perdure; print(time.perf_counter() - began)"
_CHECKOUT = Path(__file__).resolve().parents[2]


def perdure(*, rounds: int) -> dict[str, float]:
    """Import in a new interpreter each time; open and close a database with some finished runs in it."""
    workflow = straight(3)
    found: dict[str, list[float]] = {"import": [], "open": [], "close": []}
    with folder() as path:
        database = path / "runs.db"
        with Engine(database, workflow, durability="normal") as engine:
            for _ in range(100):
                engine.start(workflow.name, INPUT).result()
        for _ in range(rounds):
            found["import"].append(_import())
            with stopwatch() as opened:
                engine = Engine(database, workflow)
            engine.start(workflow.name, INPUT).result()
            with stopwatch() as closed:
                engine.close()
            found["open"].append(opened[0])
            found["close"].append(closed[0])
    return {name: 1000 * median(values) for name, values in found.items()}


def _import() -> float:
    command = [sys.executable, "-c", _IMPORT]
    return float(subprocess.run(command, cwd=_CHECKOUT, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - this interpreter
