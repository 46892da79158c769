"""The executors of one engine: other places where its handlers run, each under its name.

Rules:

1. An executor that was given to the engine is the caller's: the engine never closes it, and cannot mend it.
2. One that the engine makes, by a function that was given, is made when it is first needed, made anew when it has
   broken, and closed with the engine. ``"process"`` is such a one, unless the name was given to another.
3. Whatever goes wrong with an executor is a lost attempt, and no more than that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..dsl.errors import UnknownExecutor, WorkerLost
from .elsewhere import Outcome, carry_out
from .sending import errand_of, luggage, sent_from

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .attempt import Attempt

__all__ = ["Annex", "Annexes", "Given"]

Given = Executor | Callable[[], Executor]
"""An executor, or what makes one."""

PROCESS = "process"
"""Name of the executor that every engine has."""


class Annexes:
    """Executors by name."""

    def __init__(self, given: Mapping[str, Given]) -> None:
        self._luggage: dict[str, bytes] = {}
        self._annexes = {PROCESS: Annex(PROCESS, _make_workers, self._luggage, places=_processors())}
        for name, executor in given.items():
            self._annexes[name] = Annex(name, executor, self._luggage)

    def __getitem__(self, name: str) -> Annex:
        """Return the executor of this name, which a definition was checked for."""
        return self._annexes[name]

    def check(self, definition: Definition) -> None:
        """See that the handlers of a definition can go where they are to run, and what has to go with them.

        Raises:
            UnknownExecutor: there is no executor of a name.
            NotSendable: a handler cannot be found by name.
        """
        sent = list(sent_from(definition))
        for what, _, policy in sent:
            if policy.executor not in self._annexes:
                raise UnknownExecutor(what, policy.executor or "", self._annexes)
        if sent:
            self._luggage[definition.name] = luggage(definition, sent)

    def close(self) -> bool:
        """Close what the engine has made, whatever it is doing; tell whether it was doing anything."""
        at_work = [annex.close() for annex in self._annexes.values()]
        return any(at_work)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make_workers() -> Executor:
    from .workers import WorkerPool  # what runs no heavy handler pays for no multiprocessing

    return WorkerPool(_processors())


class Annex:
    """One executor.

    Attributes:
        name: Its name.
    """

    def __init__(self, name: str, given: Given, luggage: Mapping[str, bytes], *, places: int | None = None) -> None:
        self.name = name
        self._make = given if not isinstance(given, Executor) else None
        self._executor = given if isinstance(given, Executor) else None
        self._luggage = luggage
        self._free = places
        self._change = threading.Condition()
        self._futures: dict[int, Future[Outcome]] = {}
        self._closed = False

    # ---- places

    @contextmanager
    def place(self, is_unwanted: Callable[[], bool]) -> Iterator[None]:
        """Hold one of the executor's places, if it is known how many there are; one who is unwanted needs none.

        The time limit of a handler counts from when it begins, so it must not queue behind others of ours.
        """
        if self._free is None:
            yield
            return
        with self._change:
            while self._free == 0 and not is_unwanted():
                self._change.wait()
            holds = not is_unwanted()
            self._free -= holds
        try:
            yield
        finally:
            with self._change:
                self._free += holds
                self._change.notify_all()

    def withdraw(self, attempt: Attempt) -> None:
        """Have an attempt end that is not wanted any longer, if it has not begun."""
        with self._change:
            future = self._futures.get(id(attempt))
            self._change.notify_all()
        if future is not None:
            future.cancel()

    # ---- running

    def run(self, attempt: Attempt) -> Outcome | None:
        """Have the executor make an attempt and wait for its outcome; None if it was taken back before it began.

        Raises:
            NotSendable: what the handler has to see cannot be sent.
            WorkerLost: the executor has lost the attempt.
        """
        facts = attempt.facts
        sent = errand_of(attempt, f"executor {self.name!r}", self._luggage[facts.workflow_name])
        executor, future = self._submit(attempt, sent)
        with self._change:
            self._futures[id(attempt)] = future
        if attempt.abandoned or attempt.cancelled:  # withdrawn before there was anything to take back
            future.cancel()
        try:
            return future.result()
        except CancelledError:
            return None
        except BaseException as error:
            if isinstance(error, BrokenExecutor):
                self._drop(executor)
            raise self._lost(attempt, error) from error
        finally:
            with self._change:
                del self._futures[id(attempt)]

    def _submit(self, attempt: Attempt, sent: bytes) -> tuple[Executor, Future[Outcome]]:
        place = attempt.effect.place
        for is_last in (False, True):
            executor = None
            try:
                executor = self._open()
                return executor, executor.submit(carry_out, attempt.key, attempt.number, place.turn, sent)
            except Exception as error:
                if self._make is None or is_last:
                    raise self._lost(attempt, error) from error
                if executor is not None:  # it has broken under another attempt's hands: make a new one
                    self._drop(executor)
        raise AssertionError

    def _lost(self, attempt: Attempt, error: BaseException) -> WorkerLost:
        why = f"{type(error).__name__}: {error}"
        if self._make is None:
            why += " (it was given to the engine, which cannot mend it; a function that makes one can be called again)"
        return WorkerLost(attempt.effect.place.name, self.name, why)

    # ---- life

    def _open(self) -> Executor:
        with self._change:
            if self._executor is None:
                if self._closed or self._make is None:
                    msg = "the engine is closed"
                    raise RuntimeError(msg)
                self._executor = self._make()
            return self._executor

    def _drop(self, executor: Executor) -> None:
        """Have the next attempt begin with a new executor, if this one can take no more."""
        if self._make is None:
            return
        with self._change:
            if self._executor is not executor:  # somebody else has seen it, and shuts it down
                return
            self._executor = None
        executor.shutdown(wait=False, cancel_futures=True)

    def close(self) -> bool:
        """Close the executor if the engine has made it; tell whether it was at work."""
        with self._change:
            self._closed = True
            self._change.notify_all()
            if self._make is None or self._executor is None:
                return False
            executor, self._executor = self._executor, None
            at_work = bool(self._futures)
        executor.shutdown(wait=not at_work, cancel_futures=True)
        return at_work
