"""Threads that outlive what runs on them: starting one costs ten times as much as waking one that idles.

An engine takes its threads from here and they come back when it closes, so that a test which opens an engine pays for
none; the next engine of the process finds them idle. An idle thread ends by itself after a while. All are daemons: no
thread of ours keeps the process alive.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ..persistence.threads import OwnThread

__all__ = ["Task", "run_in_thread", "strangers"]

_IDLE_SECONDS = 10.0
_IDLE_NAME = "perdure-idle"

_idle: list[_Worker] = []


class Task:
    """Something that runs on a thread.

    Attributes:
        thread: The thread it runs on, as long as it runs.
    """

    __slots__ = ("_body", "_done", "_name", "thread")

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self._name = name
        self._body = body
        self._done = threading.Lock()
        self._done.acquire()
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        """Run it on this thread, under its name."""
        self.thread = thread = threading.current_thread()
        thread.name = self._name
        try:
            self._body()
        finally:
            self.thread = None
            thread.name = _IDLE_NAME

    def end(self) -> None:
        """Let those go on who wait for its end."""
        self._done.release()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, for so many real seconds at most; tell whether it has."""
        if ended := self._done.acquire(timeout=-1 if timeout is None else timeout):
            self._done.release()
        return ended


class _Worker:
    """One thread, which runs a task and then waits for another one."""

    __slots__ = ("_asleep", "_task")

    def __init__(self, task: Task) -> None:
        self._task: Task | None = task
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wake(self, task: Task) -> None:
        """Give an idle thread something to do."""
        self._task = task
        self._asleep.release()

    def live(self) -> None:
        """Run tasks until none has come for a while."""
        while self._task is not None:
            task, self._task = self._task, None
            try:
                task.run()
            except BaseException:
                task.end()
                raise
            _idle.append(self)  # before anybody hears of the end: who then wants a thread finds this one
            task.end()
            del task  # what it has closed over must not live as long as this thread sleeps
            if self._asleep.acquire(timeout=_IDLE_SECONDS):
                continue
            try:
                _idle.remove(self)
            except ValueError:  # somebody has just taken it: the task is on its way
                self._asleep.acquire()


def strangers() -> bool:
    """Tell whether the program has any thread but this one and those of ours."""
    me = threading.current_thread()
    return any(thread is not me and not isinstance(thread, OwnThread) for thread in threading.enumerate())


def run_in_thread(name: str, body: Callable[[], None]) -> Task:
    """Run something on a daemon thread of this name: on one that idles, or else on a new one.

    What it raises goes to `threading.excepthook`, and ends the thread.
    """
    task = Task(name, body)
    try:
        worker = _idle.pop()
    except IndexError:
        OwnThread(target=_Worker(task).live, name=name, daemon=True).start()
    else:
        worker.wake(task)
    return task


os.register_at_fork(after_in_child=_idle.clear)  # a child has none of its parent's threads
