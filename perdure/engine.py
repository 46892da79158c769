"""The engine: opens a database, runs workflows on it, and is called from any thread.

What can be said to it stands in `verbs`, one noun a file. What it is made of is the business of the `Machine` behind
it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from . import arguments
from .actors.annexes import Given
from .actors.bus import Listener
from .dsl.spelling import spelt
from .dsl.workflow import Workflow
from .extension import Extension, Extensions
from .looking import Looking
from .machine import Machine
from .persistence.database import BUSY_SECONDS
from .persistence.kind import Durability
from .registry import Registry
from .run import Run
from .stats import Load
from .verbs.face import Face
from .verbs.listeners import ListenerVerbs
from .verbs.retention import RetentionVerbs
from .verbs.schedules import ScheduleVerbs
from .verbs.starts import StartVerbs
from .verbs.times import TimeVerbs
from .verbs.waits import WaitVerbs
from .verbs.workflows import WorkflowVerbs

__all__ = ["Engine", "RunHandle"]

logger = logging.getLogger("perdure")

RunHandle = Run


@spelt
class Engine(
    WorkflowVerbs,
    StartVerbs,
    ScheduleVerbs,
    ListenerVerbs,
    WaitVerbs,
    RetentionVerbs,
    TimeVerbs,
    Face[int],
):
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
        durability: Durability = "full",
        on_event: Listener | None = None,
        extensions: Sequence[Extension] = (),
        seed: int | None = None,
        switch_interval: float | None = 0.0003,
        busy_timeout: float = BUSY_SECONDS,
        max_in_memory: int = 1000,
        max_backlog: int = 100_000,
        start_timeout: float = 60.0,
        data_path: str | os.PathLike[str] | None = None,
        connection: Mapping[str, Any] | None = None,
        embedded: bool = True,
        queue_name: str | None = None,
        executors: Mapping[str, Given] | None = None,
    ) -> None:
        """Open a database, create it if need be, and take over what a dead engine has left.

        Args:
            path: The database file, or the URL of a PostgreSQL database. Left out, runs are kept in a temporary file
                that goes with the engine.
            workflows: Registered at once; see `register`.
            concurrency: How many runs may have handlers in flight. A parallel group counts once, waiting runs not at
                all.
            threads: How many threads there are at most for ``def`` handlers.
            durability: ``"full"`` survives power loss; ``"normal"`` the death of the process, several times as fast.
            on_event: Listener for every event, as with `on_any`, from the first one on.
            extensions: What goes around starts and handlers, and hears every event; such as the telemetry of
                `perdure.otel`.
            seed: What ids and jitter are drawn from; for tests that want the same ones each time. With time frozen,
                user code then also runs one piece at a time, in order, so that the same test gives the same events.
            switch_interval: Seconds after which Python may switch threads, set for the whole process: CPU-bound
                handlers would otherwise delay everything by 5 ms a switch. None leaves it as it is.
            busy_timeout: Real seconds to wait for another program that has locked the file for writing.
            max_in_memory: How many runs work and queue in memory, but twice ``concurrency`` at least; those beyond are
                rows until there is room. Runs that wait for a signal or a time are rows too, but for those that came to
                rest last, a tenth as many: what wakes them soon need not read them.
            max_backlog: How many runs may wait on disk for such room. A start beyond that waits; not one from a handler
                or a listener.
            start_timeout: Real seconds for which a start waits then, before it raises `EngineBusy`; 0 refuses at once.
            data_path: Another name for ``path``.
            connection: Parameters of a PostgreSQL server, such as ``{"host": "db", "database": "app"}``; or give a
                ``postgresql://`` URL as ``path``.
            embedded: Accepted for code written for other engines; there is no other mode in this version.
            queue_name: Name of the engine's threads.
            executors: Where steps run that name one, by ``executor=``: an executor of `concurrent.futures`, or a
                function that makes one, which is then made when it is needed, made anew when it has broken, and
                closed with the engine. ``"process"`` is there without being given: as many processes as there are
                processors.

        Raises:
            UsageError: an argument is wrong.
            StoreError: the database cannot be opened; nothing was changed.
            DefinitionError: a workflow is wrong.
        """
        location = arguments.locate(path, data_path, connection, embedded=embedded)
        arguments.check_count(concurrency, "concurrency")
        arguments.check_count(threads, "threads")
        arguments.check_choice(durability, Durability, "durability")
        arguments.check_fine_points(seed, switch_interval, queue_name, on_event)
        arguments.check_seconds(busy_timeout, "busy_timeout")
        self._extensions = Extensions(extensions)
        arguments.check_count(max_in_memory, "max_in_memory")
        arguments.check_count(max_backlog, "max_backlog")
        arguments.check_seconds(start_timeout, "start_timeout")
        arguments.check_executors(executors)
        self._options: dict[str, Any] = {
            "concurrency": concurrency,
            "threads": threads,
            "durability": durability,
            "seed": seed,
            "switch_interval": switch_interval,
            "busy_timeout": busy_timeout,
            "max_in_memory": max_in_memory,
            "max_backlog": max_backlog,
            "start_timeout": start_timeout,
            "queue_name": queue_name,
            "executors": executors,
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
            most=max(max_in_memory, 2 * concurrency),
            max_backlog=max_backlog,
            start_timeout=start_timeout,
            executors=executors,
        )
        self._looking = Looking(self._machine.read, self._registry.definition, self._machine.load)
        if location is None:
            logger.info(
                "no database file was given: runs are kept in a temporary file and are gone when the engine closes"
            )
        if switch_interval is not None:
            sys.setswitchinterval(switch_interval)
        if on_event is not None:
            self.on_any(on_event)
        try:
            self._extend()
            self.register(*workflows)
            if location is not None:  # nobody can have heard of a private file before its path is asked for
                self._machine.listen()
        except BaseException:
            self.close(force=True)
            raise

    def _extend(self) -> None:
        if not self._extensions:
            return
        self._machine.crew.around = self._extensions.handling
        self._machine.on_closed = self._extensions.closed
        self.on_any(self._extensions.heard)
        self._extensions.opened(self)

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
            on_event: Listener for every event; those of this engine do not come along, nor do its extensions.

        Raises:
            StoreError: the file is gone, as that of a private database is once its engine was closed.
        """
        return Engine(self.path, *self._workflows, on_event=on_event, **self._options)

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
        """The database file; that of a private engine lets other engines and clients take part from now on."""
        return self._machine.tell_path()

    @property
    def closed(self) -> bool:
        """Whether the engine is closed, or closing."""
        return self._machine.closing

    def load(self) -> Load:
        """Return what the engine is busy with; costs no look at the database.

        Raises:
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("read the load")
        return self._machine.load()

    def _ended(self, answers: Sequence[int | None]) -> int:
        return sum(answer or 0 for answer in answers)
