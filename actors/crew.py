"""The crew: runs every piece of user code, on threads or on the engine's event loop, and reports as messages.

Rules:

1. A slot of ``concurrency`` is held by a run while any of its handlers is running, not while results are being
   committed; a parallel group counts once. Runs that find no slot queue up, first come first served.
2. Whatever user code raises becomes a message. ``KeyboardInterrupt`` and ``SystemExit`` are the process's business: the
   attempt counts as interrupted.
3. A handler that waits for another run holds no slot meanwhile. It need not queue when it goes on, so for a moment more
   runs than ``concurrency`` may be at work.
4. A ``def`` handler cannot be stopped. When its attempt times out its slot is free again, its thread is not.
5. A handler that an executor runs is waited for by a thread beyond the limit; all else is as for a ``def`` handler.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..dsl.errors import NotSendable, StoreError, WorkerLost
from ..dsl.messages import StepCompleted, StepFailed, StepInterrupted
from . import clock
from .around import Around, call_of, call_within
from .attempt import CURRENT, Attempt, Loan
from .calling import arguments_of, function_of, is_async, is_awaitable
from .core import Letter
from .outcomes import completed, failed, interrupted, interruption, lost, not_begun

if TYPE_CHECKING:
    from ..persistence.apart import Apart
    from .annexes import Annex, Annexes
    from .lanes import ThreadLanes

__all__ = ["Crew"]


class Crew:
    """Hands attempts to the lanes, within the engine's concurrency.

    Attributes:
        lent: How many handlers wait for other runs.
        on_lent: Called when one begins to.
    """

    def __init__(self, lanes: ThreadLanes, encode: Callable[[Any], str], *, concurrency: int) -> None:
        self._lanes = lanes
        self._encode = encode
        self._free = concurrency
        self._busy: dict[int, int] = {}
        self._queue: deque[Attempt] = deque()
        self._awaiting: dict[Any, Attempt] = {}
        self._slots = threading.Lock()
        self._closed = False
        self.lent = 0
        self.on_lent: Callable[[], None] = lambda: None
        lanes.describe = self._describe
        self.transactions: Callable[[], AbstractContextManager[Apart]]
        self.has_recorded: Callable[[int, str, int], bool]
        self.around: Around | None = None
        self.annexes: Annexes

    # ---- starting and ending

    def run(self, attempt: Attempt) -> None:
        """Run a handler as soon as there is a slot; called by the core."""
        with self._slots:
            if self._closed:
                pass  # it is reported as not begun
            elif attempt.run in self._busy:
                self._busy[attempt.run] += 1
            elif self._free > 0:
                self._free -= 1
                self._busy[attempt.run] = 1
            else:
                self._lanes.hold()  # a queued attempt is in flight too
                self._line_up(attempt)
                return
            attempt.holds_slot = not self._closed
        self._submit(attempt)

    def _line_up(self, attempt: Attempt) -> None:
        """Stand behind all that matter as much, and before those that matter less."""
        queue = self._queue
        if not queue or queue[-1].priority >= attempt.priority:
            queue.append(attempt)
            return
        place = next(number for number, other in enumerate(queue) if other.priority < attempt.priority)
        queue.insert(place, attempt)

    def load(self) -> tuple[int, int, int]:
        """Return how many runs hold a slot, how many attempts they have under way, and how many attempts queue."""
        with self._slots:
            return len(self._busy), sum(self._busy.values()), len(self._queue)

    def ask(self, attempt: Attempt) -> None:
        """Run a selector, condition, extractor or mapper; they need no slot."""
        self._submit(attempt)

    def run_beyond(self, job: Callable[[], None]) -> None:
        """Run user code that must not wait for handlers to return: on a thread beyond the limit."""
        self._lanes.pool.grow()
        self._lanes.crew(partial(self._run_and_shrink, job))

    def _run_and_shrink(self, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            self._lanes.pool.shrink()

    def abandon(self, attempt: Attempt) -> None:
        """Stop waiting for an attempt: an asynchronous one is cancelled, the outcome of another is thrown away."""
        with attempt.ending or nullcontext():  # Invariant: an attempt that was given up commits nothing
            attempt.abandoned = True
        if (task := attempt.task) is not None:
            self._lanes.call_in_loop(task.cancel)
        if attempt.annex is not None:
            attempt.annex.withdraw(attempt)
        with self._slots:
            left = attempt.on_thread and not attempt.stepped_over
            attempt.stepped_over |= left
            step_over = left and attempt.loan is None  # one that waits does not count anyway
        self._give_back(attempt)
        if step_over:
            self._lanes.step_over()

    def cancel(self, attempt: Attempt) -> None:
        """Ask an attempt to end early: one that queues never begins, an asynchronous one is stopped."""
        attempt.cancelled = True
        with self._slots:
            queued = attempt in self._queue
            if queued:
                self._queue.remove(attempt)
        if queued:
            self._finish(attempt, not_begun(attempt))
            self._lanes.release()
        if (task := attempt.task) is not None:
            self._lanes.call_in_loop(task.cancel)
        if attempt.annex is not None:
            attempt.annex.withdraw(attempt)

    def close(self) -> None:
        """Start nothing more; attempts that queue are reported as not begun."""
        with self._slots:
            self._closed = True
            queued = list(self._queue)
            self._queue.clear()
        for attempt in queued:
            self._finish(attempt, not_begun(attempt))
            self._lanes.release()

    def lend(self, attempt: Attempt) -> None:
        """Let others use what a handler holds while it waits for another run."""
        with self._slots:
            if attempt.is_over or attempt.stepped_over:
                return
            if attempt.loan is not None:
                attempt.loan.waits += 1
                return
            loan = attempt.loan = Loan(attempt.holds_slot, attempt.on_thread)
            self.lent += 1
        self._give_back(attempt)
        if loan.thread:
            self._lanes.pool.grow()
        self._lanes.step_over()
        self.on_lent()

    def take_back(self, attempt: Attempt) -> None:
        """Count a handler that has waited as one that is at work; called by whoever has news for it."""
        with self._slots:
            loan = attempt.loan
            if loan is None:
                return
            loan.waits -= 1
        if loan.waits == 0:
            self._end_loan(attempt)

    def _end_loan(self, attempt: Attempt) -> None:
        with self._slots:
            loan, attempt.loan = attempt.loan, None
            if loan is None:
                return
            self.lent -= 1
            if loan.slot and not attempt.abandoned:
                self._busy[attempt.run] = busy = self._busy.get(attempt.run, 0) + 1
                self._free -= busy == 1
                attempt.holds_slot = True
            if not attempt.stepped_over:
                self._lanes.hold()
        if loan.thread:
            self._lanes.pool.shrink()

    def _give_back(self, attempt: Attempt) -> None:
        queued: list[Attempt] = []
        with self._slots:
            if not attempt.holds_slot:
                return
            attempt.holds_slot = False
            others = self._busy.pop(attempt.run) - 1
            if others:
                self._busy[attempt.run] = others
            else:
                self._free += 1
                if self._queue and self._free > 0:
                    queued = self._take_next()
        for each in queued:
            self._submit(each)
            self._lanes.release()

    def _take_next(self) -> list[Attempt]:
        """Give the free slot to the run that has queued longest, with all its attempts that queue."""
        while self._queue and self._queue[0].abandoned:
            self._queue.popleft()
            self._lanes.release()
        if not self._queue:
            return []
        run = self._queue[0].run
        taken = [attempt for attempt in self._queue if attempt.run == run] if len(self._queue) > 1 else [self._queue[0]]
        if len(taken) == 1:
            self._queue.popleft()
        else:
            self._queue = deque(attempt for attempt in self._queue if attempt.run != run)
        self._free -= 1
        self._busy[run] = len(taken)
        for attempt in taken:
            attempt.holds_slot = True
        return taken

    def _submit(self, attempt: Attempt) -> None:
        function = function_of(attempt)
        policy = attempt.effect.policy
        if policy is not None and policy.executor is not None:
            attempt.annex = annex = self.annexes[policy.executor]
            self._lanes.pool.grow()
            self._lanes.crew(lambda: self._run_elsewhere(attempt, annex))
        elif is_async(function):
            self._lanes.loop(lambda: self._run_async(attempt, function))
        else:
            self._lanes.crew(partial(self._run_sync, attempt, function))

    # ---- running

    def _run_sync(self, attempt: Attempt, function: Callable[..., Any]) -> None:
        if self._is_unwanted(attempt):
            self._finish(attempt, not_begun(attempt))
            return
        attempt.began = clock.micros()
        token = CURRENT.set(attempt)
        attempt.on_thread = True
        policy = attempt.effect.policy
        call = self._call_within if policy is not None and policy.transactional else self._call
        try:
            outcome = call(attempt, function)
        finally:
            CURRENT.reset(token)
            self._leave_thread(attempt)
        if is_awaitable(outcome):
            self._lanes.loop(lambda: self._finish_awaiting(attempt, outcome))
        else:
            self._finish(attempt, outcome)

    def _run_elsewhere(self, attempt: Attempt, annex: Annex) -> None:
        """Have an executor run a handler, and wait for it."""
        try:
            outcome = self._call_elsewhere(attempt, annex)
        finally:
            self._lanes.pool.shrink()
        self._finish(attempt, outcome)

    def _call_elsewhere(self, attempt: Attempt, annex: Annex) -> StepCompleted | StepFailed | StepInterrupted:
        with annex.place(lambda: self._is_unwanted(attempt)):
            if self._is_unwanted(attempt):
                return not_begun(attempt)
            attempt.began = clock.micros()
            attempt.on_thread = True
            try:
                outcome = self._send(attempt, annex)
            except (NotSendable, WorkerLost) as error:
                if self._closed:
                    return interruption(attempt)
                return lost(attempt, error)
            finally:
                self._leave_thread(attempt)
        return not_begun(attempt) if outcome is None else outcome

    def _send(self, attempt: Attempt, annex: Annex) -> StepCompleted | StepFailed | StepInterrupted | None:
        call = None if self.around is None else call_of(attempt)
        if self.around is None or call is None:
            return annex.run(attempt)
        told: list[StepCompleted | StepFailed | StepInterrupted | None] = []
        with suppress(_RaisedElsewhere):
            call_within(self.around(call), _tell, (told, annex, attempt))
        return told[0]

    def _is_unwanted(self, attempt: Attempt) -> bool:
        """Tell whether user code that has not begun must not begin any more."""
        return attempt.abandoned or attempt.cancelled or self._closed

    def _leave_thread(self, attempt: Attempt) -> None:
        with self._slots:
            attempt.on_thread = False
            if attempt.stepped_over:  # it counts again, until its job is over
                self._lanes.hold()

    def _call(self, attempt: Attempt, function: Callable[..., Any]) -> Any:
        try:
            result = self._invoke(attempt, function)
            return result if is_awaitable(result) else completed(attempt, result, self._encode)
        except (KeyboardInterrupt, SystemExit) as error:
            return interrupted(attempt, error)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return failed(attempt, error)

    def _call_within(self, attempt: Attempt, function: Callable[..., Any]) -> Any:
        """Call a handler whose writes and whose result are one commit."""
        ending = attempt.ending = threading.Lock()
        decided: StepCompleted | None = None
        try:
            with self.transactions() as own:
                attempt.transaction = own
                result = self._invoke(attempt, function)
                if inspect.iscoroutine(result):
                    result.close()  # encoding refuses it, without a warning that nobody awaited it
                outcome = completed(attempt, result, self._encode)
                own.record(attempt.run, attempt.key, attempt.number, outcome.value, clock.micros())
                with ending:
                    if attempt.abandoned:
                        return not_begun(attempt)
                    decided = outcome
                    own.commit()
        except (KeyboardInterrupt, SystemExit) as error:
            return interrupted(attempt, error)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            if decided is not None and self._is_on_disk(attempt):
                return decided
            return failed(attempt, error)
        return outcome

    def _is_on_disk(self, attempt: Attempt) -> bool:
        """Tell whether a transaction was committed though the disk said that it was not."""
        try:
            return self.has_recorded(attempt.run, attempt.key, attempt.number)
        except StoreError:
            return False

    async def _run_async(self, attempt: Attempt, function: Callable[..., Any]) -> None:
        if self._is_unwanted(attempt):
            self._finish(attempt, not_begun(attempt))
            return
        attempt.began = clock.micros()
        CURRENT.set(attempt)
        try:
            awaitable = self._invoke(attempt, function)
        except BaseException as error:  # noqa: BLE001 - user code, as above
            self._finish(attempt, failed(attempt, error))
            return
        await self._finish_awaiting(attempt, awaitable)

    async def _finish_awaiting(self, attempt: Attempt, awaitable: Any) -> None:
        import asyncio

        CURRENT.set(attempt)
        task = attempt.task = asyncio.current_task()
        self._awaiting[task] = attempt
        outcome: StepCompleted | StepFailed | StepInterrupted
        try:
            outcome = completed(attempt, await awaitable, self._encode)
        except asyncio.CancelledError as error:
            wanted = attempt.abandoned or attempt.cancelled or self._closed
            outcome = interruption(attempt) if wanted else failed(attempt, error)
        except (KeyboardInterrupt, SystemExit) as error:
            outcome = interrupted(attempt, error)
        except BaseException as error:  # noqa: BLE001 - user code, as above
            outcome = failed(attempt, error)
        del self._awaiting[task]
        attempt.task = None  # which holds the attempt in turn
        self._finish(attempt, outcome)

    def _describe(self, task: Any) -> str:
        attempt = self._awaiting.get(task)
        if attempt is None:
            return f"a task that a handler has left behind, {task.get_name()},"
        return f"{attempt.effect.place.name!r} of {attempt.facts.workflow_name} {attempt.facts.execution_id}"

    def _invoke(self, attempt: Attempt, function: Callable[..., Any]) -> Any:
        arguments = arguments_of(attempt, function)
        call = None if self.around is None else call_of(attempt)
        if self.around is None or call is None:
            return function(*arguments)
        return call_within(self.around(call), function, arguments)

    def _finish(self, attempt: Attempt, outcome: StepCompleted | StepFailed | StepInterrupted) -> None:
        attempt.is_over = True
        if attempt.loan is not None:  # what it has left behind still waits
            self._end_loan(attempt)
        self._give_back(attempt)
        self._lanes.pool.about_to_report()
        attempt.actor.core.post(attempt.actor, Letter(outcome))
        self._lanes.pool.reported()


class _RaisedElsewhere(Exception):
    """Stands for what a handler has raised in another process, for what goes around its call here."""


def _tell(told: list[Any], annex: Annex, attempt: Attempt) -> None:
    outcome = annex.run(attempt)
    told.append(outcome)
    if isinstance(outcome, StepFailed):
        raise _RaisedElsewhere(outcome.error)
