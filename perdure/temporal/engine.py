"""The small face of an engine over a Temporal cluster: start, signal, cancel, get_execution, from any thread."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypedDict, TypeVar, Unpack, overload

import msgspec
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from .. import arguments
from ..dsl.errors import (
    DuplicateExecution,
    EngineClosed,
    ExecutionFinished,
    ExecutionNotFound,
    UnknownSignal,
    WaitTimeout,
    WouldDeadlock,
)
from ..dsl.policies import Duration
from ..dsl.signals import Signal
from ..dsl.workflow import Workflow
from ..execution import Execution
from ..registry import Registry, make_types_known
from ..verbs.life import LifeVerbs
from . import graph
from .border import RUN, SIGNAL, SNAPSHOT, Begin, Sent, Snapshot, Stop, pack, unpack
from .run import TemporalRun
from .worker import TASK_QUEUE, checked, worker

__all__ = ["TemporalEngine"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
T = TypeVar("T")

_HEARTBEAT: Final = 30.0


class StartOptions(TypedDict, total=False):
    """Keywords of `TemporalEngine.start`."""

    id: str | None
    delay: Duration | None
    tags: Mapping[str, Any] | None


class TemporalEngine(LifeVerbs):
    """Starts, signals, cancels and reads runs on a Temporal cluster, and runs them too unless told not to.

    Every method may be called from any thread, but not from an ``async def`` handler: that raises `WouldDeadlock`.

    Args:
        target: Address of the cluster, such as ``"localhost:7233"``.
        workflows: The workflows that it knows.
        namespace: Temporal's namespace.
        task_queue: The task queue of the workers.
        run_worker: Whether this process runs what it starts; False where `worker` does, elsewhere.
        threads: How many ``def`` handlers the worker runs at a time.
        heartbeat: Seconds without a sign of life after which a worker counts as dead, and its handlers as interrupted.
        most_events: Length of a history after which a run continues as a new one; when Temporal says so if left out.
        options: Any other option of `temporalio.client.Client.connect`, such as ``tls`` or ``api_key``.

    Raises:
        DefinitionError: a workflow is wrong, or asks for something that only an engine with a database has.
    """

    def __init__(
        self,
        target: str,
        *workflows: Workflow[Any, Any],
        namespace: str = "default",
        task_queue: str = TASK_QUEUE,
        run_worker: bool = True,
        threads: int = 32,
        heartbeat: float = _HEARTBEAT,
        most_events: int | None = None,
        **options: Any,
    ) -> None:
        arguments.check_seconds(heartbeat, "heartbeat")
        definitions = checked(workflows)
        self._registry = Registry()
        self._graphs: dict[str, Any] = {}
        for definition in definitions:
            make_types_known(definition)
            self._registry.add(definition)
            self._graphs[definition.name] = graph.write(definition)
        self._task_queue = task_queue
        self._heartbeat = heartbeat
        self._most_events = most_events
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perdure-temporal", daemon=True)
        self._thread.start()
        self._closed = False
        self._worker: asyncio.Task[None] | None = None
        try:
            self._client = self._do(Client.connect(target, namespace=namespace, **options))
            if run_worker:
                self._do(self._begin_to_work(workflows, threads))
        except BaseException:
            self.close()
            raise

    async def _begin_to_work(self, workflows: Iterable[Workflow[Any, Any]], threads: int) -> None:
        work = worker(self._client, workflows, task_queue=self._task_queue, threads=threads)
        self._work = work
        self._worker = asyncio.create_task(work.run())

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            coroutine.close()
            raise EngineClosed("do this")
        if threading.current_thread() is self._thread:
            coroutine.close()
            msg = "an async def handler cannot call this engine, which would wait for the handler: use a def handler"
            raise WouldDeadlock(msg)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # ---- runs

    @overload
    def start(
        self, workflow: Workflow[InputT, OutputT], input: InputT, **options: Unpack[StartOptions]
    ) -> TemporalRun[OutputT]: ...
    @overload
    def start(
        self, workflow: Workflow[None, OutputT], input: None = None, **options: Unpack[StartOptions]
    ) -> TemporalRun[OutputT]: ...
    @overload
    def start(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> TemporalRun[Any]: ...
    def start(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        id: str | None = None,
        delay: Duration | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> TemporalRun[Any]:
        """Start a run; return once Temporal has it. The same id twice gives the same run.

        Args:
            workflow: A workflow that the engine knows, or its name.
            input: What the run works on; checked against the workflow's input type.
            id: Id of the run, which is its workflow id on Temporal; made up when left out.
            delay: Seconds or `timedelta` before it begins.
            tags: Names with anything storable, shown with the run.

        Raises:
            UnknownWorkflow: it, or a sub-workflow it needs, is not known.
            DuplicateExecution: the id is another workflow's.
            InvalidPayload: the input does not fit its type or cannot be stored.
            EngineClosed: the engine is closed.
        """
        name = workflow.name if isinstance(workflow, Workflow) else workflow
        definition = self._registry.startable(name, None)
        begin = Begin(
            name,
            arguments.encode(input, definition.input_type, f"the input of workflow {name!r}"),
            {each: self._graphs[each] for each in sorted(self._needed(name))},
            self._heartbeat,
            self._most_events,
            tags=None if tags is None else arguments.encode_tags(tags),
        )
        chosen = uuid.uuid4().hex if id is None else arguments.check_id(id)
        wait = None if delay is None else timedelta(microseconds=arguments.microseconds(delay, "delay"))
        self._do(self._start(begin, chosen, wait))
        return TemporalRun(self, chosen, name)

    def _needed(self, name: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the names of a workflow and of all that it may start."""
        seen |= {name}
        for child in self._registry.startable(name, None).children - seen:
            seen |= self._needed(child, seen)
        return seen

    async def _start(self, begin: Begin, id: str, delay: timedelta | None) -> None:
        try:
            await self._client.start_workflow(
                RUN,
                pack(begin),
                id=id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_delay=delay,
                static_summary=begin.workflow,
            )
        except WorkflowAlreadyStartedError:
            there = await (await self._handle(id).describe()).static_summary()
            if there not in (None, begin.workflow):
                raise DuplicateExecution(id, f"under this id, of workflow {there!r}") from None

    def signal(self, id: str, event: str | Signal[Any], payload: Any = None, *, key: str | None = None) -> None:
        """Send a signal to a run; returns once Temporal has it.

        Args:
            id: Id of the run.
            event: Name of the signal, or a typed `Signal`.
            payload: What the gate gives to the steps after it.
            key: A second signal to this run with the same key is dropped.

        Raises:
            ExecutionNotFound: there is no such run.
            ExecutionFinished: it has ended.
            UnknownSignal: no gate of any workflow known here waits for this name.
            InvalidPayload: the payload does not fit its type or cannot be stored.
        """
        name = event.name if isinstance(event, Signal) else arguments.check_text(event, "the name of a signal")
        known = {each for written in self._graphs.values() for each in graph.read(written).events}
        if name not in known:
            self._check_lives(id, f"take {name!r}")
            raise UnknownSignal("known here", name, known)
        annotation = event.payload if isinstance(event, Signal) else self._registry.payload_type(name, lambda: None)
        encoded = arguments.encode(payload, annotation, f"the payload of signal {name!r}")
        self._do(self._ask(id, self._handle(id).signal(SIGNAL, pack(Sent(name, encoded, key))), f"take {name!r}"))

    def cancel(self, id: str, *, compensate: bool = True, reason: str = "cancelled") -> None:
        """Cancel a run: nothing new begins, what is under way ends, then what was completed is undone.

        Raises:
            ExecutionNotFound: there is no such run.
        """
        wish = msgspec.json.encode(Stop(compensate, reason)).decode()
        self._do(self._ask(id, self._handle(id).cancel(reason=wish), "be cancelled"))

    def get_execution(self, id: str) -> Execution | None:
        """Return what a run looks like now, or None if there is none of this id.

        A worker that knows its workflow is asked, so there must be one, unless the run has completed or failed.
        """
        snapshot = self._do(self._look(id))
        return None if snapshot is None else self._shown(snapshot)

    def run(self, id: str) -> TemporalRun[Any]:
        """Return a handle on a run that exists.

        Raises:
            ExecutionNotFound: there is none of this id.
        """
        execution = self.get_execution(id)
        if execution is None:
            raise ExecutionNotFound(id)
        return TemporalRun(self, id, execution.workflow_name)

    def wait(self, id: str, timeout: float | None) -> Execution:
        """Wait until a run has ended, and return what it looks like then; see `TemporalRun.wait`."""
        arguments.check_patience(timeout)
        try:
            snapshot = self._do(asyncio.wait_for(self._ended(id), timeout))
        except TimeoutError:
            msg = f"run {id!r} did not end within {timeout:g} s; it goes on"
            raise WaitTimeout(msg) from None
        return self._shown(snapshot)

    def _check_lives(self, id: str, verb: str) -> None:
        execution = self.get_execution(id)
        if execution is None:
            raise ExecutionNotFound(id)
        if execution.finished:
            raise ExecutionFinished(id, execution.state, verb)

    # ---- asking Temporal

    def _handle(self, id: str) -> WorkflowHandle[Any, RawValue]:
        return self._client.get_workflow_handle(arguments.check_text(id, "the id of a run"), result_type=RawValue)

    async def _ask(self, id: str, request: Coroutine[Any, Any, Any], verb: str) -> None:
        try:
            await request
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            snapshot = await self._look(id)
            if snapshot is None:
                raise ExecutionNotFound(id) from None
            raise ExecutionFinished(id, snapshot.execution.state, verb) from None

    async def _look(self, id: str) -> Snapshot | None:
        handle = self._handle(id)
        try:
            description = await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        if description.status in (WorkflowExecutionStatus.COMPLETED, WorkflowExecutionStatus.FAILED):
            return await self._ended(id)
        return unpack(await handle.query(SNAPSHOT, result_type=RawValue), Snapshot)

    async def _ended(self, id: str) -> Snapshot:
        handle = self._handle(id)
        try:
            return unpack(await handle.result(), Snapshot)
        except WorkflowFailureError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.details:
                return msgspec.json.decode(error.cause.details[0], type=Snapshot)
            return unpack(await handle.query(SNAPSHOT, result_type=RawValue), Snapshot)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise ExecutionNotFound(id) from None
            raise

    def _shown(self, snapshot: Snapshot) -> Execution:
        stored = snapshot.stored()
        return Execution(snapshot.execution, lambda: stored, lambda _: None, self._registry.definition)

    # ---- life

    def close(self, timeout: float = 30) -> None:
        """Stop working; runs go on with other workers, or the next ones. A second call does nothing.

        Args:
            timeout: Real seconds to wait for handlers under way, which are asked to end.
        """
        arguments.check_patience(timeout)
        if self._closed:
            return
        if self._worker is not None:
            with suppress(TimeoutError):
                self._do(asyncio.wait_for(self._stop_working(), timeout))
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop_working(self) -> None:
        assert self._worker is not None
        await self._work.shutdown()
        await self._worker
