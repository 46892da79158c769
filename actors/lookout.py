"""The lookout: tells those who wait for a run that another process drives.

The engine that drives it is asked to say when there is news; it is the rows that tell what the news is. Only while
nobody drives the run, and once a second to be safe from an engine that was stopped, the rows are looked at unasked.

One thread, made when somebody first waits for such a run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable

from ..dsl.errors import StoreError
from ..dsl.states import ENDS
from ..persistence.inbox import Whereabouts
from ..persistence.store import Store
from ..persistence.threads import OwnThread
from . import clock, wire
from .endings import Endings
from .exchange import Exchange
from .sleeper import Sleeper

__all__ = ["Lookout"]

logger = logging.getLogger("perdure")

_TO_BE_SAFE = 1.0
_UNDRIVEN = 0.05


class Lookout:
    """One for each client, and for each engine.

    Attributes:
        exchange: How engines are called.
    """

    def __init__(self, store: Store, endings: Endings, exchange: Exchange, *, name: str) -> None:
        self._store = store
        self.exchange = exchange
        self._endings = endings
        self._name = f"{name}-lookout"
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._watched: dict[str, list[Callable[[], None]]] = {}
        self._news: set[str] = set()
        self._sleeper: Sleeper
        self._lines: dict[int, wire.Line] = {}
        self._asked: dict[int, set[tuple[str, bool]]] = {}
        self._undriven = False
        self._closed = False

    def watch(self, execution_id: str, changed: Callable[[], None] | None = None) -> Callable[[], None]:
        """Look out for a run until its end is announced, or whoever waits for that has gone.

        Args:
            execution_id: The run.
            changed: Called whenever there may be news of it, on the lookout's thread.

        Returns:
            What takes ``changed`` back.
        """
        with self._guard:
            if self._closed:
                return lambda: None
            callbacks = self._watched.setdefault(execution_id, [])
            if changed is not None:
                callbacks.append(changed)
            self._news.add(execution_id)
            if self._thread is None:
                self._thread = self._begin()
        self._sleeper.wake()

        def withdraw() -> None:
            with self._guard, contextlib.suppress(ValueError):
                if changed is not None:
                    callbacks.remove(changed)

        return withdraw

    def watch_all(self) -> None:
        """Look out for every run whose end somebody waits for: some may be driven elsewhere by now."""
        for execution_id in self._endings.waited_for():
            self.watch(execution_id)

    def close(self) -> None:
        """End the thread; harmless the second time, and in a forked child."""
        if os.getpid() != self._process:
            return
        with self._guard:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._sleeper.wake()
            if thread is not threading.current_thread():
                thread.join()

    def _begin(self) -> threading.Thread:
        self._sleeper = Sleeper()
        thread = OwnThread(target=self._look_out, name=self._name, daemon=True)
        thread.start()
        return thread

    def _shut(self) -> None:
        for line in self._lines.values():
            line.hang_up()
        self._sleeper.close()

    # ---- on the thread

    def _look_out(self) -> None:
        all_at = clock.monotonic()
        while not self._closed:
            now = clock.monotonic()
            with self._guard:
                news, self._news = self._news, set()
                if now >= all_at or self._undriven:
                    news = set(self._watched)
                    all_at = now + _TO_BE_SAFE
            try:
                self._look_at(news)
            except StoreError as error:
                logger.warning("cannot look after runs that another process drives: %s", error)
            self._listen(_UNDRIVEN if self._undriven else all_at - clock.monotonic() if self._watched else None)
        self._shut()

    def _look_at(self, runs: set[str]) -> None:
        self._undriven = False
        waited_for = self._endings.waited_for()
        with self._guard:
            for run in runs:
                if run not in waited_for and not self._watched.get(run):
                    self._watched.pop(run, None)
            left = runs & self._watched.keys()
            callbacks = [changed for run in left for changed in self._watched[run]]
        if not left:
            return
        found = {where.execution_id: where for where in self._store.inbox.whereabouts(left)}
        for run in left:
            self._look_after(run, found.get(run))
        for changed in callbacks:
            changed()

    def _look_after(self, run: str, where: Whereabouts | None) -> None:
        """Announce a run's end, or have whoever drives it say when it comes."""
        if where is None or where.driver is None:
            self._undriven = self._undriven or where is None or where.state not in ENDS
        elif where.driver == self._store.engine_id:
            return  # the engine of this process announces it, after the listeners have heard
        elif where.state not in ENDS:
            self._ask(where.driver, run)
            return
        if where is not None and where.state in ENDS and (stored := self._store.snapshot(run)) is not None:
            self._endings.ended(stored.execution)

    def _ask(self, engine: int, run: str) -> None:
        wish = (run, bool(self._watched.get(run)))
        if wish in self._asked.get(engine, ()):
            return
        line = self._lines.get(engine) or self._call(engine)
        if line is None or not line.say(wire.Watch(*wish)):
            self._undriven = True
            self._hang_up(engine)
            return
        self._asked[engine].add(wish)

    def _call(self, engine: int) -> wire.Line | None:
        line = self.exchange.connect(engine)
        if line is not None:
            self._lines[engine] = line
            self._asked[engine] = set()
            self._sleeper.register(line, engine)
        return line

    def _hang_up(self, engine: int) -> None:
        if (line := self._lines.pop(engine, None)) is not None:
            self._sleeper.unregister(line)
            line.hang_up()
        for run, _ in self._asked.pop(engine, ()):
            self._note(run)

    def _listen(self, seconds: float | None) -> None:
        for engine in self._sleeper.sleep(seconds):
            heard = self._lines[engine].hear()
            if heard is None:
                self._hang_up(engine)
            for message in heard or ():
                if isinstance(message, wire.Changed):
                    self._note(message.execution_id)

    def _note(self, run: str) -> None:
        with self._guard:
            if run in self._watched:
                self._news.add(run)
