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
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl.context import Context, RunFacts
from ..dsl.errors import (
    EngineError,
    NonRetryable,
    NotSendable,
    NotStorable,
    RetryAfter,
    SchemaError,
    StoreError,
    WorkerLost,
)
from ..dsl.facts import ErrorRecord
from ..dsl.messages import StepCompleted, StepFailed, StepInterrupted
from ..persistence.classes import home_of
from . import clock
from .around import Around, call_of, call_within
from .core import CoreActor, Letter
from .notes import Notes

if TYPE_CHECKING:
    from ..dsl.effects import Decide, Invoke, RunChild, WaitUntil
    from ..persistence.apart import Apart
    from .annexes import Annex, Annexes
    from .lanes import ThreadLanes

__all__ = ["Attempt", "Crew", "arguments_of", "completed", "error_record", "failed", "running_attempt"]

logger = logging.getLogger("perdure")

_current: ContextVar[Attempt | None] = ContextVar("perdure attempt", default=None)
"""A context variable, and not a thread's: handlers that are coroutines share a thread."""


_NEVER_AWAITED = frozenset(
    {NoneType, bool, int, float, str, bytes, list, tuple, dict, set, StepCompleted, StepFailed, StepInterrupted}
)


def running_attempt() -> Attempt | None:
    """Return the attempt whose user code is asking, if any: on this thread, or in this task."""
    attempt = _current.get()
    return None if attempt is None or attempt.is_over else attempt


class Attempt(msgspec.Struct, eq=False):
    """One call of user code.

    Attributes:
        run: Integer key of the run; what slots are counted by.
        effect: What asked for it.
        number: Attempt number for handlers, 0 for selectors and their like.
        facts: What the context shows of the run.
        actor: Who hears of the outcome.
        failure: Why the run is being undone, for compensations.
        began: When user code began, or None while it queues.
        abandoned: Whether nobody waits for the outcome any longer.
        cancelled: Whether the run is being cancelled; the outcome is still recorded.
        on_thread: Whether a ``def`` handler is running.
        stepped_over: Whether it was left running, and nothing waits for its thread.
        loan: What others may use while it waits for other runs.
        is_over: Whether user code has returned, so that what it left running may wait for anything.
        transaction: What its handler writes to the database through, if the step is a transaction.
        ending: Held while that transaction is being committed, and by whoever gives the attempt up.
        priority: How much its run matters beside others that queue.
        checkpoint: What the attempt before has left for this one, encoded.
        notes: What user code has told meanwhile, if it has told anything.
        annex: The executor that runs its handler, if one does.
    """

    run: int
    effect: Invoke | Decide | RunChild | WaitUntil
    number: int
    facts: RunFacts
    actor: CoreActor
    failure: ErrorRecord | None = None
    began: int | None = None
    abandoned: bool = False
    cancelled: bool = False
    task: Any = None
    holds_slot: bool = False
    on_thread: bool = False
    stepped_over: bool = False
    loan: _Loan | None = None
    is_over: bool = False
    transaction: Any = None
    ending: threading.Lock | None = None
    priority: int = 0
    checkpoint: str | None = None
    notes: Notes | None = None
    annex: Annex | None = None

    def open_notes(self) -> Notes:
        """Return what the handler tells while it runs."""
        if self.notes is None:
            self.notes = Notes(self)
        return self.notes

    @property
    def key(self) -> str:
        """Key of the fact it works for."""
        return self.effect.place.key


