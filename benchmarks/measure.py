"""How things are timed: the same few methods for perdure, for bare sqlite3 and for every peer.

Needs the standard library alone, since each peer runs it in an environment of its own.

Rules:

1. Everything is warmed up before the clock starts.
2. A measurement lasts for a time, not for a number of runs, so that slow and fast engines cost the suite the same.
3. What has been started is waited for before the clock stops.
"""

from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Rate", "latencies", "median", "percentiles", "rate", "repeat", "resident_bytes", "stopwatch"]

Finish = Callable[[], Any]
Start = Callable[[], Finish]


class Rate(NamedTuple):
    """How many runs a while has seen.

    Attributes:
        runs: Runs started and finished.
        seconds: From the first start to the last end.
        cpu: Seconds of processor time of this process meanwhile, callers included.
    """

    runs: int
    seconds: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Runs a second."""
        return self.runs / self.seconds


def rate(start: Start, *, in_flight: int, callers: int, seconds: float) -> Rate:
    """Keep a number of runs in flight for a while, and count them.

    Each caller is a thread with an equal share of what may be in flight: it starts runs until its share is used up,
    then waits for its oldest before it starts the next.

    Args:
        start: Starts a run and returns what waits for its end.
        in_flight: How many runs are unfinished at any moment.
        callers: How many threads.
        seconds: How long new ones are started.
    """
    share = in_flight // callers
    _drive(start, share, callers, min(0.3, seconds / 2))
    gc.collect()
    cpu = time.process_time()
    began = time.perf_counter()
    runs = _drive(start, share, callers, seconds)
    return Rate(runs, time.perf_counter() - began, time.process_time() - cpu)


def _drive(start: Start, share: int, callers: int, seconds: float) -> int:
    done: list[int] = []
    errors: list[BaseException] = []
    deadline = time.perf_counter() + seconds

    def call() -> None:
        unfinished: deque[Finish] = deque()
        count = 0
        try:
            while time.perf_counter() < deadline:
                if len(unfinished) == share:
                    unfinished.popleft()()
                unfinished.append(start())
                count += 1
            for finish in unfinished:
                finish()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that measures
            errors.append(error)
        done.append(count)

    if callers == 1:
        call()
    else:
        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return sum(done)


def latencies(action: Callable[[], object], *, seconds: float, least: int = 20) -> list[float]:
    """Repeat an action for a while; return how long each took, sorted.

    Args:
        action: What is timed; if it returns a float, that is the duration that counts.
        seconds: How long.
        least: How many times at least, however long it takes.
    """
    for _ in range(max(3, least // 4)):
        action()
    gc.collect()
    found: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(found) < least:
        began = time.perf_counter()
        own = action()
        found.append(own if isinstance(own, float) else time.perf_counter() - began)
    return sorted(found)


def percentiles(found: list[float]) -> dict[str, float]:
    """Return p50 and p99, in milliseconds, of sorted durations."""
    return {"p50": 1000 * found[len(found) // 2], "p99": 1000 * found[min(len(found) - 1, len(found) * 99 // 100)]}


def repeat(action: Callable[[], Any], times: int) -> float:
    """Return the median duration of an action, in seconds."""
    found = []
    for _ in range(times):
        with stopwatch() as watch:
            action()
        found.append(watch[0])
    return median(found)


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Give a list that holds the seconds it took, once the block is over."""
    watch: list[float] = []
    began = time.perf_counter()
    yield watch
    watch.append(time.perf_counter() - began)


def resident_bytes() -> int:
    """Return how much memory this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
