"""Threads for ``def`` handlers, woken one at a time.

A thread that is woken while another holds the interpreter finds the queue empty more often than not: the one that runs
has drained it. So whoever hands in a job, or takes one while others queue, wakes one thread and no second one before
that has run. Where jobs block, the chain brings as many threads to life as there is work for; where they do not, one
thread does it all and nobody fights for the interpreter.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Pool"]

Job = Callable[[], None]


class Pool:
    """Up to so many daemon threads, each made when there is work that nobody is free for.

    Args:
        size: How many.
        run: Runs a job, on one of them.
        spawn: Starts a thread of a name.
    """

    def __init__(self, size: int, run: Callable[[Job], None], spawn: Callable[[str, Callable[[], None]], None]) -> None:
        self._size = size
        self._run = run
        self._spawn = spawn
        self._jobs: deque[Job] = deque()
        self._guard = threading.Lock()
        self._idle: list[threading.Lock] = []
        self._threads = 0
        self._waking = False
        self._closed = False
        self._local = threading.local()

    def submit(self, job: Job) -> None:
        """Have a job run: next on this thread, if it has just reported and has nothing else to do, else on another."""
        if getattr(self._local, "may_take", False):
            self._local.may_take = False
            self._local.next = job
            return
        self._jobs.append(job)
        if not self._waking:
            self._wake_one()

    def about_to_report(self) -> None:
        """Say that this thread, if it is one of the pool's, may take the next job that its own report gives rise to."""
        self._local.may_take = hasattr(self._local, "next") and not self._jobs

    def reported(self) -> None:
        """Say that the report has been made."""
        self._local.may_take = False

    def grow(self) -> None:
        """Allow for one thread more, since one of them waits for what the others do."""
        with self._guard:
            self._size += 1
        self._wake_one()

    def shrink(self) -> None:
        """Take that back; a thread too many ends once it has nothing to do."""
        with self._guard:
            self._size -= 1

    def close(self) -> None:
        """Let every thread end that is not running a job; jobs that queue are dropped."""
        with self._guard:
            self._closed = True
            self._jobs.clear()
            for lock in self._idle:
                lock.release()
            self._idle.clear()

    def _wake_one(self) -> None:
        with self._guard:
            if self._waking or not self._jobs:
                return
            if self._idle:
                self._waking = True
                self._idle.pop().release()
            elif self._threads < self._size:
                self._waking = True
                self._threads += 1
                self._spawn(f"crew-{self._threads}", self._work)

    def _work(self) -> None:
        local = self._local
        asleep = threading.Lock()
        asleep.acquire()
        while not self._closed:
            self._waking = False
            while (job := self._take()) is not None:
                if self._jobs and not self._waking:
                    self._wake_one()
                while job is not None:
                    local.next, local.may_take = None, False
                    self._run(job)
                    job = local.next
            with self._guard:
                if self._jobs or self._closed:
                    continue
                if self._threads > self._size:
                    self._threads -= 1
                    return
                self._idle.append(asleep)
            asleep.acquire()

    def _take(self) -> Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:
            return None
