"""Extensions: what is told of everything an engine or a client does, and may put something around it.

The telemetry of `perdure.otel` is one, made of nothing else. Nothing an extension raises harms a run or a caller: it is
logged, and the work goes on without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .actors.around import HandlerCall
from .dsl.errors import UsageError
from .dsl.workflow import Workflow

if TYPE_CHECKING:
    from .client import Client
    from .dsl.events import Event
    from .engine import Engine

__all__ = ["Extension", "Extensions", "HandlerCall"]

logger = logging.getLogger("perdure")

Tags = Mapping[str, Any]


class Extension:
    """Derive from it, override what you need, and give it to ``Engine(…, extensions=[…])`` or a client.

    One extension belongs to one engine or client at a time. Every method has a default that does nothing.

    Example:
        >>> from contextlib import contextmanager
        >>> from perdure import Engine, Workflow
        >>> class Loud(Extension):
        ...     @contextmanager
        ...     def handling(self, call):
        ...         print("before", call.step)
        ...         yield
        ...         print("after", call.step)
        >>> hello = Workflow("hello").step("greet", lambda: print("hello"))
        >>> with Engine(None, hello, extensions=[Loud()]) as engine:
        ...     engine.start(hello).wait().state
        before greet
        hello
        after greet
        <State.COMPLETED: 'completed'>
    """

    def opened(self, source: Engine | Client) -> None:
        """Be told whose extension this is, before anything else; no run has been restored yet."""

    def starting(self, workflow: str, tags: Tags) -> AbstractContextManager[Tags | None]:
        """Return what goes around a call that starts a run, on the caller's thread.

        What it gives as target is what the run's tags become; None leaves them. They are stored with the run.

        Args:
            workflow: Name of the workflow.
            tags: What the caller gave.
        """
        return nullcontext()

    def handling(self, call: HandlerCall) -> AbstractContextManager[Any]:
        """Return what goes around one call of a handler, where it runs: on its thread, or in its task.

        It sees what the handler raises. Context variables that it sets are seen by the handler and by nothing else. It
        may be entered before the event that tells of the attempt was heard: events come on a thread of their own.
        """
        return nullcontext()

    def heard(self, event: Event) -> None:
        """Be told an event; on the thread of the engine's listeners. A client hears none."""

    def closed(self) -> None:
        """Be told that the engine or client is closed, and that all events it had to tell were told."""


class Extensions:
    """The extensions of one engine or client."""

    def __init__(self, given: Sequence[Extension]) -> None:
        """Take them.

        Raises:
            UsageError: something is not an extension.
        """
        for extension in given:
            if not isinstance(extension, Extension):
                msg = f"extensions must be a list of Extension objects, not {extension!r}"
                raise UsageError(msg)
        self._all = tuple(given)

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._all)

    def opened(self, source: Engine | Client) -> None:
        """Tell whose they are; what is raised here stops the opening: nothing runs yet."""
        for extension in self._all:
            extension.opened(source)

    def closed(self) -> None:
        """Tell that it is over."""
        for extension in self._all:
            try:
                extension.closed()
            except Exception:
                logger.exception("%r could not be closed", extension)

    def heard(self, event: Event) -> None:
        """Tell an event."""
        for extension in self._all:
            try:
                extension.heard(event)
            except Exception:
                about = {"execution_id": event.execution_id, "workflow": event.workflow_name}
                logger.exception("%r raised on %s", extension, event.type, extra=about)

    def starting(
        self, workflow: str | Workflow[Any, Any], tags: Tags | None
    ) -> AbstractContextManager[Mapping[str, Any] | None]:
        """Return what goes around a start; its target are the tags to store."""
        if not self._all or not (tags is None or isinstance(tags, Mapping)):
            return nullcontext(tags)
        return self._starting(workflow.name if isinstance(workflow, Workflow) else str(workflow), tags or {})

    @contextmanager
    def _starting(self, workflow: str, tags: Tags) -> Iterator[Tags | None]:
        with ExitStack() as stack:
            for extension in self._all:
                changed = stack.enter_context(_Careful(partial(extension.starting, workflow, tags)))
                tags = tags if changed is None else changed
            yield tags or None

    def handling(self, call: HandlerCall) -> AbstractContextManager[Any]:
        """Return what goes around a call of a handler."""
        if len(self._all) == 1:
            return _Careful(partial(self._all[0].handling, call))
        return self._handling(call)

    @contextmanager
    def _handling(self, call: HandlerCall) -> Iterator[None]:
        with ExitStack() as stack:
            for extension in self._all:
                stack.enter_context(_Careful(partial(extension.handling, call)))
            yield


class _Careful:
    """Enters and leaves what an extension gives; logs what that raises, and hides nothing that the work itself does."""

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._entered: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Any:
        try:
            around = self._make()
            target = around.__enter__()
        except Exception:
            logger.exception("an extension raised before what it goes around, which goes on without it")
            return None
        self._entered = around
        return target

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered is None:
            return
        try:
            self._entered.__exit__(kind, error, trace)
        except Exception as raised:
            if raised is not error:
                logger.exception("an extension raised after what it goes around")