class _Loan(msgspec.Struct):
    """What a handler held when it began to wait for another run, and for how many it waits."""

    slot: bool
    thread: bool
    waits: int = 1


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
            self._finish(attempt, _not_begun(attempt))
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
            self._finish(attempt, _not_begun(attempt))
            self._lanes.release()

    def lend(self, attempt: Attempt) -> None:
        """Let others use what a handler holds while it waits for another run."""
        with self._slots:
            if attempt.is_over or attempt.stepped_over:
                return
            if attempt.loan is not None:
                attempt.loan.waits += 1
                return
            loan = attempt.loan = _Loan(attempt.holds_slot, attempt.on_thread)
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
        function = _function_of(attempt)
        policy = attempt.effect.policy
        if policy is not None and policy.executor is not None:
            attempt.annex = annex = self.annexes[policy.executor]
            self._lanes.pool.grow()
            self._lanes.crew(lambda: self._run_elsewhere(attempt, annex))
        elif _is_async(function):
            self._lanes.loop(lambda: self._run_async(attempt, function))
        else:
            self._lanes.crew(partial(self._run_sync, attempt, function))

    # ---- running

    def _run_sync(self, attempt: Attempt, function: Callable[..., Any]) -> None:
        if self._is_unwanted(attempt):
            self._finish(attempt, _not_begun(attempt))
            return
        attempt.began = clock.micros()
        token = _current.set(attempt)
        attempt.on_thread = True
        policy = attempt.effect.policy
        call = self._call_within if policy is not None and policy.transactional else self._call
        try:
            outcome = call(attempt, function)
        finally:
            _current.reset(token)
            self._leave_thread(attempt)
        if _is_awaitable(outcome):
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
                return _not_begun(attempt)
            attempt.began = clock.micros()
            attempt.on_thread = True
            try:
                outcome = self._send(attempt, annex)
            except (NotSendable, WorkerLost) as error:
                if self._closed:
                    return _interruption(attempt)
                return lost(attempt, error)
            finally:
                self._leave_thread(attempt)
        return _not_begun(attempt) if outcome is None else outcome

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
            return result if _is_awaitable(result) else completed(attempt, result, self._encode)
        except (KeyboardInterrupt, SystemExit) as error:
            return _interrupted(attempt, error)
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
                        return _not_begun(attempt)
                    decided = outcome
                    own.commit()
        except (KeyboardInterrupt, SystemExit) as error:
            return _interrupted(attempt, error)
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
            self._finish(attempt, _not_begun(attempt))
            return
        attempt.began = clock.micros()
        _current.set(attempt)
        try:
            awaitable = self._invoke(attempt, function)
        except BaseException as error:  # noqa: BLE001 - user code, as above
            self._finish(attempt, failed(attempt, error))
            return
        await self._finish_awaiting(attempt, awaitable)

    async def _finish_awaiting(self, attempt: Attempt, awaitable: Any) -> None:
        import asyncio

        _current.set(attempt)
        task = attempt.task = asyncio.current_task()
        self._awaiting[task] = attempt
        outcome: StepCompleted | StepFailed | StepInterrupted
        try:
            outcome = completed(attempt, await awaitable, self._encode)
        except asyncio.CancelledError as error:
            wanted = attempt.abandoned or attempt.cancelled or self._closed
            outcome = _interruption(attempt) if wanted else failed(attempt, error)
        except (KeyboardInterrupt, SystemExit) as error:
            outcome = _interrupted(attempt, error)
        except BaseException as error:  # noqa: BLE001 - user code, as above
            outcome = failed(attempt, error)
        del self._awaiting[task]
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


def _function_of(attempt: Attempt) -> Callable[..., Any]:
    return attempt.effect.code


def _is_awaitable(value: Any) -> bool:
    """Tell what `inspect.isawaitable` tells, at a tenth of its cost for what most functions return."""
    return type(value) not in _NEVER_AWAITED and inspect.isawaitable(value)


