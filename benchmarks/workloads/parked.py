"""What runs that only wait cost an engine that has them: memory, threads, processor time, writes.

Each has a deadline, a day away, so that the timers are there too.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import Engine, Workflow

from ..measure import resident_bytes
from .shared import folder, straight

_CALLERS = 16


def perdure(*, count: int, seconds: float) -> dict[str, float]:
    """Compare an engine that has just been opened on so many waiting runs with one on an empty database."""
    with folder() as path:
        _fill(path, count)
        threads = threading.active_count()
        with Engine(path / "empty.db", _gated(), straight(1)) as empty:
            empty.start("straight-1").result()
            empty.start("gated").wait(until="waiting")  # one, so that there is a thread for alarms
            threads = threading.active_count()
            bare = resident_bytes()
        with Engine(path / "full.db", _gated(), straight(1)) as engine:
            engine.start("straight-1").result()
            memory = resident_bytes() - bare
            cpu, calls, began = time.process_time(), _writes(), time.perf_counter()
            time.sleep(seconds)
            share = (time.process_time() - cpu) / (time.perf_counter() - began)
            return {
                "memory": memory / 1e6,
                "threads": threading.active_count() - threads,
                "cpu": 100 * share,
                "writes": _writes() - calls,
            }


def _gated() -> Workflow[Any, Any]:
    return Workflow("gated").wait_for("go", timeout=timedelta(days=1))


def _fill(path: Path, count: int) -> None:
    """Start the runs in a child, so that what they needed to start is not counted as what they need to wait."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with (
                Engine(path / "full.db", _gated(), durability="normal") as engine,
                ThreadPoolExecutor(_CALLERS) as callers,
            ):
                list(callers.map(lambda _: engine.start("gated"), range(count)))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        msg = "the runs could not be started"
        raise RuntimeError(msg)


def _writes() -> int:
    counters = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in counters if line.startswith("syscw"))
