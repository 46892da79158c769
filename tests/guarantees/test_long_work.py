"""More runs than fit, and work that does not end: what is kept in memory is bounded by what is under way.

``--soak=7200`` works for two hours, at half of what the machine can do.
"""

from __future__ import annotations

import gc
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import Workflow
from perdure.actors import clock
from tests.patience import PATIENCE


def test_thousands_of_starts_are_all_kept_and_none_begins_out_of_turn(open_engine: Any) -> None:
    go = threading.Event()
    order: list[int] = []

    def work(ctx: Any) -> None:
        go.wait(PATIENCE)
        order.append(ctx.input)

    engine = open_engine(Workflow("w", input=int).step("work", work), concurrency=1)
    before = memory()
    runs = [engine.start("w", number) for number in range(1000)]
    assert (memory() - before) / 1000 < 20_000  # bytes of each run that queues in memory
    go.set()
    runs[-1].wait(PATIENCE)
    for run in runs:
        run.wait(PATIENCE)
    assert order == [*range(1000)]


def memory() -> int:
    """Return the bytes that this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.timeout(0)  # it works for as long as it is told to
def test_an_engine_that_works_for_long_keeps_its_threads_files_and_memory(
    open_engine: Any, request: pytest.FixtureRequest
) -> None:
    seconds = float(request.config.getoption("soak", 0) or 0)
    workflow = Workflow("w", input=int).step("a", lambda ctx: "x" * 100).wait_for("go").step("b", lambda: 2, retry=2)
    engine = open_engine(workflow)

    def work() -> tuple[int, int, int]:
        for number in range(80):
            run = engine.start("w", number)
            run.signal("go")
            run.wait(PATIENCE)
        engine.settle()
        while engine.cleanup():
            pass
        files = len(list(Path("/proc/self/fd").iterdir()))
        return threading.active_count(), files, memory()

    work()
    threads, files, bytes_ = work()
    end = clock.monotonic() + seconds
    rounds = 0
    while rounds < 2 or clock.monotonic() < end:
        rounds += 1
        now = work()
        assert now[0] <= threads + 2
        assert now[1] <= files + 4
        assert now[2] <= bytes_ + 20_000_000
        threading.Event().wait(0.1 if seconds else 0)
