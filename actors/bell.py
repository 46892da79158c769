"""The bell: where an engine is called by those outside it, and hears of other engines' deaths.

One thread, asleep until somebody speaks. It holds a line to every other engine on the database; a line dies with the
process at its other end, which is how a death is heard of at once, with no clock and no polling.

Rules:

1. The lines belong to the bell's thread. Others leave word, and wake it.
2. What is heard becomes a letter to an actor. Nothing is decided here.
3. A dead line is a reason to look, no proof: the rows and the locks tell who lives.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..dsl.errors import StoreError
from . import clock, wire
from .core import Letter
from .neighbours import Fenced, LookAgain, NeighbourGone, NeighbourKinds
from .schedules import Read
from .sleeper import Sleeper
from .threads import Task, run_in_thread
from .tray import LEFT, Collect, TakeRow
from .wire import Line

if TYPE_CHECKING:
    from .bus import Bus
    from .core import Core
    from .endings import Endings
    from .exchange import Listener
    from .lookout import Lookout
    from .supervisor import Supervisor

__all__ = ["Bell"]

logger = logging.getLogger("perdure")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 5.0
_RELINK_AFTER = 1.0
_TO_BE_SAFE = 15.0


class _Missing:
    """An engine to which there is no line, though its row says that it lives."""

    __slots__ = ("again_at", "asking", "pause")

    def __init__(self) -> None:
        self.pause = _FIRST_PAUSE
        self.again_at = clock.monotonic()
        self.asking = False


class Bell:
    """One for each engine.

    Attributes:
        has_begun: Whether it listens.
    """

    def __init__(
        self, core: Core, office: Supervisor, endings: Endings, bus: Bus, lookout: Lookout, *, name: str
    ) -> None:
        self._core = core
        self._lookout = lookout
        self._office = office
        self._endings = endings
        self._bus = bus
        self._exchange = lookout.exchange
        self._name = f"{name}-bell"
        self._process = os.getpid()
        self._task: Task | None = None
        self.has_begun = False
        self._sleeper: Sleeper
        self._left: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._listener: Listener | None = None
        self._engine = 0
        self._lines: set[Line] = set()
        self._stops: dict[Line, list[Callable[[], None]]] = {}
        self._missing: dict[int, _Missing] = {}
        self._look_at = clock.monotonic() + _TO_BE_SAFE
        self._closed = False

    # ---- life

    def begin(self) -> None:
        """Listen, and call the other engines."""
        self._sleeper = Sleeper()
        self.has_begun = True
        self._open()
        self._task = run_in_thread(self._name, self._attend)

    def close(self) -> None:
        """Hang up, and wait until the thread has ended; harmless the second time, and in a forked child."""
        if os.getpid() != self._process or self._task is None:
            return
        self._closed = True
        self._sleeper.wake()
        if self._task.thread is not threading.current_thread():
            self._task.join()

    def _open(self) -> None:
        self._engine = self._core.store.engine_id
        try:
            self._listener = self._exchange.listen(self._engine)
        except OSError as error:
            logger.warning(
                "nobody can call this engine of %r (%s): messages of other processes wait until this engine is opened"
                " again, and it hears of no other engine's death",
                self._core.store.name,
                error,
            )
        else:
            self._sleeper.register(self._listener, self._called)
        for engine in self._core.lanes.exclusively(self._core.store.inbox.neighbours):
            if engine != self._engine and not self._call(engine):
                self._missing[engine] = _Missing()
        # What came before anybody could call this engine.
        self._post(LookAgain())

    def _shut(self) -> None:
        for line in list(self._lines):
            self._hang_up(line)
        self._missing.clear()
        if self._listener is not None:
            self._sleeper.unregister(self._listener)
            self._listener.close()
            self._listener = None
            self._exchange.remove(self._engine)

    def _attend(self) -> None:
        while not self._closed:
            for handle in self._sleeper.sleep(self._patience()):
                self._guarded(handle)
            while not self._left.empty():
                self._guarded(self._left.get())
            self._guarded(self._seek_missing)
            self._guarded(self._look_to_be_safe)
        self._shut()
        self._sleeper.close()

    def _guarded(self, handle: Callable[[], None]) -> None:
        try:
            handle()
        except Exception as error:  # whatever was said, the bell goes on
            if not (isinstance(error, StoreError) and self._office.closing):  # the store is closed before the bell
                logger.exception("what another process said could not be handled; please report this")

    def _patience(self) -> float | None:
        times = [missing.again_at for missing in self._missing.values() if not missing.asking]
        if self._exchange.may_lose_calls:
            times.append(self._look_at)
        return max(0.0, min(times) - clock.monotonic()) if times else None

    def _look_to_be_safe(self) -> None:
        """Look into the inbox unasked, now and then, where a call may have been lost on the way."""
        if self._exchange.may_lose_calls and clock.monotonic() >= self._look_at:
            self._look_at = clock.monotonic() + _TO_BE_SAFE
            self._core.post(self._office.tray, Letter(Collect()))

    @property
    def has_company(self) -> bool:
        """Whether other engines have, or may have, the database open; from any thread."""
        return bool(self._missing) or any(line.engine is not None for line in self._lines.copy())

    # ---- word that others leave

    def _soon(self, action: Callable[[], None]) -> None:
        """Have the bell's thread do something; from any thread."""
        if self.has_begun:
            self._left.put(action)
            self._sleeper.wake()

    def tell_taken_over(self, engine: int) -> None:
        """Say to an engine, if it can hear, that it was taken for dead; from any thread."""
        self._soon(lambda: self._say(engine, wire.TakenOver()))

    def tell_to_look(self, engine: int) -> None:
        """Say to an engine that runs were handed over to it; from any thread."""
        self._soon(lambda: self._say(engine, wire.Look()))

    def tell_kinds(self) -> None:
        """Say to all engines which workflows this one can drive; from any thread."""
        if self._lines:  # a line is kept before it is said hello on: it hears of them in one way or the other
            self._soon(lambda: self._say(None, self._hello()))

    def tell_schedules_changed(self) -> None:
        """Say to all engines that schedules were changed; from any thread."""
        if self._lines:
            self._soon(lambda: self._say(None, wire.SchedulesChanged()))

    def tell_slots_given(self, engine: int) -> None:
        """Say to an engine that runs of its were given slots; from any thread."""
        self._soon(lambda: self._say(engine, wire.SlotsGiven()))

    def runs_have_left(self) -> None:
        """Have the lookout see to those who wait for runs that this engine no longer drives; from any thread."""
        self._lookout.watch_all()

    def join_anew(self) -> None:
        """Listen under this engine's new number; from any thread."""
        self._soon(self._reopen)

    def _reopen(self) -> None:
        self._shut()
        self._open()
        self._lookout.watch_all()  # whoever began to wait meanwhile saw an engine without company

    def _say(self, engine: int | None, message: wire.Spoken) -> None:
        for line in list(self._lines):
            if line.engine is not None and engine in (None, line.engine) and not line.say(message):
                self._lost(line)

    def _hello(self) -> wire.Hello:
        return wire.Hello(self._engine, list(self._office.definitions.kinds()))

    # ---- lines

    def _called(self) -> None:
        assert self._listener is not None
        try:
            line = self._listener.accept()
            if line is None:  # meanwhile messages may have come, or this engine may have been taken for dead
                self._post(Fenced())
                self._post(LookAgain())
                return
        except OSError:  # whoever called has hung up, or there are too many open files
            return
        self._keep(line)

    def _call(self, engine: int) -> bool:
        line = self._exchange.connect(engine)
        if line is None:
            return False
        line.engine = engine
        self._keep(line)
        if line.say(self._hello()):
            return True
        self._hang_up(line)
        return False

    def _keep(self, line: Line) -> None:
        self._sleeper.register(line, lambda: self._listen_to(line))
        self._lines.add(line)

    def _hang_up(self, line: Line) -> None:
        self._lines.discard(line)
        self._sleeper.unregister(line)
        line.hang_up()
        for stop in self._stops.pop(line, ()):
            stop()

    def _lost(self, line: Line) -> None:
        """Hang up; if it was the only line to an engine, see what has become of that."""
        if line not in self._lines:
            return
        self._hang_up(line)
        if line.engine is not None and not any(line.engine == other.engine for other in self._lines):
            self._missing[line.engine] = _Missing()

    def _listen_to(self, line: Line) -> None:
        heard = line.hear()
        if heard is None:
            self._lost(line)
            return
        for message in heard:
            self._heed(line, message)

    def _heed(self, line: Line, message: wire.Spoken) -> None:
        match message:
            case wire.Take(row):
                self._core.post(self._office.tray, Letter(TakeRow(row), _Teller(self, line, row)))  # type: ignore[arg-type]
            case wire.Watch():
                self._watch(line, message)
            case wire.Hello(engine, kinds):
                if line.engine is None:  # it has called; now it knows us too
                    line.engine = engine
                    self._tell(line, self._hello())
                self._missing.pop(engine, None)
                self._post(NeighbourKinds(engine, frozenset(kinds)))
            case wire.Look():
                self._post(LookAgain())
            case wire.SlotsGiven():
                self._office.doorkeeper.look()
            case wire.SchedulesChanged():
                self._core.post(self._office.schedules, Letter(Read()))
            case wire.TakenOver():
                self._post(Fenced())

    def _post(self, message: Any, reply: Any = None) -> None:
        self._core.post(self._office.neighbours, Letter(message, reply))

    # ---- who waits for runs of this engine

    def _watch(self, line: Line, wish: wire.Watch) -> None:
        run = wish.execution_id

        def news(_: Any) -> None:
            self._soon(lambda: self._tell(line, wire.Changed(run)))

        stops = self._stops.setdefault(line, [])
        stops.append(self._endings.when(run, news))
        if wish.every_change:
            self._bus.connect(None, news, run)
            stops.append(lambda: self._bus.disconnect(None, news, run))
        self._tell(line, wire.Changed(run))  # it may have ended before

    def _tell(self, line: Line, message: wire.Spoken) -> None:
        if line in self._lines and not line.say(message):
            self._lost(line)

    def answer(self, line: Line, message: wire.Spoken) -> None:
        """Give an answer to whoever waits for it; from any thread."""
        self._soon(lambda: self._tell(line, message))

    # ---- deaths

    def _seek_missing(self) -> None:
        now = clock.monotonic()
        for engine, missing in list(self._missing.items()):
            if missing.asking or missing.again_at > now:
                continue
            if missing.pause > _RELINK_AFTER and self._call(engine):
                del self._missing[engine]
                continue
            missing.asking = True
            self._post(NeighbourGone(engine), _Verdict(self, engine))

    def found(self, engine: int, *, gone: bool) -> None:
        """Hear whether an engine is dead; from any thread."""
        self._soon(lambda: self._found(engine, gone=gone))

    def _found(self, engine: int, *, gone: bool) -> None:
        missing = self._missing.get(engine)
        if missing is None:
            return
        if gone:
            del self._missing[engine]
            self._exchange.remove(engine)
            return
        # Its lock dies a moment after its line.
        missing.asking = False
        missing.again_at = clock.monotonic() + missing.pause
        missing.pause = min(missing.pause * 2, _LONGEST_PAUSE)


class _Teller:
    """Passes the answer to a message back to who has asked for it."""

    __slots__ = ("_bell", "_line", "_row")

    def __init__(self, bell: Bell, line: Line, row: int) -> None:
        self._bell = bell
        self._line = line
        self._row = row

    def set(self, value: Any = None) -> None:
        """Pass on the answer."""
        self._bell.answer(self._line, wire.Left(self._row) if value is LEFT else wire.Answer(self._row, value))

    def set_exception(self, exc_info: Any = None) -> None:
        """Pass on why not."""
        self._bell.answer(self._line, wire.failure_of(self._row, exc_info[1]))


class _Verdict:
    """Passes on whether an engine is dead."""

    __slots__ = ("_bell", "_engine")

    def __init__(self, bell: Bell, engine: int) -> None:
        self._bell = bell
        self._engine = engine

    def set(self, value: Any = None) -> None:
        """Pass it on."""
        self._bell.found(self._engine, gone=bool(value))

    def set_exception(self, exc_info: Any = None) -> None:
        """Take an accident for a no: it is asked again."""
        self._bell.found(self._engine, gone=False)
