"""The same engine with everything on one thread: what it costs where no thread ever waits for another.

Its core, its crew and whoever starts runs take turns here, each until it has nothing more to do, so that all runs in
flight share every commit. The difference to `throughput` with as many runs in flight is what threads cost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal
from unittest import mock

from perdure import Engine
from perdure.actors.core import Letter
from perdure.actors.lanes import ThreadLanes
from perdure.actors.reply import Reply
from perdure.machine import Machine
from perdure.starting import start_request

from .shared import INPUT, open_engine, straight

_STEPS = 3


class _OneThread(ThreadLanes):
    """Lanes whose core and crew stand still until `run` is called, once everything is open."""

    def __init__(self, name: str, *, threads: int) -> None:
        super().__init__(name, threads=threads)
        self.is_alone = False
        self._jobs: deque[Callable[[], None]] = deque()

    def crew(self, job: Callable[[], None]) -> None:
        self.hold()
        self._jobs.append(job)

    def core(self) -> None:
        if not self.is_alone:
            super().core()

    def wake(self) -> None:
        if not self.is_alone:
            super().wake()

    def run(self) -> None:
        """Run cycles and handlers until nothing is left to do."""
        while self.in_flight:
            while self._cycle():
                pass
            for _ in range(len(self._jobs)):
                self._jobs.popleft()()
                self.release()


def perdure(*, durability: Literal["full", "normal"], in_flight: int, seconds: float) -> dict[str, float]:
    """Start so many runs, run them to their ends, and again."""
    workflow = straight(_STEPS)
    with (
        mock.patch.object(Machine, "_make_lanes", lambda machine, name, threads: _OneThread(name, threads=threads)),
        open_engine(workflow, durability=durability, concurrency=max(in_flight, 5)) as engine,
    ):
        lanes: Any = engine._machine.lanes  # noqa: SLF001 - the measurement is of what lies behind the face
        lanes.is_alone = True
        try:
            _rounds(engine, lanes, in_flight, min(0.3, seconds / 2))
            began, used = time.perf_counter(), time.process_time()
            runs = _rounds(engine, lanes, in_flight, seconds)
            took, used = time.perf_counter() - began, time.process_time() - used
        finally:
            lanes.is_alone = False
    return {"runs": runs / took, "cpu": used / runs / _STEPS * 1e6}


def _rounds(engine: Engine, lanes: _OneThread, in_flight: int, seconds: float) -> int:
    machine, registry = engine._machine, engine._registry  # noqa: SLF001 - as above
    workflow = straight(_STEPS).name
    runs, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(in_flight):
            request = start_request(registry, workflow, INPUT, machine.supervisor.newcomers.id())
            machine.core.post(machine.supervisor, Letter(request, Reply()))
        lanes.run()
        runs += in_flight
    return runs
