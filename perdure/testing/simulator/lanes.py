"""Lanes with one thread: whatever crosses from one thread to another stands still until the scheduler picks it.

Rules:

1. Nothing runs because it was handed in. It runs when the scheduler picks it, in any order that threads could have.
2. A commit is three turns: it is submitted, it is written, and the core hears of it. In between the core stands still,
   and mail gathers.
3. A dead process runs nothing more: what it had in hand is dropped, whatever still comes of it is ignored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from ...actors.lanes import ThreadLanes
from .clock import MICROS, VirtualClock

__all__ = ["Pick", "SimulatedLanes", "Submitted"]

Thunk = Callable[[], None]
Pick = tuple[str, Thunk]
"""Something that could happen next: what sort of thing it is, and how to make it happen."""


@dataclass(slots=True, eq=False)
class Submitted:
    """A commit under way.

    Attributes:
        write: Makes it.
        then: Tells the core of its outcome.
        written: Whether it was tried.
        error: What came of that, if it failed.
    """

    write: Thunk
    then: Callable[[BaseException | None], None]
    written: bool = False
    error: BaseException | None = None


class _NoSelector:
    """What a loop without files asks for events."""

    @staticmethod
    def select(timeout: float | None) -> list[Any]:
        return []


class _StillLoop(asyncio.BaseEventLoop):
    """A loop that runs only what is ready, on virtual time, and waits for nothing."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._selector = _NoSelector()

    def time(self) -> float:
        return self._clock.now / MICROS

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def run_ready(self) -> None:
        """Run until every task waits for something."""
        ready: deque[Any] = self._ready  # type: ignore[attr-defined]
        while ready:
            self.call_soon(self.stop)
            self.run_forever()

    @property
    def is_ready(self) -> bool:
        """Whether a task could go on."""
        return bool(self._ready)  # type: ignore[attr-defined]

    @property
    def next_timer(self) -> int | None:
        """When the first of the tasks' own timers is due."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        live = [timer.when() for timer in timers if not timer.cancelled()]
        return round(min(live) * MICROS) if live else None


class SimulatedLanes(ThreadLanes):
    """The lanes of one simulated process.

    Attributes:
        paused: Handlers that stand still in the middle, until they are picked to go on.
        commits: Commits under way, the first first.
        stage: What handlers reach: the process that they run in.
    """

    def __init__(self, name: str, *, threads: int, clock: VirtualClock) -> None:
        super().__init__(name, threads=threads)
        self._now = clock
        self._still_loop = _StillLoop(clock)
        self._jobs: list[Thunk] = []
        self._outbox: deque[Thunk] = deque()
        self.paused: list[asyncio.Future[None]] = []
        self.commits: deque[Submitted] = deque()
        self.stage: Any = None

    # ---- what could happen next

    def picks(self) -> Iterator[Pick]:
        """Yield everything that could happen next in this process."""
        if self._closed:
            return
        if self.commits:
            yield ("heed", self._heed) if self.commits[0].written else ("write", self._write)
        elif self._has_mail():
            yield "core", self._run_cycle
        for job in self._jobs:
            yield "begin", lambda job=job: self._begin(job)  # type: ignore[misc]
        for future in self.paused:
            yield "go on", lambda future=future: self._go_on(future)  # type: ignore[misc]
        if self._outbox:
            yield "deliver", self._deliver_one
        if self._due is not None and self._due <= self._now.now:
            yield "ring", self._ring_now
        if self._still_loop.is_ready or (self._still_loop.next_timer or self._now.now + 1) <= self._now.now:
            yield "loop", self._run_loop_once

    @property
    def next_instant(self) -> int | None:
        """When something will happen in this process by itself."""
        times = [time for time in (self._due, self._still_loop.next_timer) if time is not None]
        return min(times, default=None)

    def _run_cycle(self) -> None:
        self._cycle()

    def _write(self) -> None:
        commit = self.commits[0]
        commit.written = True
        try:
            commit.write()
        except Exception as error:  # noqa: BLE001 - as in `ThreadLanes.commit`
            commit.error = error

    def _heed(self) -> None:
        commit = self.commits.popleft()
        commit.then(commit.error)

    def _begin(self, job: Thunk) -> None:
        self._jobs.remove(job)
        job()

    def _go_on(self, future: asyncio.Future[None]) -> None:
        self.paused.remove(future)
        if not future.done():
            future.set_result(None)
        self._run_loop_once()

    def _deliver_one(self) -> None:
        self._local.is_bus = True
        try:
            self._outbox.popleft()()
        finally:
            self._local.is_bus = False

    def _ring_now(self) -> None:
        self._due = None
        self._ring()

    def _run_loop_once(self) -> None:
        if self._still_loop.next_timer is not None:
            self._still_loop.call_soon(lambda: None)  # an empty loop would not look at its timers
        self._still_loop.run_ready()

    # ---- the lanes

    def core(self) -> None:
        """Leave the mail where it is."""

    def wake(self) -> None:
        """Leave the mail where it is."""

    def exclusively(self, action: Callable[[], Any]) -> Any:
        """Run it: there is one thread."""
        return action()

    def commit(self, write: Thunk, then: Callable[[BaseException | None], None]) -> None:
        """Have the commit made in a turn of its own, and told of in another."""
        self.commits.append(Submitted(write, then))

    def crew(self, job: Thunk) -> None:
        """Keep the job until it is picked."""
        self._jobs.append(job)

    def loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep the coroutine until it is picked; then it runs until it first waits for something."""

        def begin() -> None:
            task = self._still_loop.create_task(make())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self._still_loop.run_ready()

        self._jobs.append(begin)

    def call_in_loop(self, action: Thunk) -> None:
        """Run something on the loop in its next turn."""
        self._still_loop.call_soon(action)

    def bus(self, delivery: Thunk) -> None:
        """Keep the delivery until it is picked; deliveries keep their order."""
        self._outbox.append(delivery)

    def alarm(self, due: int | None) -> None:
        """Ring when this instant has come and the scheduler picks it."""
        self._due = due

    def hold(self) -> None:
        """Count nothing: what is under way can be seen."""

    def release(self, count: int = 1) -> None:
        """Count nothing."""

    # ---- the end

    async def pause(self) -> None:
        """Stand still in the middle of a handler until the scheduler goes on with it."""
        future: asyncio.Future[None] = self._still_loop.create_future()
        self.paused.append(future)
        try:
            await future
        finally:
            if future in self.paused:
                self.paused.remove(future)

    def close(self) -> None:
        """Drop everything that is under way."""
        self._closed = True
        for lane in (self._jobs, self._outbox, self.commits):
            lane.clear()
        for task in list(self._tasks):
            task.cancel()
        self._still_loop.run_ready()
        self.paused.clear()
        self._still_loop.close()
