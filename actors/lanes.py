"""Every hop from one thread to another, in one small interface.

Mail, handlers, decisions, commits, events and timers go through `Lanes` and through nothing else. `ThreadLanes` is what
an engine uses; a simulator puts a seeded scheduler in its place and runs the same production code in one thread.

Rules:

1. Whatever is handed to a lane is counted until it has run; zero means idle. What runs counts what it hands on before
   it is done itself, so the count cannot touch zero in between.
2. The core's lane runs one cycle at a time. A thread that brings mail and finds the core idle runs the cycle itself.
3. No thread of ours keeps the process alive.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from . import clock
from .pool import Pool
from .threads import Task, run_in_thread

if TYPE_CHECKING:
    from .event_loop import EngineLoop
    from .loop_watch import LoopWatch

__all__ = ["Lanes", "ThreadLanes"]

logger = logging.getLogger("perdure")

Thunk = Callable[[], None]
_FROZEN_POLL = 0.02
_LONGEST_WAIT = 1.0
_LONGEST_BLOCK = 1.0
_GO_ON, _STOP = True, False
_ALONE = 2
"""A letter, and the job of the worker that brings it."""


class Lanes(Protocol):
    """Where work goes that must not run here and now."""

    def core(self) -> None:
        """Have the core's cycle run soon: there is mail."""
        ...

    def crew(self, job: Thunk) -> None:
        """Have a piece of user code run."""
        ...

    def loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have an asynchronous piece of user code run."""
        ...

    def bus(self, delivery: Thunk) -> None:
        """Have events delivered, after all those handed in before."""
        ...

    def exclusively(self, action: Callable[[], Any]) -> Any:
        """Run something while the core stands still; return what it returns."""
        ...

    def commit(self, write: Thunk, then: Callable[[BaseException | None], None]) -> None:
        """Have a commit made, and ``then`` called with its outcome, both on behalf of the core."""
        ...

    def alarm(self, due: int | None) -> None:
        """Have ``ring`` called at this instant, instead of any other; None for not at all."""
        ...

    def hold(self) -> None:
        """Count one thing in flight that no lane knows of."""
        ...

    def release(self, count: int = 1) -> None:
        """Count so many things as done."""
        ...


class ThreadLanes:
    """A dispatcher, a pool, an asyncio loop, a bus and an alarm, each with its threads made on demand.

    Attributes:
        loop_patience: Real seconds for which a coroutine may block the asyncio loop before a warning says so.
        describe: Names the task that does, for the warning.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        self._name = name
        self._cycle: Callable[[], bool] = lambda: False
        self._has_mail: Callable[[], bool] = lambda: False
        self._ring: Thunk = lambda: None
        self._turn = threading.Lock()
        self._wake = queue.SimpleQueue[bool]()
        self._awake = False
        self.pool = Pool(threads, self._run_job, self._spawn)
        self._starting = threading.Lock()
        self._local = threading.local()
        self._deliveries = queue.SimpleQueue[Thunk | None]()
        self._started: set[str] = set()
        self._alive: list[Task] = []
        # One element for each thing in flight: a deque counts without a lock, which a number does not.
        self._held: deque[None] = deque()
        self._count = threading.Condition(threading.Lock())
        self._idle_waiters = 0
        self._due: int | None = None
        self._alarm = threading.Condition(threading.Lock())
        self._pauses = 0
        self._aloop: EngineLoop | None = None
        self._tasks: set[Any] = set()
        self._loop_watch: LoopWatch | None = None
        self.loop_patience = _LONGEST_BLOCK
        self.describe: Callable[[Any], str] = str
        self._closed = False

    def bind(self, *, cycle: Callable[[], bool], has_mail: Callable[[], bool], ring: Thunk) -> None:
        """Say what the core's cycle and the alarm are; ``cycle`` returns whether there is more to do."""
        self._cycle = cycle
        self._has_mail = has_mail
        self._ring = ring

    # ---- counting

    def hold(self) -> None:
        """Count one thing in flight."""
        self._held.append(None)

    def release(self, count: int = 1) -> None:
        """Count so many things as done."""
        for _ in range(count):
            self._held.pop()
        # Invariant: whoever waits has said so before it looks at the count, so that the end of the last is not missed.
        if not self._held and self._idle_waiters:
            with self._count:
                self._count.notify_all()

    @property
    def in_flight(self) -> int:
        """How much is under way."""
        return len(self._held)

    def wait_idle(self, deadline: float) -> bool:
        """Wait until nothing is in flight; False when the monotonic deadline passes first."""
        with self._count:
            self._idle_waiters += 1
            try:
                while self._held:
                    left = deadline - clock.monotonic()
                    if left <= 0:
                        return False
                    self._count.wait(min(left, _LONGEST_WAIT))
            finally:
                self._idle_waiters -= 1
        return True

    # ---- the core's lane

    def core(self) -> None:
        """Run cycles here while nothing else is going on; otherwise the dispatcher will see the mail.

        In line only when alone: elsewhere it would break up the groups that share a commit.
        """
        if self._turn.locked():  # whoever has it looks for mail once it is given back
            return
        if len(self._held) > _ALONE:
            self.wake()
            return
        if not self._turn.acquire(blocking=False):
            return
        try:
            while self._cycle() and len(self._held) <= _ALONE:
                clock.give_way()  # to whoever can bring more mail, as below: or a lonely caller's starts commit alone
        finally:
            self._turn.release()
            self.wake()

    def wake(self) -> None:
        """Have the dispatcher go on if there is more mail; called after every release of the core's turn."""
        if self._has_mail() and not self._awake and not self._closed:
            self._awake = True
            self._thread("core", self._dispatch)
            self._wake.put(_GO_ON)

    def _dispatch(self) -> None:
        while self._wake.get():
            with self._turn:
                while self._cycle():
                    # Those who can bring more mail get the interpreter first: it shares the next commit. Measured with
                    # 8 clients: a third fewer commits, and a fifth less of CPU.
                    clock.give_way()
            # Invariant: mail that came while the flag was up is seen here; mail that comes later puts a new token.
            self._awake = False
            self.wake()

    def exclusively(self, action: Callable[[], Any]) -> Any:
        """Run something while the core stands still."""
        try:
            with self._turn:
                return action()
        finally:
            self.wake()

    def stop_core(self, last: Thunk) -> None:
        """Run no more cycles; ``last`` is run once the one under way is over."""
        with self._turn:
            self._cycle = lambda: False
            self._has_mail = lambda: False
            last()

    def commit(self, write: Thunk, then: Callable[[BaseException | None], None]) -> None:
        """Commit here and now: the thread that holds the core's turn is the one that writes."""
        try:
            write()
        except Exception as error:  # noqa: BLE001 - every outcome goes to whoever waits for it
            then(error)
        else:
            then(None)

    # ---- the crew's lane

    def crew(self, job: Thunk) -> None:
        """Give the job to the pool."""
        self._held.append(None)
        self.pool.submit(job)

    def _run_job(self, job: Thunk) -> None:
        # Handlers are called through several frames of ours: freezegun leaves the clock real to callers whose last
        # five frames touch the threading module.
        try:
            job()
        finally:
            self.release()

    def step_over(self) -> None:
        """Wait no longer for a job whose answer nobody wants; whoever calls this holds one more when it ends."""
        self.release()

    # ---- the loop's lane

    def loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine as a task of the engine's own event loop."""
        loop = self._event_loop()  # which needs files of its own, and so may fail
        self.hold()
        try:
            loop.call_soon_threadsafe(self._begin_task, loop, make)
        except RuntimeError:  # it has ended: the engine was closed while the turn that asks for this was written
            self.release()

    def _begin_task(self, loop: Any, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = loop.create_task(make())
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: Any) -> None:
        self._tasks.discard(task)
        self.release()

    def call_in_loop(self, action: Thunk) -> None:
        """Run something on the loop's thread, if there is a loop."""
        if self._aloop is not None:
            self._aloop.call_soon_threadsafe(action)

    def _event_loop(self) -> EngineLoop:
        with self._starting:
            if self._aloop is None:
                from .event_loop import EngineLoop

                self._aloop = EngineLoop()
                self._spawn("loop", self._run_loop)
                self._watch_loop(self._aloop)
            return self._aloop

    def _watch_loop(self, loop: EngineLoop) -> None:
        from .loop_watch import LoopWatch

        self._loop_watch = LoopWatch(
            loop,
            patience=self.loop_patience,
            is_busy=lambda: bool(self._tasks),
            describe=self.describe,
        )
        self._spawn("watch", self._loop_watch.run)

    def on_loop(self) -> bool:
        """Tell whether this is the thread of the event loop."""
        return getattr(self._local, "is_loop", False)

    def _run_loop(self) -> None:
        assert self._aloop is not None
        self._local.is_loop = True
        try:
            self._aloop.run_forever()
        finally:
            self._aloop.close()

    # ---- the bus's lane

    def bus(self, delivery: Thunk) -> None:
        """Deliver on the bus's thread, in order."""
        self.hold()
        self._deliveries.put(delivery)
        self._thread("bus", self._deliver)

    def on_bus(self) -> bool:
        """Tell whether this is the bus's thread."""
        return getattr(self._local, "is_bus", False)

    def wait_delivered(self) -> None:
        """Wait a moment for the bus to catch up."""
        with self._count:
            self._count.wait(_FROZEN_POLL)

    def _deliver(self) -> None:
        self._local.is_bus = True
        while (delivery := self._deliveries.get()) is not None:
            try:
                delivery()
            finally:
                self.release()

    # ---- the alarm

    def alarm(self, due: int | None) -> None:
        """Ring at this instant; a later call replaces it."""
        if due == self._due:
            return
        with self._alarm:
            self._due = due
            if not self._pauses:
                self._alarm.notify()
        if due is not None:
            self._thread("time", self._watch_clock)

    @contextmanager
    def alarm_paused(self) -> Iterator[None]:
        """Have no alarm ring meanwhile: somebody else looks at the clock."""
        with self._alarm:
            self._pauses += 1
        try:
            yield
        finally:
            with self._alarm:
                self._pauses -= 1
                if not self._pauses and self._due is not None:
                    self._alarm.notify()

    def _watch_clock(self) -> None:
        while not self._closed:
            with self._alarm:
                if self._due is None or self._pauses:
                    self._alarm.wait()
                    continue
                frozen = clock.is_frozen()
                left = (self._due - clock.micros()) / 1_000_000
                if left > 0:
                    self._alarm.wait(_FROZEN_POLL if frozen else min(left, _LONGEST_WAIT))
                    continue
                self._due = None
            if frozen:  # one timer at a time, each after what the one before has caused, as settle does
                self.wait_idle(clock.monotonic() + _FROZEN_POLL)
            self._ring()

    # ---- life

    def _thread(self, name: str, body: Thunk) -> None:
        if name in self._started:
            return
        with self._starting:
            if name not in self._started:
                self._started.add(name)
                self._spawn(name, body)

    def aside(self, name: str, body: Thunk) -> None:
        """Have a thread of this name run something that is to go on until the lanes are closed; once."""
        self._thread(name, body)

    def _spawn(self, name: str, body: Thunk) -> None:
        self._alive.append(run_in_thread(f"{self._name}-{name}", body))

    def close(self) -> None:
        """Let every thread end that is not in user code, and wait until they have."""
        self._closed = True
        self._wake.put(_STOP)
        self._deliveries.put(None)
        with self._alarm:
            self._alarm.notify()
        self.pool.close()
        if self._loop_watch is not None:
            self._loop_watch.close()
        with self._starting:
            if self._aloop is not None:
                self._aloop.call_soon_threadsafe(self._cancel_tasks)
        self.join(_FROZEN_POLL if self._held else _LONGEST_WAIT)

    def _cancel_tasks(self) -> None:
        assert self._aloop is not None
        for task in self._tasks:
            task.cancel()
        self._aloop.call_soon(self._aloop.stop)

    @property
    def have_ended(self) -> bool:
        """Whether no thread runs anything any more, user code that nobody waits for included."""
        return all(task.thread is None for task in self._alive)

    def join(self, seconds: float) -> None:
        """Wait for the threads that were told to end, for so many real seconds at most."""
        me = threading.current_thread()
        deadline = clock.monotonic() + seconds
        for task in self._alive:
            if task.thread is not me:
                task.join(max(0.0, deadline - clock.monotonic()))
