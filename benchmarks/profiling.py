"""Where the time of a step goes: a profile of every thread's processor time, summed up by what the code is for.

Processor time, because threads that wait for a lock, a queue, the disk or the interpreter would drown the rest. The
profiler makes calls of small functions dearer than they are, and SQLite cheaper beside them: the shares show where to
look, the suite's other figures what it costs.
"""

from __future__ import annotations

import cProfile
import pstats
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perdure.actors.threads import Task

from .measure import rate
from .workloads.shared import INPUT, open_engine, straight

__all__ = ["profile", "shares", "table"]

_ENGINE = "perdure"
_PLACES = {
    "sqlite3": "SQLite: statements, commit, fsync",
    "persistence/codec": "encoding and decoding values",
    "persistence": "rows and statements of the store",
    "dsl": "the walk over the graph",
    "actors/execution": "the actor's turn",
    "actors/course": "the actor's turn",
    "actors/attempts": "the actor's turn",
    "actors/run_actor": "the actor's turn",
    "actors/ends": "the actor's turn",
    "actors/gates": "the actor's turn",
    "actors/family": "the actor's turn",
    "actors/core": "the core: mail, batch, tell, act",
    "actors/crew": "the crew: calling handlers",
    "actors/attempt": "the crew: calling handlers",
    "actors/calling": "the crew: calling handlers",
    "actors/outcomes": "the crew: calling handlers",
    "actors/bus": "events",
    "actors": "hops between threads, counting, timers",
    "perdure": "the face: start, result",
    "locks": "taking and giving back locks",
    "benchmarks": "the benchmark's own callers and handlers",
}


def profile(durability: str, in_flight: int, seconds: float) -> None:
    """Print the shares and the dearest functions."""
    stats, runs = _profiled(durability, in_flight, seconds)
    total = sum(shares(stats).values())
    steps = 3 * runs
    calls = stats.total_calls / steps  # type: ignore[attr-defined]
    print(f"{runs} runs of 3 steps, {in_flight} in flight, {durability}, under the profiler:")
    print(f"{calls:.0f} calls and {total / steps * 1e6:.0f} µs a step\n")
    for place, spent in shares(stats).most_common():
        print(f"{100 * spent / total:5.1f} %  {spent / steps * 1e6:7.1f} µs/step  {place}")
    print()
    stats.sort_stats("tottime").print_stats(25)


def table(*in_flight: int, durability: str, seconds: float) -> list[list[str]]:
    """Return the shares as rows, with a column for each number of runs in flight."""
    columns = []
    for count in in_flight:
        stats, _ = _profiled(durability, count, seconds)
        spent = shares(stats)
        columns.append({place: 100 * one / sum(spent.values()) for place, one in spent.items()})
    head = ["share of the processor time", *(f"{count} in flight" for count in in_flight)]
    places = sorted(columns[0], key=lambda place: -columns[0][place])
    return [head, *([place, *(f"{column.get(place, 0):.1f} %" for column in columns)] for place in places)]


def _profiled(durability: str, in_flight: int, seconds: float) -> tuple[pstats.Stats, int]:
    profiles: list[cProfile.Profile] = []
    plain, plain_task = threading.Thread.run, Task.run

    def run(thread: threading.Thread) -> None:
        if thread.name.startswith(_ENGINE):  # what it runs is profiled piece by piece: it may outlive its engine
            plain(thread)
            return
        profiles.append(cProfile.Profile(time.thread_time))
        profiles[-1].runcall(plain, thread)

    def run_task(task: Task) -> None:
        profiles.append(cProfile.Profile(time.thread_time))
        profiles[-1].runcall(plain_task, task)

    workflow = straight(3)

    def start() -> Callable[[], Any]:
        return engine.start(workflow.name, INPUT).result

    threading.Thread.run = run  # type: ignore[assignment, method-assign]
    Task.run = run_task  # type: ignore[method-assign]
    try:
        with open_engine(workflow, durability=durability, concurrency=max(5, in_flight)) as engine:
            callers = min(16, in_flight)
            # From a thread of its own also when alone, so that the profile has it.
            with ThreadPoolExecutor(1) as alone:
                found = alone.submit(rate, start, in_flight=in_flight, callers=callers, seconds=seconds).result()
    finally:
        threading.Thread.run = plain  # type: ignore[method-assign]
        Task.run = plain_task  # type: ignore[method-assign]
    whole = pstats.Stats(profiles[0])
    for one in profiles[1:]:
        whole.add(one)
    return whole, found.runs


def shares(stats: pstats.Stats) -> Counter[str]:
    """Return the seconds of processor time by place."""
    found: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        found[_place(file, name)] += own
    return found


def _place(file: str, name: str) -> str:
    if "sqlite3" in name:
        return _PLACES["sqlite3"]
    if (
        "_thread.lock" in name
        or "_thread.RLock" in name
        or "_queue" in name
        or file.endswith(("threading.py", "queue.py"))
    ):
        return _PLACES["locks"]
    checkout = str(Path(__file__).resolve().parent.parent)
    if not file.startswith(checkout):
        return "Python: builtins and the standard library"
    inside = file[len(checkout) + 1 :].removeprefix("perdure/").removesuffix(".py")
    return next((what for place, what in _PLACES.items() if inside.startswith(place)), _PLACES["perdure"])
