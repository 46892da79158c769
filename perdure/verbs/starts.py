"""Starting runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, overload

from msgspec import structs

from .. import arguments
from ..dsl.errors import UnknownSignal, UsageError
from ..dsl.messages import Signalled
from ..dsl.signals import Signal
from ..dsl.workflow import Workflow
from ..starting import StartOptions, check_known, start_request
from .driving import DrivingVerbs

if TYPE_CHECKING:
    from ..actors.starting import Start
    from ..run import Run

__all__ = ["StartVerbs"]

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
T = TypeVar("T")

_MOST_UNDELIVERED: Final = 100_000


class StartVerbs(DrivingVerbs):
    """What makes runs begin."""

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
    def start(self, workflow: str | Workflow[Any, Any], input: Any = None, **options: Unpack[StartOptions]) -> Run[Any]:
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
            EngineBusy: too many runs have yet to begin, and still had after ``start_timeout``; nothing was started.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("start")
        check_known(options, StartOptions)
        tx, new_id = options.get("tx"), self._machine.supervisor.newcomers.id()
        with self._extensions.starting(workflow, options.get("tags")) as options["tags"]:
            request = start_request(self._registry, workflow, input, new_id, **options)
            return self._start(request) if tx is None else self._start_within(request, tx)

    def _start_within(self, request: Start, tx: Any) -> Run[Any]:
        definition = self._registry.startable(request.workflow, request.version)
        ending = self._machine.endings.expect(request.new_id)
        started = self._machine.joining.start(request, definition, tx)
        return self._handle(started, request.workflow, ending if started == request.new_id else None)

    def _start(self, request: Start) -> Run[Any]:
        while self._machine.bus.backlog > _MOST_UNDELIVERED:  # a slow listener slows starts, it never loses events
            self._machine.lanes.wait_delivered()
        self._machine.wait_for_room()
        ending = self._machine.endings.expect(request.new_id)
        started = self._ask_again(request, "start")
        return self._handle(started, request.workflow, ending if started == request.new_id else None)

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
        check_known(options, StartOptions)
        if options.get("id") is None and options.get("key") is None:
            msg = "signal_with_start needs id or key: it says which run is meant"
            raise UsageError(msg)
        name = event.name if isinstance(event, Signal) else arguments.check_text(event, "the name of a signal")
        if signal_key is not None:
            arguments.check_text(signal_key, "signal_key")
        if options.get("tx") is not None or options.get("debounce") is not None:
            msg = "signal_with_start takes no tx and no debounce: start first, and signal after it"
            raise UsageError(msg)
        options.setdefault("if_exists", "replace_if_finished")
        new_id = self._machine.supervisor.newcomers.id()
        with self._extensions.starting(workflow, options.get("tags")) as options["tags"]:
            request = start_request(self._registry, workflow, input, new_id, **options)
            definition = self._registry.startable(request.workflow, request.version)
            if name not in definition.events:
                raise UnknownSignal(request.workflow, name, definition.events)
            annotation = self._registry.payload_type(event, lambda: (definition.name, definition.version))
            encoded = arguments.encode(payload, annotation, f"the payload of signal {name!r}")
            return self._start(structs.replace(request, signal=Signalled(name, encoded, signal_key)))
