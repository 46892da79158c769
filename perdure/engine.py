"""The engine: opens a database, runs workflows on it, and is called from any thread."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload
from zoneinfo import ZoneInfo

from msgspec import structs

from . import arguments
from .actors import clock
from .actors.aside import Aside
from .actors.bus import Listener
from .actors.core import CoreActor
from .actors.schedules import Pause, ResumeTicks, SetSchedule, Trigger, Unschedule
from .actors.starting import Start, ToRun
from .actors.supervisor import Register
from .calling import signal_where
from .dsl import messages as msg
from .dsl.errors import (
    DuplicateRow,
    ExecutionNotFound,
    UnknownSignal,
    UsageError,
)
from .dsl.events import Event, EventName
from .dsl.policies import Duration
from .dsl.signals import Signal
from .dsl.states import State
from .dsl.workflow import Workflow
from .execution import Execution
from .history import AttemptRecord
from .looking import Filters, Looking, Page
from .machine import Machine
from .persistence.database import BUSY_SECONDS
from .persistence.records import ExecutionRow
from .registry import Registry, make_types_known
from .run import Run
from .schedule import CatchUp, Overlap, Schedule, ScheduleOptions, wanted_row
from .starting import IfExists, StartOptions, start_request
from .stats import Stats
from .steering import SAME, AuditEntry, How, Incident, Steering
from .upgrade import Upgrade, upgrades_to

if TYPE_CHECKING:
    from .dsl.difference import Difference

__all__ = ["Engine", "RunHandle"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
EventT = TypeVar("EventT", bound=Event)
T = TypeVar("T")

logger = logging.getLogger("perdure")

RunHandle = Run

_MOST_UNDELIVERED = 100_000
_MOST_RACES = 10


class Engine:
    """Runs workflows durably on one database.

    Registering a workflow restores its unfinished runs; nothing else is to be called. Every method may be called from
    any thread. Listeners are called on one thread of the engine's own, in order.

    Example:
        >>> hello = Workflow("hello").step("greet", lambda ctx: f"hello, {ctx.input}")
        >>> with Engine(None, hello) as engine:
        ...     engine.start("hello", "world").result(timeout=10)
        'hello, world'
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *workflows: Workflow[Any, Any],
        concurrency: int = 5,
        threads: int = 32,
        durability: Literal["full", "normal"] = "full",
        on_event: Listener | None = None,
        seed: int | None = None,
        switch_interval: float | None = 0.001,
        busy_timeout: float = BUSY_SECONDS,
        data_path: str | os.PathLike[str] | None = None,
        connection: Mapping[str, Any] | None = None,
        embedded: bool = True,
        queue_name: str | None = None,
    ) -> None:
        """Open a database, create it if need be, and take over what a dead engine has left.

        Args:
            path: The database file. Left out, runs are kept in a temporary file that goes with the engine.
            workflows: Registered at once; see `register`.
            concurrency: How many runs may have handlers in flight. A parallel group counts once, waiting runs not at
                all.
            threads: How many threads there are at most for ``def`` handlers.
            durability: ``"full"`` survives power loss; ``"normal"`` the death of the process, several times as fast.
            on_event: Listener for every event, as with `on_any`, from the first one on.
            seed: What ids and jitter are drawn from; for tests that want the same ones each time. With time frozen,
                user code then also runs one piece at a time, in order, so that the same test gives the same events.
            switch_interval: Seconds after which Python may switch threads, set for the whole process: CPU-bound
                handlers would otherwise delay everything by 5 ms a switch. None leaves it as it is.
            busy_timeout: Real seconds to wait for another program that has locked the file for writing.
            data_path: Another name for ``path``.
            connection: Parameters of a database server; not available in this version.
            embedded: Accepted for code written for other engines; there is no other mode in this version.
            queue_name: Name of the engine's threads.

        Raises:
            UsageError: an argument is wrong.
            StoreError: the database cannot be opened; nothing was changed.
            DefinitionError: a workflow is wrong.
        """
        location = arguments.locate(path, data_path, connection, embedded=embedded)
        arguments.check_count(concurrency, "concurrency")
        arguments.check_count(threads, "threads")
        if durability not in ("full", "normal"):
            msg_ = f"durability must be 'full' or 'normal', not {durability!r}"
            raise UsageError(msg_)
        arguments.check_fine_points(seed, switch_interval, queue_name, on_event)
        arguments.check_seconds(busy_timeout, "busy_timeout")
        self._options: dict[str, Any] = {
            "concurrency": concurrency,
            "threads": threads,
            "durability": durability,
            "seed": seed,
            "switch_interval": switch_interval,
            "busy_timeout": busy_timeout,
            "queue_name": queue_name,
        }
        self._workflows: list[Workflow[Any, Any]] = []
        self._registry = Registry()
        self._machine = Machine(
            location,
            name=queue_name or "perdure",
            durability=durability,
            concurrency=concurrency,
            threads=threads,
            seed=seed,
            busy_timeout=busy_timeout,
        )
        self._steering = Steering(self._machine, self._registry)
        self._looking = Looking(self._machine.read, self._registry.definition)
        if location is None:
            logger.info(
                "no database file was given: runs are kept in a temporary file and are gone when the engine closes"
            )
        if switch_interval is not None:
            sys.setswitchinterval(switch_interval)
        if on_event is not None:
            self.on_any(on_event)
        try:
            self.register(*workflows)
            self._machine.listen()
        except BaseException:
            self.close(force=True)
            raise

    # ---- workflows

    def register(self, *workflows: Workflow[Any, Any]) -> Self:
        """Make workflows known, and have their unfinished runs go on; returns the engine.

        The same definition twice is harmless. Two versions of one name may stand side by side; runs stay on theirs,
        and `start` uses the one registered last.

        Raises:
            DefinitionError: a workflow is wrong, or another definition has its name and version.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("register")
        definitions = []
        for workflow in workflows:
            if not isinstance(workflow, Workflow):
                msg_ = f"register takes workflows, not {workflow!r}"
                raise UsageError(msg_)
            definitions.append(workflow.definition())
        self._workflows.extend(workflows)
        for definition in definitions:
            make_types_known(definition)
            self._machine.ask(Register(definition), "register")
            self._registry.add(definition)
        return self

    def diff(
        self,
        old: Workflow[Any, Any] | str | tuple[str, str | None],
        new: Workflow[Any, Any] | str | tuple[str, str | None],
    ) -> Difference:
        """Return what differs between two definitions: nodes that came, went, moved or have other options.

        Args:
            old: A workflow, the name of a registered one, or its name and version.
            new: The same.

        Raises:
            UnknownWorkflow: nothing of this name, or of this name and version, is registered.
            DefinitionError: a workflow is wrong.
            EngineClosed: the engine is closed.
        """
        from .dsl.difference import compare

        self._machine.check_open("compare workflows")
        return compare(self._registry.named(old), self._registry.named(new))

    def check_upgrade(self, workflow: Workflow[Any, Any]) -> list[Upgrade]:
        """Tell what would become of each unfinished run if the next engine on this file had this definition instead.

        Nothing is registered and nothing changes. What it says holds for the runs as they are on disk now.

        Args:
            workflow: The new definition, under the name of the old one.

        Returns:
            One record for each unfinished run of a workflow of that name, whoever drives it, oldest first: it goes on,
            or it is quarantined, with the first difference; or it keeps to another version and is left alone.

        Raises:
            UsageError: this is no workflow.
            DefinitionError: it is wrong.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("check an upgrade")
        if not isinstance(workflow, Workflow):
            msg_ = f"check_upgrade takes a workflow, not {workflow!r}"
            raise UsageError(msg_)
        return upgrades_to(workflow.definition(), lambda look: self._machine.read("check an upgrade", look))

    def unregistered(self) -> dict[tuple[str, str | None], int]:
        """Return the workflows, by name and version, that have unfinished runs but are not registered; and how many.

        Those runs are left untouched, by this engine, until their workflow is registered.

        Raises:
            EngineClosed: the engine is closed.
        """
        counts = self._machine.read("look for unregistered workflows", lambda store: store.count_unfinished())
        return {key: count for key, count in counts.items() if not self._registry.knows(*key)}

    # ---- runs

    @overload
    def start(
        self, workflow: Workflow[InputT, OutputT], input: InputT, **options: Unpack[StartOptions]
    ) -> Run[OutputT]: ...
    @overload
    def start(
        self, workflow: Workflow[None, OutputT], input: None = None, **options: Unpack[StartOptions]
    ) -> Run[OutputT]: ...
    @overload
    def start(self, workflow: str, input: Any = None, **options: Unpack[StartOptions]) -> Run[Any]: ...
    def start(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = None,
        *,
        id: str | None = None,
        key: str | None = None,
        version: str | None = None,
        delay: Duration | None = None,
        at: datetime | None = None,
        tags: Mapping[str, Any] | None = None,
        business_key: str | None = None,
        if_exists: IfExists = "return",
        key_ttl: Duration | None = None,
        priority: int = 0,
        debounce: Duration | None = None,
        tx: Any = None,
    ) -> Run[Any]:
        """Start a run and return once it is on disk.

        Args:
            workflow: A registered workflow, or its name.
            input: What the run works on; checked against the workflow's input type.
            id: Id of the run; made up when left out.
            key: Idempotency key: a second start of the workflow with the same key gives the same run.
            version: Version to start, if several are registered; the last one otherwise.
            delay: Seconds or `timedelta` before the first node begins; durable.
            at: Aware point in time at which the first node begins, instead of ``delay``.
            tags: Names with anything storable; runs can be found by them.
            business_key: What you know the matter by, such as the number of an order; several runs may have the same,
                and can be found by it.
            if_exists: What to do when the id or key exists: ``"return"`` that run, ``"reject"`` with an error, or
                ``"replace_if_finished"``: a run that has ended makes way, one that has not is returned.
            key_ttl: Seconds or `timedelta` after which the key may be used for another run, whatever this one does.
            priority: More is sooner: where runs queue for the engine's ``concurrency``, what matters more goes first,
                and among equals those that came first. From -1000 to 1000; sub-workflows have that of their parent.
            debounce: Seconds or `timedelta` of quiet before the run begins: a start with the same key before that makes
                it wait anew, with the input that came last. One after that is another run.
            tx: Your own transaction on the engine's database, as an open ``sqlite3.Connection`` or peewee database: the
                run exists if and only if you commit it, and begins once you have.

        Raises:
            UnknownWorkflow: it, or a sub-workflow it needs, is not registered.
            InvalidPayload: the input does not fit its type or cannot be stored.
            DuplicateExecution: the id or key exists, and was to be rejected or is another workflow's.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("start")
        request = start_request(
            self._registry,
            workflow,
            input,
            self._machine.supervisor.new_execution_id(),
            id=id,
            key=key,
            key_ttl=key_ttl,
            version=version,
            delay=delay,
            at=at,
            tags=tags,
            business_key=business_key,
            if_exists=if_exists,
            priority=priority,
            debounce=debounce,
            tx=tx,
        )
        return self._start(request) if tx is None else self._start_within(request, tx)

    def _start_within(self, request: Start, tx: Any) -> Run[Any]:
        definition = self._registry.startable(request.workflow, request.version)
        ending = self._machine.endings.expect(request.new_id)
        started = self._machine.joining.start(request, definition, tx)
        return Run(self, started, request.workflow, ending if started == request.new_id else None)

    def _start(self, request: Start) -> Run[Any]:
        while self._machine.bus.backlog > _MOST_UNDELIVERED:  # a slow listener slows starts, it never loses events
            self._machine.lanes.wait_delivered()
        ending = self._machine.endings.expect(request.new_id)
        started = self._ask_again(request, "start")
        return Run(self, started, request.workflow, ending if started == request.new_id else None)

    @overload
    def signal_with_start(
        self,
        workflow: Workflow[InputT, OutputT],
        input: InputT,
        event: Signal[T],
        payload: T,
        *,
        signal_key: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[OutputT]: ...
    @overload
    def signal_with_start(
        self,
        workflow: Workflow[InputT, OutputT],
        input: InputT,
        event: str,
        payload: Any = None,
        *,
        signal_key: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[OutputT]: ...
    @overload
    def signal_with_start(
        self,
        workflow: str,
        input: Any,
        event: str | Signal[Any],
        payload: Any = None,
        *,
        signal_key: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[Any]: ...
    def signal_with_start(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any,
        event: Any,
        payload: Any = None,
        *,
        signal_key: str | None = None,
        **options: Unpack[StartOptions],
    ) -> Run[Any]:
        """Send a signal to a run, and start the run first if there is none: both are on disk, or neither.

        A run that has ended makes way for a new one, unless ``if_exists`` says otherwise.

        Args:
            workflow: A registered workflow, or its name.
            input: What a new run works on.
            event: Name of the signal, or a typed `Signal`; some gate of the workflow waits for it.
            payload: What the gate gives to the steps after it.
            signal_key: A second signal to the same run with this key is dropped.
            options: Those of `start`; ``id`` or ``key`` says which run is meant.

        Raises:
            UsageError: neither ``id`` nor ``key`` was given, or another option is wrong.
            ExecutionFinished: the run has ended, or is being undone, and was not to be replaced.
            UnknownSignal: no gate waits for this name; nothing was started.
        """
        self._machine.check_open("signal")
        if options.get("id") is None and options.get("key") is None:
            msg_ = "signal_with_start needs id or key: it says which run is meant"
            raise UsageError(msg_)
        name = event.name if isinstance(event, Signal) else arguments.check_text(event, "the name of a signal")
        if signal_key is not None:
            arguments.check_text(signal_key, "signal_key")
        if options.get("tx") is not None or options.get("debounce") is not None:
            msg_ = "signal_with_start takes no tx and no debounce: start first, and signal after it"
            raise UsageError(msg_)
        options.setdefault("if_exists", "replace_if_finished")
        new_id = self._machine.supervisor.new_execution_id()
        request = start_request(self._registry, workflow, input, new_id, **options)
        definition = self._registry.startable(request.workflow, request.version)
        if name not in definition.events:
            raise UnknownSignal(request.workflow, name, definition.events)
        annotation = (
            event.payload if isinstance(event, Signal) else self._registry.payload_type(name, lambda: request.workflow)
        )
        encoded = arguments.encode(payload, annotation, f"the payload of signal {name!r}")
        return self._start(structs.replace(request, signal=msg.Signalled(name, encoded, signal_key)))

    def run(self, id: str) -> Run[Any]:
        """Return a handle on a run that exists.

        Raises:
            ExecutionNotFound: there is none of this id.
        """
        execution = self.get_execution(id)
        if execution is None:
            raise ExecutionNotFound(id)
        return Run(self, id, execution.workflow_name)

    def get_execution(self, id: str) -> Execution | None:
        """Return what a run looks like now, or None if there is none of this id.

        Raises:
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("read an execution")
        return self._looking.get_execution(id)

    def view(self, row: ExecutionRow) -> Execution:
        """Return what a run's row shows; its steps and signals are read when they are asked for."""
        return self._looking.view(row)

    def list_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        after: str | None = None,
        order: Literal["newest", "oldest"] = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Return runs, newest first, a page at a time; all that is asked of them must hold.

        Args:
            workflow: Only runs of this workflow.
            state: Only runs in this state, or in one of these.
            limit: How many at most, 1 to 1000.
            offset: How many to skip; slow where it is large: use ``after``.
            after: The `Page.cursor` of the page before.
            order: ``"newest"`` or ``"oldest"`` first, by the time of their start.
            filters: ``tags`` that the run has, its ``business_key``, ``created_after`` (or at that time) and
                ``created_before``, ``finished_after`` and ``finished_before``, an ``error`` that holds this text in
                whatever case, and what its ``input`` holds, by path: ``input={"lines[0].sku": "tea"}``.

        Raises:
            UsageError: a filter or bound is wrong.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("list executions")
        return self._looking.list_executions(
            workflow, state, limit=limit, offset=offset, after=after, order=order, **filters
        )

    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: None = None,
        **filters: Unpack[Filters],
    ) -> int: ...
    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["state"],
        **filters: Unpack[Filters],
    ) -> Mapping[State, int]: ...
    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["workflow"],
        **filters: Unpack[Filters],
    ) -> Mapping[str, int]: ...
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["state", "workflow"] | None = None,
        **filters: Unpack[Filters],
    ) -> Any:
        """Return how many runs there are, or how many of each state or workflow.

        Args:
            workflow: Only runs of this workflow.
            state: Only runs in this state, or in one of these.
            by: ``"state"`` or ``"workflow"``, for a mapping of those that occur.
            filters: As for `list_executions`.

        Raises:
            UsageError: a filter is wrong.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("count executions")
        return self._looking.count_executions(workflow, state, by=by, **filters)

    def history(self, id: str) -> list[AttemptRecord]:
        """Return every attempt of a run, of steps and compensations, and its gates and sleeps, in order of beginning.

        Of a loop's earlier turns it tells only what went wrong: what went well is overwritten by the next turn.

        Raises:
            ExecutionNotFound: there is no such run.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("read a history")
        return self._looking.history(id)

    def stats(self, window: Duration = 60) -> Stats:
        """Return how the engine and its database are doing: runs, rates, steps, and what is under way.

        It is worked out of rows that are there anyway, in some milliseconds; ask every few seconds, not in a loop.

        Args:
            window: Seconds or `timedelta` that rates look back.

        Raises:
            UsageError: the window is wrong.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("read the figures")
        return self._looking.stats(window, self._machine.load)

    @overload
    def signal(self, id: str, event: Signal[T], payload: T, *, key: str | None = None, strict: bool = True) -> None: ...
    @overload
    def signal(
        self, id: str, event: Signal[None], payload: None = None, *, key: str | None = None, strict: bool = True
    ) -> None: ...
    @overload
    def signal(
        self, id: str, event: str, payload: Any = None, *, key: str | None = None, strict: bool = True
    ) -> None: ...
    def signal(
        self,
        id: str,
        event: Any,
        payload: Any = None,
        *,
        key: str | None = None,
        strict: bool = True,
    ) -> None:
        """Send a signal to a run; returns once it is on disk.

        Args:
            id: Id of the run.
            event: Name of the signal, or a typed `Signal`.
            payload: What the gate gives to the steps after it; checked against the signal's type.
            key: A second signal to this run with the same key is dropped.
            strict: Refuse a name that no gate of the workflow waits for.

        Raises:
            ExecutionNotFound: there is no such run.
            ExecutionFinished: it has ended or is being undone; nothing was stored.
            UnknownSignal: no gate waits for this name.
            InvalidPayload: the payload does not fit its type or cannot be stored.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("signal")
        name = event.name if isinstance(event, Signal) else event
        arguments.check_text(id, "the id of a run")
        arguments.check_text(name, "the name of a signal")
        if key is not None:
            arguments.check_text(key, "key")
        annotation = event.payload if isinstance(event, Signal) else self._payload_type(name, id)
        encoded = arguments.encode(payload, annotation, f"the payload of signal {name!r}")
        self._machine.ask(ToRun(id, msg.Signalled(name, encoded, key, strict)), "signal")

    def signal_where(
        self,
        event: Signal[Any] | str,
        payload: Any = None,
        *,
        key: str | None = None,
        workflow: str | None = None,
        **filters: Unpack[Filters],
    ) -> list[str]:
        """Send a signal to every unfinished run that it concerns, by what you know the matter by.

        Args:
            event: Name of the signal, or a typed `Signal`.
            payload: What the gates give to the steps after them.
            key: A second signal to a run with the same key is dropped; with one it is harmless to call this again.
            workflow: Only runs of this workflow.
            filters: As for `list_executions`: ``business_key``, ``tags`` and the others.

        Returns:
            Ids of the runs that took it. Runs that have no gate for it are passed over.

        Raises:
            UsageError: no filter is given, or one is wrong.
            UnknownSignal: runs match, but none of them has a gate for this name.
            InvalidPayload: the payload does not fit its type or cannot be stored.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("signal_where")
        return signal_where(self, event, payload, key, workflow, **filters)

    def _payload_type(self, event: str, id: str) -> Any:
        def workflow_of_run() -> str | None:
            execution = self.get_execution(id)
            return None if execution is None else execution.workflow_name

        return self._registry.payload_type(event, workflow_of_run)

    # ---- steering

    def cancel(self, id: str, *, compensate: bool = True, reason: str = "cancelled", by: str | None = None) -> bool:
        """Cancel a run: nothing new begins, what is in flight ends, then what was completed is undone.

        Returns once the wish is on disk; the run ends as ``cancelled``, its children before it. From then on nothing
        else can end it: a result that comes later is recorded, and undone like the others.

        Args:
            id: Id of the run.
            compensate: Whether what was completed is undone.
            reason: Why; kept in the run's error and in its audit trail.
            by: Who; kept in the audit trail. So it is in all the verbs that follow.

        Returns:
            Whether this call did it; False if the run was being stopped already.

        Raises:
            ExecutionNotFound: there is no such run. So do all the verbs that follow.
            IllegalTransition: it has ended, is being undone already, or is quarantined: ``error.state`` says which.
            UnknownWorkflow: its workflow is not registered.
            EngineClosed: the engine is closed. So do all the verbs that follow.
        """
        return self._steering.ask(id, msg.Cancel(compensate, reason, by), "cancel") is not False

    def pause(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Pause a run and its children: nothing begins until `resume`, across restarts too.

        Handlers in flight finish and are recorded, signals are taken, and deadlines stay where they are.

        Raises:
            IllegalTransition: it is paused already, has ended, is being stopped, or is quarantined.
        """
        self._steering.ask(id, msg.Pause(reason, by), "pause")

    def resume(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a paused run go on, or give a quarantined one another chance.

        Raises:
            IllegalTransition: it is neither paused nor quarantined.
            UnknownWorkflow: it is quarantined, and its workflow is not registered.
        """
        self._steering.ask(id, msg.Resume(reason, by), "resume")

    def retry(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a run try again what has failed, with all its attempts; nothing that is recorded is done again.

        A failed run goes on at the step it failed for, one with incidents at those. A run whose rollback is partial
        tries again the compensations that have failed. One that was undone cannot be retried, since what its steps
        did is gone: `fork` it.

        Raises:
            IllegalTransition: nothing of it has failed, or it was undone.
            UsageError: it is a sub-workflow whose parent has heard of its end: retry the parent.
            UnknownWorkflow: its workflow is not registered.
        """
        self._steering.ask(id, msg.Retry(reason, by), "retry")

    def skip(self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None) -> None:
        """Go on without a step: the result stands in for its own, and it owes no compensation.

        A handler in flight is not waited for. A failed run goes on after the step. Of a run that is being undone, the
        step's compensation is skipped, and the rollback is partial.

        Args:
            id: Id of the run.
            step: Name of the step, gate, sleep, branch or other node at which the run stands.
            result: What later nodes see.
            reason: Why.
            by: Who.

        Raises:
            IllegalTransition: the run has ended otherwise than by failing, is being stopped, or is quarantined.
            StepNotOpen: the run does not stand at the step.
            InvalidPayload: the result cannot be stored, or is no answer to what a branch or loop asks.
            UsageError: the step is a sub-workflow that lives.
            UnknownWorkflow: its workflow is not registered.
        """
        self._steering.settle(id, step, result, reason, by, skip=True)

    def complete_step(
        self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None
    ) -> None:
        """Take a step as done, as it was elsewhere: unlike a skipped one it is undone if the run fails later.

        The arguments and errors are those of `skip`. Of a run that is being undone, the step's compensation is done.
        """
        self._steering.settle(id, step, result, reason, by, skip=False)

    def terminate(self, id: str, *, reason: str = "terminated", by: str | None = None) -> None:
        """End a run and its children at once, as ``cancelled``: nothing is waited for and nothing is undone.

        Raises:
            IllegalTransition: it has ended.
            UsageError: it is quarantined or not registered, and has a sub-workflow that lives: terminate that first.
        """
        self._steering.ask(id, msg.Terminate(reason, by), "terminate")

    def fork(
        self,
        id: str,
        *,
        at: str | None = None,
        input: Any = SAME,
        steps: Mapping[str, Any] | None = None,
        new_id: str | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Run[Any]:
        """Start a new run that begins with what another one has recorded; that one is left as it is.

        What was undone, what has failed and what comes after ``at`` is left out, and so is done in the new run.

        Args:
            id: Id of the run, in any state.
            at: The step that the new run begins with; where the other one stands or has failed when left out.
            input: Input of the new run; the other one's when left out.
            steps: Results by step, in place of those that are recorded or would be asked for.
            new_id: Id of the new run; made up when left out.
            reason: Why.
            by: Who.

        Raises:
            UsageError: the run has not come to the step, has completed and no step is named, or the step is in a loop.
            DuplicateExecution: there is a run of the new id.
            InvalidPayload: the input does not fit its type, or a value cannot be stored.
            UnknownWorkflow: its workflow is not registered.
        """
        forked, workflow = self._steering.fork(id, at=at, input=input, steps=steps, new_id=new_id, reason=reason, by=by)
        return Run(self, forked, workflow)

    def incidents(self, workflow: str | None = None, *, limit: int = 1000) -> list[Incident]:
        """Return what waits for an operator, longest first: steps and compensations that were parked.

        Args:
            workflow: Only runs of this workflow.
            limit: How many at most, 1 to 1000.
        """
        return self._steering.incidents(workflow, limit)

    def resolve(
        self,
        what: str | Incident | Iterable[str | Incident],
        how: How,
        *,
        step: str | None = None,
        result: Any = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> int:
        """End incidents: of a run, one of `incidents`, or several at once.

        Args:
            what: Id of a run, an `Incident`, or several of them; of several, those that have ended are passed over.
            how: ``"retry"`` with all attempts; ``"skip"`` or ``"complete"``, as the verbs `skip` and `complete_step`;
                ``"fail"``: what would have happened without parking.
            step: Only the incident of this step of the run.
            result: What a skipped or completed step leaves behind.
            reason: Why.
            by: Who.

        Returns:
            How many incidents were ended.

        Raises:
            IllegalTransition: the one run that was named has no incidents.
            StepNotOpen: it has none at this step.
            UsageError: an argument is wrong.
        """
        return self._steering.resolve(what, how, step=step, result=result, reason=reason, by=by)

    def audit(self, id: str) -> list[AuditEntry]:
        """Return what operators have asked of a run, oldest first; kept as long as the run is."""
        return self._steering.audit(id)

    # ---- schedules

    @overload
    def schedule(
        self, name: str, workflow: Workflow[InputT, Any], *, input: InputT, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def schedule(
        self, name: str, workflow: Workflow[None, Any], *, input: None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def schedule(
        self, name: str, workflow: str, *, input: Any = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    def schedule(
        self,
        name: str,
        workflow: str | Workflow[Any, Any],
        *,
        input: Any = None,
        cron: str | None = None,
        every: Duration | None = None,
        tz: str | ZoneInfo | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "last",
        replace: bool = False,
    ) -> Schedule:
        """Have runs of a workflow started at set times, from now on and after every restart.

        Each tick starts one run, whatever crashes and however many engines have the database open; its id is the name
        of the schedule and the time of the tick, such as ``nightly@2026-11-22T02:00:00Z``. The same call again, at the
        next start of the program, changes nothing.

        Args:
            name: Name of the schedule.
            workflow: A registered workflow, or its name.
            input: What every run works on; checked against the workflow's input type.
            cron: Expression of five fields (minute, hour, day of month, month, day of week), or of six with the seconds
                first; needs the extra ``cron``.
            every: Seconds or `timedelta` between ticks, counted from this call; instead of ``cron``.
            tz: Time zone the expression is read in, such as ``"Europe/Rome"``; UTC when left out.
            overlap: What a tick does while the run before is unfinished: ``"skip"`` it, ``"queue"`` behind it, or
                ``"allow"`` both at once.
            catch_up: Which of the ticks that came while no engine could start them are made up for: ``"all"``, the
                ``"last"`` of them, or ``"none"``.
            replace: Put this schedule in the place of one that says otherwise; its times begin anew.

        Raises:
            UsageError: an argument is wrong.
            DuplicateSchedule: another schedule has the name.
            UnknownWorkflow: it, or a sub-workflow it needs, is not registered.
            InvalidPayload: the input does not fit its type or cannot be stored.
            MissingExtra: cronsim is not installed.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("schedule")
        workflow_name = workflow.name if isinstance(workflow, Workflow) else workflow
        version = workflow.version if isinstance(workflow, Workflow) else None
        definition = self._registry.startable(workflow_name, version)
        wanted = wanted_row(
            name,
            workflow=workflow_name,
            version=version,
            encoded_input=arguments.encode(input, definition.input_type, f"the input of schedule {name!r}"),
            cron=cron,
            every=every,
            tz=tz,
            overlap=overlap,
            catch_up=catch_up,
        )
        return Schedule(self._ask_schedules(SetSchedule(wanted, replace), "schedule"))

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name, each with its next times and its last run.

        Raises:
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("list schedules")
        return list(map(Schedule, self._machine.store.list_schedules()))

    def pause_schedule(self, name: str) -> None:
        """Pass over a schedule's ticks, and leave its queue alone, until `resume_schedule`.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._ask_schedules(Pause(name), "pause a schedule")

    def resume_schedule(self, name: str) -> None:
        """Go on with a schedule that was paused; the ticks of the meantime are not made up for.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._ask_schedules(ResumeTicks(name), "resume a schedule")

    def trigger(self, name: str) -> Run[Any]:
        """Start a run of a schedule now, paused or not and whatever else runs.

        Raises:
            UnknownSchedule: there is none of this name.
            UnknownWorkflow: its workflow is not registered.
            EngineClosed: the engine is closed.
        """
        return self.run(self._ask_schedules(Trigger(name), "trigger a schedule"))

    def unschedule(self, name: str) -> None:
        """Forget a schedule; the runs it has started go on, the ticks in its queue are dropped.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._ask_schedules(Unschedule(name), "unschedule")

    def _ask_schedules(self, message: Any, verb: str) -> Any:
        self._machine.check_open(verb)
        return self._ask_again(message, verb, self._machine.supervisor.schedules)

    def _ask_again(self, message: Any, verb: str, actor: CoreActor | None = None) -> Any:
        """Ask, and ask again where another engine was first."""
        for _ in range(_MOST_RACES):
            try:
                return self._machine.ask(message, verb, actor=actor)
            except DuplicateRow:  # it has written the same row in this very moment: read it
                logger.debug("another engine was first: %r again", message)
        return self._machine.ask(message, verb, actor=actor)

    # ---- listeners

    @overload
    def on(self, event: type[EventT], listener: Callable[[EventT], Any]) -> None: ...
    @overload
    def on(self, event: EventName, listener: Callable[[Any], Any]) -> None: ...
    def on(self, event: Any, listener: Any) -> None:
        """Call a listener for every event of one type.

        Listeners run one after the other on the engine's own thread, after the event's fact is on disk; one that
        raises is logged and reported as ``listener:error``, one that blocks delays the others, never a run. They are
        kept alive until `off`.

        Args:
            event: The type as a string, such as ``"step:completed"``, or the event's class.
            listener: Called with the event.

        Raises:
            UsageError: there is no such type of event.
        """
        self._machine.check_process("listen")
        self._machine.bus.connect(arguments.event_class(event), arguments.check_listener(listener))

    def off(self, event: type[Event] | EventName, listener: Callable[[Any], Any]) -> None:
        """Stop calling a listener given to `on`; nothing happens if it is not there."""
        self._machine.check_process("stop listening")
        self._machine.bus.disconnect(arguments.event_class(event), arguments.check_listener(listener))

    def on_any(self, listener: Callable[[Event], Any]) -> None:
        """Call a listener for every event; those of `on` are called first. See `on`."""
        self._machine.check_process("listen")
        self._machine.bus.connect(None, arguments.check_listener(listener))

    def off_any(self, listener: Callable[[Event], Any]) -> None:
        """Stop calling a listener given to `on_any`."""
        self._machine.check_process("stop listening")
        self._machine.bus.disconnect(None, arguments.check_listener(listener))

    def subscribe(self, id: str, listener: Callable[[Event], Any]) -> Callable[[], None]:
        """Call a listener for every event of one run from now on; returns what ends that.

        Subscribe before the start to an id of your own choice to see a run from its first event.
        """
        self._machine.check_open("subscribe")
        arguments.check_text(id, "the id of a run")
        self._machine.bus.connect(None, arguments.check_listener(listener), id)
        return lambda: self._machine.bus.disconnect(None, listener, id)

    def when_ended(self, id: str, callback: Callable[[ExecutionRow | None], None]) -> Callable[[], None]:
        """Have a callback called with a run's row at its end, or None at the close; returns what takes that back."""
        return self._machine.when_ended(id, callback)

    def when_changed(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called whenever there may be news of a run; returns what takes that back."""
        self._machine.check_open("wait")
        stop = self._machine.when_changed(id, callback)
        self._machine.exclusively(lambda: None)  # what was decided before anybody listened is on disk after this turn
        return stop

    def is_under_way(self, id: str) -> bool:
        """Tell whether a run is in memory and its end is still to come."""
        self._machine.check_open("wait")
        return self._machine.supervisor.is_under_way(id)

    def wait_told(self) -> None:
        """Wait until the listeners have been given the last event of a run that has ended."""
        self._machine.wait_told()

    # ---- retention

    def cleanup(self, max_age: Duration = 0, states: Collection[str] | None = None) -> int:
        """Delete runs that ended so long ago; up to 1000 a call.

        Args:
            max_age: Seconds or `timedelta` since their end.
            states: Only runs in these final states; all final states when left out.

        Returns:
            How many were deleted; call again while it is 1000.

        Raises:
            UsageError: a state is not final: a run that lives cannot be deleted; cancel it first.
            EngineClosed: the engine is closed.
        """
        return self._retire(self._machine.store.cleanup, max_age, states)

    def archive(self, max_age: Duration = 0, states: Collection[str] | None = None) -> int:
        """Move runs that ended so long ago into the table ``workflow_executions_archive``; up to 1000 a call.

        The arguments, result and errors are those of `cleanup`.
        """
        return self._retire(self._machine.store.archive, max_age, states)

    def _retire(self, retire: Callable[..., int], max_age: Duration, states: Collection[str] | None) -> int:
        self._machine.check_open("clean up")
        names = arguments.final_states(states)
        older_than = clock.micros() - arguments.microseconds(max_age, "max_age")
        removed: int = self._machine.exclusively(lambda: retire(older_than=older_than, states=names))
        return removed

    def get_archived_count(self) -> int:
        """Return how many runs are in the archive."""
        return self._machine.read("count the archive", lambda store: store.archived_count())

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the database, as it is now, to a new file, which can be opened by itself; runs go on meanwhile.

        Raises:
            UsageError: there is a file of this name: a backup never replaces anything.
            StoreUnavailable: it cannot be written; nothing is left of it.
            EngineClosed: the engine is closed.
        """
        target = os.fspath(path)
        self._machine.read("back up", lambda store: store.backup(target))

    # ---- time

    def settle(self, timeout: float = 30, *, patience: float = 0.5) -> None:
        """Fire everything that is due now, in order, and return when nothing is left to do.

        For tests: with time frozen, every mailbox, handler, commit, event and due timer is done when it returns. A
        handler whose time limit has come and that hangs is not waited for any longer.

        Args:
            timeout: Real seconds to wait for handlers.
            patience: Real seconds after which a handler hangs, if this process has computed next to nothing in them.

        Raises:
            WaitTimeout: something was still in flight.
            WouldDeadlock: called in a handler or listener.
        """
        self._machine.check_open("settle")
        arguments.check_patience(timeout)
        arguments.check_seconds(patience, "patience")
        self._machine.settle(timeout, patience)

    def next_deadline(self) -> datetime | None:
        """Return when the next timer is due, or None if none is pending."""
        self._machine.check_open("read the timers")
        return self._machine.next_deadline()

    def advance(
        self, delta: timedelta | None = None, *, timeout: float = 30, patience: float = 0.5, **parts: float
    ) -> None:
        """Move frozen time on from deadline to deadline, so that everything due happens at its own moment; for tests.

        Args:
            delta: How far, or
            timeout: Real seconds to wait for handlers at each deadline.
            patience: Real seconds after which a handler hangs; see `settle`.
            parts: the arguments of a `timedelta`, such as ``days=30``.

        Raises:
            UsageError: time is not frozen by freezegun, would go back, or is being moved by another thread.
            WaitTimeout: something was still in flight.
            WouldDeadlock: called in a handler or listener.
        """
        self._machine.check_open("advance")
        arguments.check_patience(timeout)
        arguments.check_seconds(patience, "patience")
        self._machine.advance(delta, parts, timeout, patience)

    # ---- life

    def close(self, timeout: float = 30, *, force: bool = False) -> None:
        """Stop: start nothing more, let handlers in flight finish and be recorded, close the database.

        Whatever is unfinished goes on when the database is opened again. A second call does nothing.

        Args:
            timeout: Real seconds to wait for handlers in flight; their attempts count as interrupted after that.
            force: Do not wait; answers that come later are thrown away.

        Raises:
            WouldDeadlock: called in a handler or listener without ``force``.
        """
        arguments.check_patience(timeout)
        self._machine.close(timeout, force=force)

    def abandon(self) -> None:
        """Stop as the death of the process would: nothing more is recorded, no run is given back; for tests.

        The next engine on the file finds this one dead and takes its runs over. Handlers in flight are not waited
        for; what they return is thrown away.
        """
        self._machine.abandon()

    def reopen(self, *, on_event: Listener | None = None) -> Engine:
        """Open another engine like this one, with its workflows and options, on the file of this one; for tests.

        Args:
            on_event: Listener for every event; those of this engine do not come along.

        Raises:
            StoreError: the file is gone, as that of a private database is once its engine was closed.
        """
        return Engine(self.path, *self._workflows, on_event=on_event, **self._options)

    def __enter__(self) -> Self:
        """Return the engine."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return the engine."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it without blocking the loop."""
        import asyncio

        await asyncio.to_thread(self.close)

    @property
    def name(self) -> str:
        """What the names of the engine's threads begin with."""
        return self._options["queue_name"] or "perdure"

    @property
    def workflows(self) -> tuple[Workflow[Any, Any], ...]:
        """The workflows that are registered, in the order in which they were."""
        return tuple(self._workflows)

    @property
    def path(self) -> str:
        """The database file."""
        return self._machine.store.path

    @property
    def closed(self) -> bool:
        """Whether the engine is closed, or closing."""
        return self._machine.closing

    def check_may_wait(self, id: str | None) -> None:
        """Raise `WouldDeadlock` where waiting for this run, or for everything, could never end."""
        self._machine.check_may_wait(id)

    def check_may_block(self) -> None:
        """Raise `WouldDeadlock` where waiting would stop every coroutine of the engine."""
        self._machine.check_may_block()

    def aside(self) -> Aside | None:
        """Return how the handler that asks, if it is one, steps aside while it waits for another run."""
        return self._machine.aside()
