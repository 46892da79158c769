"""The client: starts, signals, cancels and reads runs that engines of other processes drive."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, TypeVar, Unpack, overload

from msgspec import structs

from . import arguments
from .actors.courier import Courier
from .actors.endings import Endings
from .actors.exchange import exchange_of
from .actors.lookout import Lookout
from .actors.starting import Start
from .actors.tray import pack_start
from .dsl.definition import Definition
from .dsl.errors import (
    DuplicateExecution,
    UsageError,
)
from .dsl.spelling import spelt
from .dsl.workflow import Workflow
from .extension import Extension, Extensions
from .looking import Looking
from .persistence.inbox import Begun
from .persistence.kind import Durability
from .persistence.records import ScheduleRow
from .persistence.store import Store
from .registry import Registry, make_types_known
from .run import Run
from .starting import ClientStartOptions, check_known, request_for
from .timetable import Timetable
from .verbs.asking import AskingVerbs
from .verbs.face import Face
from .verbs.timetables import TimetableVerbs

__all__ = ["Client"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
T = TypeVar("T")


@spelt
class Client(AskingVerbs, TimetableVerbs, Face[int | None]):
    """Talks to the engines on a database, and runs nothing.

    What it starts, signals and cancels is on disk when the call returns, in the database's inbox. An engine that is
    alive takes it from there at once, and its answer is the call's; otherwise it waits for the next engine, and what
    that one cannot do is logged there. So it is with all that is asked of runs. Every method may be called from any
    thread.

    Example:
        >>> from perdure import Engine
        >>> hello = Workflow("hello").step("greet", lambda ctx: f"hello, {ctx.input}")
        >>> with Engine(None, hello) as engine, Client(engine.path) as client:  # in real life, in another process
        ...     client.start("hello", "world").result(timeout=10)
        'hello, world'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *workflows: Workflow[Any, Any],
        durability: Durability = "full",
        extensions: Sequence[Extension] = (),
    ) -> None:
        """Make ready to use a database that an engine has made; it is not touched before it is used.

        Args:
            path: The database file.
            workflows: Whose values are to be read as the classes they were, and whose signals are to be checked. They
                are not run here.
            durability: ``"full"`` survives power loss; ``"normal"`` the death of the process.
            extensions: What goes around starts; see `Engine`.

        Raises:
            UsageError: an argument is wrong.
            StoreError: there is no such database, or none that this release can use.
        """
        location = arguments.locate_shared(path)
        arguments.check_choice(durability, Durability, "durability")
        self._extensions = Extensions(extensions)
        self._registry = Registry()
        self._known: list[Definition] = []
        self._workflows: list[Workflow[Any, Any]] = []
        for workflow in workflows:
            self._know(workflow)
        self._process = os.getpid()
        self._closed = False
        self._writing = threading.Lock()
        self._store = Store(location, durability=durability)
        self._store.attach()
        self._endings = Endings()
        exchange = exchange_of(self._store.database)
        self._lookout = Lookout(self._store, self._endings, exchange, name="perdure-client")
        self._looking = Looking(self._read, self._registry.definition)
        self._courier = Courier(exchange, self._store.inbox)
        self._timetable = Timetable(self._store, exchange, self._start_of, self._writing)
        try:
            self._extensions.opened(self)
        except BaseException:
            self.close()
            raise

    def _know(self, workflow: Workflow[Any, Any]) -> None:
        if not isinstance(workflow, Workflow):
            msg_ = f"a client takes workflows, not {workflow!r}"
            raise UsageError(msg_)
        definition = workflow.definition()
        if definition not in self._known:
            self._known.append(definition)
            self._workflows.append(workflow)
            make_types_known(definition)
            self._registry.add(definition)

    # ---- writing

    @overload
    def start(
        self, workflow: Workflow[InputT, OutputT], input: InputT, **options: Unpack[ClientStartOptions]
    ) -> Run[OutputT]: ...
    @overload
    def start(
        self, workflow: Workflow[None, OutputT], input: None = None, **options: Unpack[ClientStartOptions]
    ) -> Run[OutputT]: ...
    @overload
    def start(self, workflow: str, input: Any = None, **options: Unpack[ClientStartOptions]) -> Run[Any]: ...
    def start(
        self, workflow: str | Workflow[Any, Any], input: Any = None, **options: Unpack[ClientStartOptions]
    ) -> Run[Any]:
        """Have a run started, and return once the wish is on disk; see `Engine.start`.

        The workflow need not be known here: an engine on which it is registered starts the run, at once if one is
        alive. Until then the run is shown as running, with no steps.

        Args:
            workflow: The workflow, or its name.
            input: What the run works on; made of the workflow's input type, and checked by it, where the workflow is
                known here.
            options: Those of `Engine.start`, but for ``debounce`` and ``tx``.

        Raises:
            InvalidPayload: the input does not fit its type or cannot be stored.
            DuplicateExecution: the id or key exists, and was to be rejected or is another workflow's.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the client is closed.
        """
        self._check_open("start")
        check_known(options, ClientStartOptions)
        name: Any = workflow
        version = options.get("version")
        if isinstance(workflow, Workflow):
            self._know(workflow)
            name, version = workflow.name, version or workflow.version
        arguments.check_text(name, "workflow")
        if version is not None:
            arguments.check_text(version, "version")
        named = isinstance(workflow, str) and version is None
        known = self._registry.latest(name) if named else self._registry.known(name, version)
        input_type = None if known is None else known.input_type
        with self._extensions.starting(name, options.get("tags")) as options["tags"]:
            request = request_for(workflow, input, self._new_id(), input_type=input_type, **options)
            with self._writing:
                sent = self._store.inbox.send_start(
                    pack_start(request), replace=request.if_exists == "replace_if_finished"
                )
            if isinstance(sent, Begun):
                return self._existing(sent, request)
            return self._handle(self._courier.deliver(sent) or request.new_id, name)

    def _existing(self, begun: Begun, request: Start) -> Run[Any]:
        if request.if_exists == "reject" or begun.workflow != request.workflow:
            by_id = begun.execution_id == request.execution_id
            why = "under this id" if by_id else f"with the idempotency key {request.key!r}"
            raise DuplicateExecution(begun.execution_id, f"{why}, of workflow {begun.workflow!r}")
        return self._handle(begun.execution_id, begun.workflow)

    # ---- schedules

    def _ask_schedules(self, message: Any, verb: str) -> Any:
        self._check_open(verb)
        return self._timetable.change(message)

    def _start_of(self, schedule: ScheduleRow) -> str:
        """Have a run of a schedule started, as it is when it ticks."""
        workflow, tags = schedule.workflow, {"schedule": schedule.name}
        request = request_for(workflow, None, self._new_id(), input_type=None, version=schedule.version, tags=tags)
        with self._writing:
            sent = self._store.inbox.send_start(pack_start(structs.replace(request, input=schedule.input)))
        assert isinstance(sent, int)  # the id is new, and there is no key
        return self._courier.deliver(sent) or request.new_id

    def _ended(self, answers: Sequence[int | None]) -> int | None:
        counts = [answer for answer in answers if answer is not None]
        return sum(counts) if counts or not answers else None

    # ---- life

    def close(self) -> None:
        """Let go of the database; whoever waits on another thread gets `EngineClosed`. Harmless the second time."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        self._lookout.close()
        with self._writing:
            self._store.close()
        self._endings.close()
        self._extensions.closed()

    @property
    def workflows(self) -> tuple[Workflow[Any, Any], ...]:
        """The workflows that are known here."""
        return tuple(self._workflows)

    @property
    def path(self) -> str:
        """The database file."""
        return self._store.path

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._closed