def arguments_of(attempt: Attempt, function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return what user code is called with: its context if it takes one, after the step's input schema.

    Raises:
        SchemaError: the input does not fit the schema.
    """
    effect = attempt.effect
    place = effect.undoes or effect.place
    context: Context[Any] = Context(
        attempt.facts,
        effect.scope,
        place,
        attempt=attempt.number,
        failure=attempt.failure,
        transaction=attempt.transaction,
        is_cancelled=lambda: attempt.abandoned or attempt.cancelled,
        open_notes=attempt.open_notes,
    )
    policy = effect.policy
    if policy is not None and policy.input_schema is not None:
        try:
            context.replace_input(policy.input_schema(context.input))
        except Exception as error:
            msg = f"the input of step {place.name!r} does not fit its input_schema: {error}"
            raise _InputMisfit(msg) from error
    turn = effect.turn
    return (context, turn)[: _takes(function, 1 if turn is None else 2)]


class _InputMisfit(SchemaError):
    """An input that cannot get better by trying again."""


_InputMisfit.__name__ = _InputMisfit.__qualname__ = "SchemaError"


@lru_cache(maxsize=4096)
def _takes(function: Callable[..., Any], most: int) -> int:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for count in range(most, -1, -1):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return count
    return most


@lru_cache(maxsize=4096)
def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class _RaisedElsewhere(Exception):
    """Stands for what a handler has raised in another process, for what goes around its call here."""


def _tell(told: list[Any], annex: Annex, attempt: Attempt) -> None:
    outcome = annex.run(attempt)
    told.append(outcome)
    if isinstance(outcome, StepFailed):
        raise _RaisedElsewhere(outcome.error)


def completed(attempt: Attempt, result: Any, encode: Callable[[Any], str]) -> StepCompleted:
    """Check and encode what user code returned, where it ran: that is user code too.

    Raises:
        SchemaError: the result does not fit the step's output schema.
        NotStorable: it cannot be stored.
    """
    effect = attempt.effect
    if effect.check is not None:
        result = effect.check(result)
    policy = effect.policy
    if policy is not None and policy.output_schema is not None:
        try:
            result = policy.output_schema(result)
        except Exception as error:
            msg = f"the result of step {effect.place.name!r} does not fit its output_schema: {error}"
            raise SchemaError(msg) from error
    return StepCompleted(attempt.key, attempt.number, encode(result), turn=effect.place.turn)


def failed(attempt: Attempt, error: BaseException) -> StepFailed:
    """Turn what user code has raised into a message: whether it may be tried again, and when."""
    policy = attempt.effect.policy
    retryable = (
        policy is not None
        and not isinstance(error, (NonRetryable, _InputMisfit, NotStorable))
        and policy.retry.allows(error)
    )
    delay = error.seconds if isinstance(error, RetryAfter) else None
    place = attempt.effect.place
    return StepFailed(attempt.key, attempt.number, error_record(error, place.name), retryable, delay, turn=place.turn)


def lost(attempt: Attempt, error: NotSendable | WorkerLost) -> StepFailed:
    """Turn the loss of an attempt into a message; what must not be repeated after a crash is not tried again."""
    policy, place = attempt.effect.policy, attempt.effect.place
    assert policy is not None  # only handlers are sent
    gone = isinstance(error, WorkerLost)
    retryable = gone and policy.on_interrupted == "repeat" and policy.retry.allows(error)
    record = error_record(error, place.name)
    return StepFailed(attempt.key, attempt.number, record, retryable=retryable, turn=place.turn, lost=gone)


def _not_begun(attempt: Attempt) -> StepInterrupted:
    return _interruption(attempt, began=False)


def _interrupted(attempt: Attempt, error: BaseException) -> StepInterrupted:
    facts, step = attempt.facts, attempt.effect.place.name
    logger.warning(
        "%r in %r of %s: the attempt is left as interrupted",
        error,
        attempt.key,
        facts.execution_id,
        extra={
            "execution_id": facts.execution_id,
            "workflow": facts.workflow_name,
            "step": step,
            "attempt": attempt.number,
        },
    )
    return _interruption(attempt)


def _interruption(attempt: Attempt, *, began: bool = True) -> StepInterrupted:
    return StepInterrupted(attempt.key, attempt.number, began=began, turn=attempt.effect.place.turn)


def error_record(error: BaseException, step: str | None = None) -> ErrorRecord:
    """Turn an exception into what is kept of it: text, whatever its ``str()`` does."""
    cls = type(error)
    home = "perdure" if isinstance(error, EngineError) else home_of(cls)
    module = "" if home == "builtins" else f"{home}."
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - user code again
        message = f"<str() of the exception raised {type(broken).__name__}>"
    if isinstance(error, NotStorable):
        message = f"step {step!r}: {message}"
    try:
        text = "".join(traceback.format_exception(error, limit=-20))
    except Exception:  # noqa: BLE001 - and again
        text = ""
    return ErrorRecord(f"{module}{cls.__qualname__}", message, step, "" if _ours(error) else text)


def _ours(error: BaseException) -> bool:
    return isinstance(error, EngineError) and error.__cause__ is None and not isinstance(error, NonRetryable)
