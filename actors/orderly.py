"""Lanes on which the same test happens the same way every time: one piece of user code after the other.

Rules, which hold while time is frozen; at other times these are `ThreadLanes`:

1. User code runs one piece at a time, in the order in which it was asked for, whatever threads it runs on.
2. Its answer is handled to the end, with everything that follows from it, before the next piece begins.

The price: user code that waits for other user code of the same engine waits for ever; but not one that waits for
another run's result: that steps aside, and goes on beside whatever runs when the result is there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from . import clock
from .lanes import ThreadLanes

__all__ = ["OrderlyLanes"]

Thunk = Callable[[], None]
Begin = Callable[[Thunk], None]
"""Starts a piece of user code, and is given what to call at its end."""


class _Line:
    """Those who wait for their turn, first come first served."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[Begin] = deque()
        self._current: object | None = None

    def stand(self, begin: Begin) -> None:
        """Begin after all those who came before, once somebody calls `go`."""
        self._waiting.append(begin)

    def go(self) -> None:
        """Begin the first who waits, if it is nobody's turn."""
        with self._guard:
            if self._current is not None or not self._waiting:
                return
            begin = self._waiting.popleft()
            self._current = turn = object()
        begin(lambda: self._leave(turn))

    def step_over(self) -> None:
        """Let the next be the one whose turn it is, whatever becomes of this one."""
        with self._guard:
            self._current = None

    def _leave(self, turn: object) -> None:
        with self._guard:
            if self._current is not turn:  # it was stepped over
                return
            self._current = None
        self.go()


class OrderlyLanes(ThreadLanes):
    """What an engine with a seed uses."""

    def __init__(self, name: str, *, threads: int) -> None:
        super().__init__(name, threads=threads)
        self._line = _Line()
        self._holder = 0

    def bind(self, *, cycle: Callable[[], bool], has_mail: Callable[[], bool], ring: Thunk) -> None:
        """Say what the core's cycle and the alarm are."""

        def marked() -> bool:
            self._holder = threading.get_ident()
            try:
                return cycle()
            finally:
                self._holder = 0

        super().bind(cycle=marked, has_mail=has_mail, ring=ring)

    def core(self) -> None:
        """Handle the mail here, all of it; a letter from inside a cycle is seen by the cycle's own thread."""
        if not clock.is_frozen():
            super().core()
            return
        if self._holder == threading.get_ident():
            return
        while self._has_mail():
            with self._turn:
                while self._cycle():
                    pass
        self._line.go()

    def wake(self) -> None:
        """Have the dispatcher go on if there is more mail, and the line if nobody's turn was begun inside a cycle."""
        super().wake()
        self._line.go()

    def _stand(self, begin: Begin) -> None:
        self._line.stand(begin)
        # Inside a cycle nothing begins: its answer would race with the rest of the cycle.
        if self._holder != threading.get_ident():
            self._line.go()

    def crew(self, job: Thunk) -> None:
        """Give the job to the pool when its turn has come."""
        if not clock.is_frozen():
            super().crew(job)
            return
        self.hold()
        self._stand(lambda leave: self.pool.submit(lambda: self._run_in_turn(job, leave)))

    def _run_in_turn(self, job: Thunk, leave: Thunk) -> None:
        try:
            job()
        finally:
            self.pool.about_to_report()  # the next may stay on this thread
            leave()
            self.pool.reported()

    def loop(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the coroutine on the engine's loop when its turn has come."""
        if not clock.is_frozen():
            super().loop(make)
            return
        self.hold()
        self._stand(lambda leave: self._begin_in_turn(make, leave))

    def _begin_in_turn(self, make: Callable[[], Coroutine[Any, Any, None]], leave: Thunk) -> None:
        async def run() -> None:
            try:
                await make()
            finally:
                leave()

        loop = self._event_loop()
        loop.call_soon_threadsafe(self._begin_task, loop, run)

    def step_over(self) -> None:
        """Wait no longer for the piece of user code that runs, and begin the next."""
        self._line.step_over()
        super().step_over()
        if self._holder != threading.get_ident():
            self._line.go()
