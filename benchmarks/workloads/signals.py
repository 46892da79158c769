"""From the call of ``signal`` to the first line of the handler behind the gate, alone and beside busy handlers."""

from __future__ import annotations

import threading
import time
from typing import Any

from perdure import Context, Workflow

from ..measure import latencies, percentiles
from .shared import gated, open_engine


def perdure(*, durability: str, burners: int, seconds: float) -> dict[str, float]:
    """Signal a waiting run while so many ``def`` handlers of other runs compute without a pause."""
    stop = threading.Event()

    def burn(ctx: Context[Any]) -> None:
        number = 0
        while not stop.is_set():
            for _ in range(1000):
                number = number * 31 % 1000003

    burner = Workflow("burner").step("burn", burn)
    with open_engine(gated(), burner, durability=durability, concurrency=burners + 5) as engine:
        runs = [engine.start("burner") for _ in range(burners)]

        def once() -> float:
            run = engine.start("gated")
            run.wait(until="waiting")
            called = time.perf_counter()
            run.signal("go")
            began: float = run.result()
            return began - called

        try:
            found = latencies(once, seconds=seconds)
        finally:
            stop.set()
        for run in runs:
            run.result()
    return percentiles(found)
