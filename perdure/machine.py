"""The machinery of one engine: its store, its threads and its actors, from opening to closing.

Rules:

1. Nothing here knows what a caller may say; that is the engine's business. What comes in is letters to actors.
2. Every method may be called from any thread, but for those that wait: not from a thread they would wait for.
3. A machine works in the process that made it. In a fork of that process it refuses to.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .actors import clock, wire
from .actors.annexes import Annexes, Given
from .actors.aside import Aside
from .actors.attempt import running_attempt
from .actors.bell import Bell
from .actors.bus import Bus
from .actors.core import Core, CoreActor, Letter
from .actors.crew import Crew
from .actors.endings import Endings
from .actors.exchange import exchange_of
from .actors.joining import Joining
from .actors.lanes import ThreadLanes
from .actors.lookout import Lookout
from .actors.neighbours import Fenced
from .actors.orderly import OrderlyLanes
from .actors.supervisor import FireNext, Supervisor, Tick
from .actors.threads import strangers
from .dsl.errors import (
    EngineBusy,
    EngineClosed,
    EngineForked,
    StoreError,
    WouldDeadlock,
)
from .letters import Letters
from .logging import run_logger
from .passing import Passing
from .persistence import codec
from .persistence.database import BUSY_SECONDS
from .persistence.records import ExecutionRow
from .persistence.store import Durability, Store
from .stats import Load

__all__ = ["Machine"]

T = TypeVar("T")

logger = logging.getLogger("perdure")

_PATIENCE = 2.0
"""Real seconds after which a handler in flight counts as one that waits for something."""

GRACE = 5.0
"""Real seconds that handlers get when the interpreter exits and nobody has closed their engine."""

_ENDING = 1.0
"""Real seconds that worker processes get to be gone."""

_QUIET_ALONE, _QUIET_SHARED = 0.2, 5.0
"""Real seconds for which nothing may happen in frozen time before nothing will; on a database that others can reach."""

_open_machines: weakref.WeakSet[Machine] = weakref.WeakSet()


class Machine:
    """What runs behind an engine.

    Attributes:
        store: The database.
        bus: Tells listeners.
        lanes: The threads.
        core: Where the actors take their turns.
        supervisor: The actor that letters about runs go to.
        crew: Runs handlers.
        joining: Starts runs within callers' transactions.
        passing: Moves time, in tests.
        endings: Who waits for a run's end.
        lookout: Tells those who wait for a run that another engine drives.
        bell: Where those outside call this engine.
        closing: Whether the engine is closed, or closing.
        on_closed: Called once it is closed; not when it was abandoned, as a death tells nobody.
    """

    def __init__(
        self,
        location: str | None,
        *,
        name: str,
        durability: Durability,
        concurrency: int,
        threads: int,
        seed: int | None,
        busy_timeout: float = BUSY_SECONDS,
        most: int = 1000,
        max_backlog: int = 100_000,
        start_timeout: float = 60.0,
        executors: Mapping[str, Given] | None = None,
    ) -> None:
        """Open the database, take over what a dead engine has left there, and set the actors up around it.

        Raises:
            StoreError: the database cannot be opened; nothing was changed.
        """
        self._pid = os.getpid()
        self._state = threading.RLock()
        self._seeded = seed is not None
        self._max_backlog = max_backlog
        self._start_timeout = start_timeout
        self.closing = False
        self._path_told = False
        self.store = self._make_store(location, durability, busy_timeout)
        self.store.open()
        exchange = exchange_of(self.store.database)
        for engine in self.store.take_over():
            if (line := exchange.connect(engine)) is not None:  # it was taken for dead, and is not
                line.say(wire.TakenOver())
                line.hang_up()
            exchange.remove(engine)
        self.endings = Endings()
        self.lanes = self._make_lanes(name, threads)
        self.bus = Bus(self.lanes, codec.decode, self._end_told)
        self.core = Core(self.store, self.bus, self.lanes)
        self.supervisor = Supervisor(self.core, seed=seed, most=most, logger_for=run_logger)
        self.crew = Crew(self.lanes, codec.encode, concurrency=concurrency)
        self.crew.transactions = self.store.apart
        self.crew.has_recorded = self.store.has_recorded
        self.crew.annexes = Annexes(executors or {})
        self.supervisor.crew = self.crew
        self.crew.on_lent = self.supervisor.backlog.look
        self.joining = Joining(self.core, self.supervisor, self.lanes)
        self.passing = Passing(self.lanes, self.supervisor.timekeeper, self.joining, self.ask)
        self.core.on_fenced = self._fenced
        self.core.on_unsure = self.supervisor.read_again_soon
        self.on_closed: Callable[[], None] = _nothing
        self.lookout = Lookout(self.store, self.endings, exchange, name=name)
        self.bell = Bell(self.core, self.supervisor, self.endings, self.bus, self.lookout, name=name)
        self.supervisor.neighbours.reach = self.bell
        self._letters = Letters(self.core, self.supervisor, exchange, self.check_open)
        self.lanes.bind(cycle=self.core.cycle, has_mail=self.core.has_mail, ring=self._ring)
        _open_machines.add(self)

    def _make_store(self, location: str | None, durability: Durability, busy_timeout: float) -> Store:
        return Store(location, durability=durability, busy_timeout=busy_timeout)

    def _make_lanes(self, name: str, threads: int) -> ThreadLanes:
        """Return what everything crosses threads by; a simulator has only one."""
        return (OrderlyLanes if self._seeded else ThreadLanes)(name, threads=threads)

    def _ring(self) -> None:
        self.core.post(self.supervisor, Letter(Tick()))

    def _end_told(self, row: ExecutionRow) -> None:
        # In this order: whoever sees that the end is still to be told has asked to be told of it before that.
        self.supervisor.end_told(row)
        self.endings.ended(row)

    def _fenced(self) -> None:
        self.core.post(self.supervisor.neighbours, Letter(Fenced()))

    def tell_path(self) -> str:
        """Return where the database is; from now on others may be there, too."""
        with self._state:
            self._path_told = True
            self.listen()
            return self.store.path

    def listen(self) -> None:
        """Be there for other processes: the workflows that this engine began with are registered.

        Does nothing the second time, or once the engine closes.
        """
        with self._state:
            if os.getpid() == self._pid and not self.closing and not self.bell.has_begun:
                self.bell.begin()

    # ---- asking

    def ask(self, message: Any, verb: str, *, actor: CoreActor | None = None) -> Any:
        """Send a letter to the supervisor, or to another actor, and return the answer once all it says is on disk.

        Raises:
            EngineClosed: nobody will answer any more. An error that is the answer is raised as well.
        """
        if self._seeded and not isinstance(message, FireNext):
            self._let_everything_happen()
        return self._letters.ask(message, verb, actor)

    def _let_everything_happen(self) -> None:
        """With a seed and frozen time, what comes from outside comes after everything that came before it."""
        if not clock.is_frozen() or running_attempt() is not None or self.lanes.on_bus():
            return
        with self.lanes.alarm_paused():
            while self.passing.comes_to_rest(math.inf, _PATIENCE) and self.passing.fire_next():
                pass

    def exclusively(self, action: Callable[[], Any]) -> Any:
        """Run something while no actor is at work."""
        return self.lanes.exclusively(action)

    def when_ended(self, id: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Have a callback called with a run's row at its end, whoever drives it, or with None at the close."""
        stop = self.endings.when(id, callback)
        if self.bell.has_company and not self.supervisor.is_under_way(id):
            self.lookout.watch(id)
        return stop

    def when_changed(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called whenever there may be news of a run, whoever drives it."""

        def hear(_: Any) -> None:
            callback()

        self.bus.connect(None, hear, id)
        forget = self.lookout.watch(id, callback) if self.bell.has_company else None

        def withdraw() -> None:
            self.bus.disconnect(None, hear, id)
            if forget is not None:
                forget()

        return withdraw

    def wait_told(self) -> None:
        """Wait until the listeners have been given the last event of a run that has left memory."""
        self.bus.flush()

    def check_process(self, verb: str) -> None:
        """Refuse what is to be done, named by a verb, when the engine is another process's."""
        if os.getpid() != self._pid:
            raise EngineForked(verb)

    def check_open(self, verb: str) -> None:
        """Refuse what is to be done, named by a verb, when the engine is closed or another process's."""
        self.check_process(verb)
        if self.closing:
            raise EngineClosed(verb)

    def check_may_wait(self, id: str | None, everything: str = "everything to be done") -> None:
        """Raise `WouldDeadlock` where waiting for this run, or for everything, could never end."""
        attempt = running_attempt()
        if self.lanes.on_bus():
            msg = "a listener cannot wait: what it waits for is announced by the thread it runs on"
            raise WouldDeadlock(msg)
        if attempt is not None and (id is None or attempt.facts.execution_id == id):
            what = everything if id is None else "its own run to end"
            msg = f"a handler of run {attempt.facts.execution_id} cannot wait for {what}"
            raise WouldDeadlock(msg)

    def wait_for_room(self) -> None:
        """Wait, if this thread may, until there are not too many runs that have yet to begin.

        Raises:
            EngineBusy: There still were when the time for that had passed.
        """
        backlog = self.supervisor.backlog
        most = self._max_backlog
        if backlog.size < most or running_attempt() is not None or self.lanes.on_bus() or self.lanes.on_loop():
            return
        if not backlog.wait_for_less(most, self._start_timeout):
            raise EngineBusy(backlog.size, most)

    def stillness(self) -> float | None:
        """Return for how many real seconds a wait in frozen time may see nothing happen; None while something may."""
        if running_attempt() is not None or self.bell.has_company or strangers():
            return None
        if not all(machine.passing.is_at_rest() for machine in list(_open_machines)):
            return None
        return _QUIET_ALONE if self.store.database.is_private else _QUIET_SHARED

    def check_may_block(self) -> None:
        """Raise `WouldDeadlock` where waiting would stop every coroutine of the engine."""
        if self.lanes.on_loop():
            msg = "a coroutine cannot wait by result() or wait(), which stop the engine's event loop: use `await run`"
            raise WouldDeadlock(msg)

    def aside(self) -> Aside | None:
        """Return how the handler that asks, if it is one, steps aside while it waits for another run."""
        attempt = running_attempt()
        return None if attempt is None else Aside(self.crew, attempt)

    def read(self, verb: str, look: Callable[[Store], T]) -> T:
        """Read from the database on this thread.

        Raises:
            EngineClosed: the engine is closed, or was closed meanwhile.
        """
        self.check_open(verb)
        try:
            found = look(self.store)
        except StoreError:
            self.check_open(verb)  # the close has taken the database away under this thread's hands
            raise
        self.check_open(verb)  # a private database whose log is gone already looks like an empty one
        return found

    def load(self) -> Load:
        """Tell what is under way, on any thread; the numbers are of almost the same moment."""
        busy, handlers, queued = self.crew.load()
        return Load(
            runs=self.supervisor.live,
            busy=busy,
            handlers=handlers,
            queued=queued,
            in_flight=self.lanes.in_flight,
            undelivered=self.bus.backlog,
        )

    # ---- the end

    def close(self, timeout: float, *, force: bool) -> None:
        """Stop, and give the runs back; see `Engine.close`."""
        if os.getpid() != self._pid:
            return
        if not force:
            self.check_may_wait(None, "the engine to close; close(force=True) does not wait")
        if not self._begin_to_close():
            return
        self.crew.close()
        if not force:
            self.lanes.wait_idle(clock.monotonic() + timeout)
        if self.crew.annexes.close():  # what was under way there ends now, and is left as interrupted
            self.lanes.wait_idle(clock.monotonic() + _ENDING)
        self.lanes.close()
        self.lookout.close()  # it reads the store
        self.lanes.stop_core(self._close_store)
        self._hang_up()
        self.on_closed()

    def abandon(self) -> None:
        """Stop as a death would, and give nothing back; see `Engine.abandon`."""
        if os.getpid() != self._pid or not self._begin_to_close():
            return
        self.lookout.close()
        self.lanes.stop_core(self.store.abandon)
        self._hang_up()
        self.crew.close()
        self.crew.annexes.close()
        self.lanes.close()

    def _close_store(self) -> None:
        with self._state:
            in_use = self._path_told or self.lanes.in_flight or not self.lanes.have_ended
            (self.store.close if in_use else self.store.put_by)()

    def _hang_up(self) -> None:
        """Let the other engines know, and those who wait: this one drives nothing any more."""
        self.bell.close()
        self.endings.close()

    def _begin_to_close(self) -> bool:
        with self._state:
            if self.closing:
                return False
            self.closing = True
        _open_machines.discard(self)
        self.supervisor.closing = True
        self.joining.close()
        return True


def _nothing() -> None:
    """Tell nobody."""


@atexit.register
def _close_all() -> None:
    for machine in list(_open_machines):
        try:
            machine.close(timeout=GRACE, force=False)
        except Exception:
            logger.exception("an engine could not be closed at exit")
