"""A handle on one run: wait for it, signal it, cancel it, from any thread or coroutine."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from .actors import clock
from .actors.aside import AsideQueue
from .actors.interrupts import next_of
from .arguments import check_patience, states_named
from .dsl.errors import (
    ExecutionNotFound,
    WaitTimeout,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowQuarantined,
    WouldDeadlock,
)
from .dsl.events import Event
from .dsl.signals import Signal
from .dsl.states import ENDS, State
from .execution import Execution
from .steering import SAME, AuditEntry, How
from .stillness import Stillness

if TYPE_CHECKING:
    from .actors.endings import Ending
    from .persistence.records import ExecutionRow
    from .verbs.face import Face

__all__ = ["Run"]

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

Changes: TypeAlias = "queue.SimpleQueue[ExecutionRow | None] | AsideQueue"
"""What tells somebody who waits that a run has changed."""


class Run(Generic[R_co]):
    """One run of a workflow.

    Attributes:
        id: Id of the run.
        workflow_name: Name of its workflow.
    """

    __slots__ = ("_ending", "_engine", "id", "workflow_name")

    def __init__(
        self, engine: Face[int | None], execution_id: str, workflow_name: str, ending: Ending | None = None
    ) -> None:
        self._engine = engine
        self._ending = ending
        self.id = execution_id
        self.workflow_name = workflow_name

    def __repr__(self) -> str:
        """Show id and workflow."""
        return f"<Run {self.id} {self.workflow_name}>"

    @property
    def state(self) -> State:
        """What the run is doing now.

        Raises:
            ExecutionNotFound: it was cleaned up or archived.
        """
        return self._snapshot().state

    def _snapshot(self) -> Execution:
        execution = self._engine.get_execution(self.id)
        if execution is None:
            raise ExecutionNotFound(self.id)
        return execution

    def wait(self, timeout: float | None = None, *, until: str | Collection[str] | None = None) -> Execution:
        """Wait until the run is in a final state, or in one of those named, and return what it looks like then.

        Args:
            timeout: Real seconds, also when time is frozen; None waits for ever.
            until: A state or several, such as ``"waiting"``.

        Raises:
            UsageError: there is no such state.
            WaitTimeout: it did not get there in time; the run itself goes on.
            WouldDeadlock: called where it would wait for itself: in a handler of this run, or in a listener; or in a
                test, with no timeout, where time is frozen and nothing is left that could wake the run.
            ExecutionNotFound: it was cleaned up or archived.
        """
        return self._reach(timeout, until).loaded()

    def _reach(self, timeout: float | None, until: str | Collection[str] | None = None) -> Execution:
        check_patience(timeout)
        self._engine.check_may_wait(self.id)
        self._engine.check_may_block()
        wanted = ENDS if until is None else states_named(until, "until")
        if State.COMPLETED in wanted and (completed := self._completed()) is not None:
            return completed
        aside = self._engine.aside()
        changes: Changes = queue.SimpleQueue() if aside is None else AsideQueue(aside)
        stops = [self._engine.when_ended(self.id, changes.put)]
        if not wanted <= ENDS:
            stops.append(self._engine.when_changed(self.id, lambda: changes.put(None)))
        try:
            return self._wait(changes, wanted, timeout)
        finally:
            for stop in stops:
                stop()

    def _completed(self) -> Execution | None:
        """Return what the end of this run looked like, if it was started by this handle and has completed.

        Any other end may be taken back by an operator, so that the database has to be asked.
        """
        row = None if self._ending is None else self._ending.row
        return None if row is None or row.state != State.COMPLETED else self._engine.view(row)

    def _wait(self, changes: Changes, wanted: frozenset[State], timeout: float | None) -> Execution:
        deadline = None if timeout is None else clock.monotonic() + timeout
        stillness = Stillness(self._engine.stillness)
        row: ExecutionRow | None = None
        while True:
            # A run in memory whose end is still to come need not be read: whoever ends it will say so.
            if row is not None or wanted != ENDS or not self._engine.is_under_way(self.id):
                execution = self._snapshot() if row is None else self._engine.view(row)
                if row is None and execution.state in ENDS:
                    self._engine.wait_told()
                if execution.state in wanted:
                    return execution
                if execution.state in ENDS:
                    msg = f"run {self.id} is {execution.state} and will not become {' or '.join(sorted(wanted))}"
                    raise WaitTimeout(msg)
            try:
                if deadline is None:
                    row = stillness.next_of(changes)
                else:
                    row = next_of(changes, max(0.0, deadline - clock.monotonic()))
            except queue.Empty:
                if deadline is None:
                    raise WouldDeadlock(self._why_never()) from None
                msg = f"run {self.id} is still {self.state} after {timeout:g} s; the run itself goes on"
                raise WaitTimeout(msg) from None

    def _why_never(self) -> str:
        seen = self._snapshot()
        deadlines = [waiting.deadline for waiting in seen.waiting_for if waiting.deadline is not None]
        what = " and ".join(sorted({waiting.what for waiting in seen.waiting_for}))
        until = f" until {min(deadlines).isoformat()} at most" if deadlines else ""
        return (
            f"run {self.id} is {seen.state}{what and f' for {what}'}{until}, and time is frozen: nothing in this"
            " process can wake it; call engine.signal(...) or engine.advance(...) first, or give a timeout"
        )

    def result(self, timeout: float | None = None) -> R_co:
        """Wait for the end and return the last node's value.

        Returns after every listener has been given the run's last event.

        Args:
            timeout: Real seconds, also when time is frozen; None waits for ever.

        Raises:
            WorkflowFailed: the run failed; names the step and carries the recorded error.
            WorkflowCancelled: it was cancelled.
            WorkflowQuarantined: it was set aside.
            WaitTimeout: it did not end in time; the run itself goes on.
            WouldDeadlock: called where it would wait for itself, or for ever: see `wait`.
        """
        return self._outcome(self._reach(timeout))

    def _outcome(self, execution: Execution) -> R_co:
        match execution.state:
            case State.COMPLETED:
                return execution.result  # type: ignore[no-any-return]
            case State.CANCELLED:
                error: type[WorkflowFailed | WorkflowCancelled | WorkflowQuarantined] = WorkflowCancelled
            case State.QUARANTINED:
                error = WorkflowQuarantined
            case _:
                error = WorkflowFailed
        raise error(self.id, self.workflow_name, error=execution.error, rollback=execution.rollback)

    def __await__(self) -> Generator[Any, None, R_co]:
        """Await the result in any asyncio loop; raises what `result` raises."""
        return self._await().__await__()

    async def _await(self) -> R_co:
        import asyncio

        self._engine.check_may_wait(self.id)
        if (completed := self._completed()) is not None:
            return self._outcome(completed)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[ExecutionRow | None] = loop.create_future()

        def tell(row: ExecutionRow | None) -> None:
            if not ended.done():
                ended.set_result(row)

        aside = self._engine.aside()

        def hand_over(row: ExecutionRow | None) -> None:
            if aside is not None:
                aside.call_back()
            loop.call_soon_threadsafe(tell, row)

        stop = self._engine.when_ended(self.id, hand_over)
        try:
            if not self._engine.is_under_way(self.id) and (execution := self._snapshot()).state in ENDS:
                await asyncio.to_thread(self._engine.wait_told)
                return self._outcome(execution)
            if aside is not None:
                aside.step_aside()
            row = await ended
            return self._outcome(self._snapshot() if row is None else self._engine.view(row))
        finally:
            stop()
            if aside is not None:
                aside.come_back()

    @overload
    def signal(self, event: Signal[T], payload: T, *, key: str | None = None, strict: bool = True) -> None: ...
    @overload
    def signal(
        self, event: Signal[None], payload: None = None, *, key: str | None = None, strict: bool = True
    ) -> None: ...
    @overload
    def signal(self, event: str, payload: Any = None, *, key: str | None = None, strict: bool = True) -> None: ...
    def signal(self, event: Any, payload: Any = None, *, key: str | None = None, strict: bool = True) -> None:
        """Send a signal to this run; see `Engine.signal`."""
        self._engine.signal(self.id, event, payload, key=key, strict=strict)

    def cancel(self, *, compensate: bool = True, reason: str = "cancelled", by: str | None = None) -> bool:
        """Cancel this run; see `Engine.cancel`."""
        return self._engine.cancel(self.id, compensate=compensate, reason=reason, by=by)

    def pause(self, *, reason: str | None = None, by: str | None = None) -> None:
        """Pause this run; see `Engine.pause`."""
        self._engine.pause(self.id, reason=reason, by=by)

    def resume(self, *, reason: str | None = None, by: str | None = None) -> None:
        """Have this run go on after a pause; see `Engine.resume`."""
        self._engine.resume(self.id, reason=reason, by=by)

    def retry(self, *, reason: str | None = None, by: str | None = None) -> None:
        """Have this run try again what has failed; see `Engine.retry`."""
        self._engine.retry(self.id, reason=reason, by=by)

    def skip(self, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None) -> None:
        """Go on without a step; see `Engine.skip`."""
        self._engine.skip(self.id, step, result=result, reason=reason, by=by)

    def complete_step(self, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None) -> None:
        """Take a step as done; see `Engine.complete_step`."""
        self._engine.complete_step(self.id, step, result=result, reason=reason, by=by)

    def resolve(
        self,
        how: How,
        *,
        step: str | None = None,
        result: Any = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> int | None:
        """End this run's incidents; see `Engine.resolve`. None when the wish waits for an engine that is alive."""
        return self._engine.resolve(self.id, how, step=step, result=result, reason=reason, by=by)

    def terminate(self, *, reason: str = "terminated", by: str | None = None) -> None:
        """End this run at once; see `Engine.terminate`."""
        self._engine.terminate(self.id, reason=reason, by=by)

    def fork(
        self,
        *,
        at: str | None = None,
        input: Any = SAME,
        steps: Mapping[str, Any] | None = None,
        new_id: str | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Run[R_co]:
        """Start a new run that begins with what this one has recorded; see `Engine.fork`."""
        return self._engine.fork(self.id, at=at, input=input, steps=steps, new_id=new_id, reason=reason, by=by)

    def audit(self) -> list[AuditEntry]:
        """Return what operators have asked of this run; see `Engine.audit`."""
        return self._engine.audit(self.id)

    def events(self) -> Iterator[Event]:
        """Yield the run's events from now on, and end after its last one, or when the engine is closed.

        The subscription begins at the call, not at the first look.
        """
        received: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        unsubscribe = self._engine.subscribe(self.id, received.put)
        withdraw = self._engine.when_ended(self.id, lambda _: received.put(None))
        if self._snapshot().state in ENDS:
            received.put(None)
        return _until_the_last(received, unsubscribe, withdraw)


def _until_the_last(received: queue.SimpleQueue[Event | None], *stops: Callable[[], None]) -> Iterator[Event]:
    try:
        while (event := next_of(received)) is not None:
            yield event
    finally:
        for stop in stops:
            stop()
