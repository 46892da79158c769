"""The activities: user code, found by where it stands in the definition that is registered here, and run."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ..actors.attempt import Attempt
from ..actors.calling import arguments_of
from ..actors.outcomes import completed, error_record, failed
from ..actors.reader import CodecReader
from ..actors.threads import run_in_thread
from ..dsl.context import RunFacts
from ..dsl.definition import Definition
from ..dsl.effects import Decide, Invoke
from ..dsl.errors import DefinitionError, StepInterrupted, StepTimeout
from ..dsl.facts import ErrorRecord, FactKind
from ..dsl.messages import StepFailed
from ..dsl.parcel import unpack as scope_of
from ..logging import run_logger
from ..persistence import codec
from .border import HANDLER, QUESTION, Answer, Failure, Task, pack, to_text, unpack
from .graph import Code, Found, codes_of
from .signs import SignsOfLife

__all__ = ["Activities"]

_SHORTEST = 0.001


class Activities:
    """Runs the functions of the workflows that a worker knows.

    Args:
        threads: How many ``def`` functions run at the same time.
    """

    def __init__(self, threads: int) -> None:
        self._codes: dict[tuple[str, str | None], dict[Code, Found]] = {}
        self._slots = asyncio.Semaphore(threads)

    def add(self, definition: Definition) -> None:
        """Know the functions of a definition."""
        self._codes[definition.name, definition.version] = codes_of(definition)

    @activity.defn(name=HANDLER)
    async def handler(self, sent: RawValue) -> RawValue:
        """Make one attempt of a handler."""
        task = unpack(sent, Task)
        found = self._find(task)
        info = activity.info()
        attempt = _attempt(task, found, info.attempt)
        heartbeat = info.heartbeat_timeout or timedelta(seconds=30)
        async with SignsOfLife(attempt, heartbeat):
            return await self._run(attempt, found.function, seconds=task.timeout)

    @activity.defn(name=QUESTION)
    async def question(self, sent: RawValue) -> RawValue:
        """Ask a selector, condition, extractor or mapper."""
        task = unpack(sent, Task)
        found = self._find(task)
        function = found.function
        effect = Decide(task.parcel.place, function, _scope(task), turn=task.turn, check=bool if task.as_bool else None)
        attempt = Attempt(0, effect, 0, _facts(task), None)  # type: ignore[arg-type]  # it reports to nobody
        return await self._run(attempt, function)

    def _find(self, task: Task) -> Found:
        codes = self._codes.get((task.workflow, task.version))
        code = Code(task.way, task.role)
        found = None if codes is None else codes.get(code)
        if found is None:
            whose = f"workflow {task.workflow!r}" + (f" of version {task.version!r}" if task.version else "")
            what = f"the {task.role} of {' / '.join(task.way)} in {whose}"
            msg = f"{what} is not known to this worker: register the definition that the run began with"
            raise _told(error_record(DefinitionError(msg), task.parcel.place.name), 1, None)
        return found

    async def _run(self, attempt: Attempt, function: Callable[..., Any], *, seconds: float | None = None) -> RawValue:
        result, error = await _within(self._call(attempt, function), seconds, attempt)
        if error is None:
            try:
                answer = completed(attempt, result, codec.encode)
            except Exception as misfit:  # noqa: BLE001 - schemas and values are the user's
                error = misfit
            else:
                return pack(Answer(answer.value, attempt.number))
        outcome = failed(attempt, error)
        raise _told(outcome.error, attempt.number, _delay(attempt, outcome))

    async def _call(self, attempt: Attempt, function: Callable[..., Any]) -> Came:
        """Call user code; return what came of it, for what it may raise would end the loop, or mean something to it."""
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments_of(attempt, function)), None
            result, error = await self._call_on_thread(attempt, function)
            return (await result if error is None and inspect.isawaitable(result) else result), error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None, error
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return None, _harmless(attempt, error)

    async def _call_on_thread(self, attempt: Attempt, function: Callable[..., Any]) -> Came:
        loop, context = asyncio.get_running_loop(), copy_context()
        came: asyncio.Future[Came] = loop.create_future()

        def report(outcome: Came) -> None:
            if not came.done():
                came.set_result(outcome)

        def body() -> None:
            outcome: Came
            try:
                outcome = context.run(lambda: function(*arguments_of(attempt, function))), None
            except BaseException as error:  # noqa: BLE001 - user code may raise anything
                outcome = None, _harmless(attempt, error)
            with suppress(RuntimeError):  # the loop has gone
                loop.call_soon_threadsafe(report, outcome)

        async with self._slots:
            run_in_thread("perdure-temporal-handler", body)
            try:
                return await asyncio.shield(came)
            except asyncio.CancelledError:
                attempt.cancelled = True  # what runs on a thread cannot be stopped: it may look at ctx.cancelled
                return await came


Came = tuple[Any, BaseException | None]
"""What user code has returned, or what it has raised."""


def _harmless(attempt: Attempt, error: BaseException) -> BaseException:
    """Return an error as it is, but for one that would end the process: that has cut the attempt short."""
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        return error
    return StepInterrupted(f"step {attempt.effect.place.name!r} was cut short by {error!r}")


async def _within(call: Coroutine[Any, Any, Came], seconds: float | None, attempt: Attempt) -> Came:
    """Wait for a call, for so long: one that runs on a thread goes on by itself, and nobody hears of it."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait((task,), timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        return await task
    if done:
        return await task
    attempt.abandoned = True
    task.add_done_callback(lambda late: late.cancelled() or late.exception())
    task.cancel()
    return None, StepTimeout(attempt.effect.place.name, seconds or 0)


def _told(record: ErrorRecord, attempt: int, delay: float | None) -> ApplicationError:
    """Return what an activity raises: Temporal tries again after the delay, or not at all when there is none."""
    return ApplicationError(
        record.message,
        to_text(Failure(record, attempt)),
        type=record.type,
        non_retryable=delay is None,
        next_retry_delay=None if delay is None else timedelta(seconds=max(delay, _SHORTEST)),
    )


def _facts(task: Task) -> RunFacts:
    return RunFacts(task.execution_id, task.workflow, task.input, run_logger)


def _scope(task: Task) -> Any:
    return scope_of(task.parcel, CodecReader())


def _attempt(task: Task, found: Found, number: int) -> Attempt:
    parcel, undoes = task.parcel, task.parcel.undoes
    kind = FactKind.STEP if undoes is None else FactKind.UNDO
    effect = Invoke(parcel.place, found.function, found.policy, _scope(task), kind, undoes)
    return Attempt(0, effect, number, _facts(task), None, task.failure)  # type: ignore[arg-type]  # it reports to nobody


def _delay(attempt: Attempt, outcome: StepFailed) -> float | None:
    """Return the seconds until the next attempt: what the handler asked for, or what its policy says."""
    if not outcome.retryable:  # as nothing is that is no handler
        return None
    if outcome.delay is not None:
        return outcome.delay
    policy = attempt.effect.policy
    assert policy is not None  # what has none is not tried again
    return policy.retry.delay(attempt.number, random.random())  # noqa: S311 - jitter is no secret
