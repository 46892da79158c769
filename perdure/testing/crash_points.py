"""Named places around every commit and effect, where a test can stop, delay or kill.

Rules:

1. The engine knows nothing of this file. While points are watched, methods of its classes are replaced by ones that
   report in passing; at any other time there is not one instruction more than without this file.
2. A point is reported on the thread that reaches it. Whoever is told may block it, or end the process.
3. Engines are watched that are opened while points are: an older one has kept some of its methods.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ..actors import crew
from ..actors.attempt import Attempt
from ..actors.bus import Bus
from ..actors.calling import is_async as is_async_function
from ..actors.reply import Reply
from ..actors.supervisor import Supervisor
from ..dsl.errors import UsageError, WaitTimeout, did_you_mean
from ..persistence.places import kinds
from ..persistence.store import Store

__all__ = ["POINTS", "Moment", "Stop", "kill_at", "stop_at", "watch_points"]

_TRANSACTIONS: Final = {
    "commit": "records of runs",
    "takeover": "the runs of dead engines changing hands",
    "close": "the runs being given back at the close",
    "retire": "old runs being deleted or archived",
}

POINTS: Final[dict[str, str]] = {
    "open.before": "the database is about to be opened",
    "open.after": "the database is open and knows this engine, which drives nothing yet",
    **{
        f"{name}.{when}": f"{what}: {state}"
        for name, what in _TRANSACTIONS.items()
        for when, state in {
            "before": "decided, and nothing written",
            "begun": "the transaction is open, nothing is written",
            "written": "everything is written, nothing committed",
            "after": "committed, and nothing done about it yet",
        }.items()
    },
    "load.before": "a run is about to be read from the database",
    "load.after": "a run was read from the database",
    "tell.before": "events are about to be handed to the bus; what they tell of is on disk",
    "tell.after": "events were handed to the bus",
    "listener.before": "an event is about to be told to its listeners",
    "listener.after": "an event was told to all its listeners",
    "answer.before": "a caller is about to be answered; what it asked for is on disk",
    "answer.after": "a caller was answered",
    "deliver.before": "a run is about to hear of a timer, a child or its parent",
    "handler.queued": "user code is about to be handed to the crew; that it runs is on disk",
    "handler.before": "user code is about to begin",
    "handler.after": "user code has returned or raised, and nobody knows",
    "handler.reporting": "the outcome of user code is encoded, and about to be reported",
}
"""Every point by name, and what holds when it is reached."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point that was reached.

    Attributes:
        point: Its name, one of `POINTS`.
        count: How often it has been reached since points are watched, this time included.
        attempt: The call of user code, where one is concerned; the engine's own object.
        records: What is being committed, at the points of a commit; the engine's own object.
    """

    point: str
    count: int
    attempt: Attempt | None = None
    records: Any = None

    @property
    def run(self) -> str | None:
        """Id of the run, where user code is concerned."""
        return None if self.attempt is None else self.attempt.facts.execution_id

    @property
    def step(self) -> str | None:
        """Name of the node, where user code is concerned; ``undo:`` stands before that of a compensation."""
        return None if self.attempt is None else self._named(turn=False)

    @property
    def key(self) -> str | None:
        """The idempotency key that user code is given, where it is concerned."""
        return None if self.attempt is None else f"{self.run}:{self._named(turn=True)}"

    def _named(self, *, turn: bool) -> str:
        assert self.attempt is not None
        effect = self.attempt.effect
        undone = getattr(effect, "undoes", None)
        place = undone or effect.place
        turns = f"@{'.'.join(map(str, place.turn))}" if turn and place.turn else ""
        return f"{'undo:' if undone else ''}{place.name}{turns}"


Visit = Callable[[Moment], object]
_Reach = Callable[..., None]


@contextmanager
def watch_points(visit: Visit) -> Iterator[None]:
    """Have a function called at every point that engines of this process reach, on the thread that reaches it.

    Args:
        visit: Called with the moment; what it raises is raised there, as if by the engine.

    Example:
        >>> from perdure import Engine, Workflow
        >>> seen = []
        >>> with watch_points(lambda moment: seen.append(moment.point)), Engine(None) as engine:
        ...     _ = engine.register(Workflow("hello").step("greet", lambda: "hello")).start("hello").result()
        >>> [point for point in seen if point.startswith("handler")]
        ['handler.queued', 'handler.before', 'handler.after', 'handler.reporting']
    """
    counts: Counter[str] = Counter()
    guard = threading.Lock()

    def reach(point: str, **about: Any) -> None:
        with guard:
            counts[point] += 1
            count = counts[point]
        visit(Moment(point, count, **about))

    with ExitStack() as stack:
        for owner, name, wrap in _seams(reach):
            original = getattr(owner, name)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, wrap(original))
        yield


class Stop:
    """A point at which one thread stands until it is told to go on.

    Attributes:
        moment: The moment it stands at, once `wait` has returned.
    """

    def __init__(self, wanted: Callable[[Moment], bool]) -> None:
        self._wanted = wanted
        self._reached = threading.Event()
        self._may_go = threading.Event()
        self.moment: Moment | None = None

    def visit(self, moment: Moment) -> None:
        """Stand here if this is the moment."""
        if self.moment is None and self._wanted(moment):
            self.moment = moment
            self._reached.set()
            self._may_go.wait()

    def wait(self, timeout: float = 30) -> Moment:
        """Return once a thread stands at the point.

        Raises:
            WaitTimeout: none came within so many real seconds.
        """
        if not self._reached.wait(timeout) or self.moment is None:
            raise WaitTimeout(f"nothing reached the point within {timeout:g} s")
        return self.moment

    def go_on(self) -> None:
        """Let the thread go on; later visitors of the point are not stopped."""
        self._may_go.set()


@contextmanager
def stop_at(point: str, *, step: str | None = None, count: int = 1) -> Iterator[Stop]:
    """Have the thread that reaches a point stand there until `Stop.go_on` is called, or this is left.

    Args:
        point: One of `POINTS`.
        step: Only where this node's user code is concerned; ``"undo:charge"`` is the compensation of ``charge``.
        count: Which time the point is reached, for this step if one is given.

    Raises:
        UsageError: there is no such point.
    """
    stop = Stop(_wanted(point, step, count))
    with watch_points(stop.visit):
        try:
            yield stop
        finally:
            stop.go_on()


@contextmanager
def kill_at(point: str, *, step: str | None = None, count: int = 1) -> Iterator[None]:
    """Have this process killed by SIGKILL when a point is reached; the arguments are those of `stop_at`."""
    wanted = _wanted(point, step, count)

    def visit(moment: Moment) -> None:
        if wanted(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    with watch_points(visit):
        yield


def _wanted(point: str, step: str | None, count: int) -> Callable[[Moment], bool]:
    if point not in POINTS:
        raise UsageError(f"there is no crash point {point!r}{did_you_mean(point, list(POINTS))}")
    met = 0

    def wanted(moment: Moment) -> bool:
        nonlocal met
        if moment.point != point or (step is not None and moment.step != step):
            return False
        met += 1
        return met == count

    return wanted


# ---- where the points are


def _seams(reach: _Reach) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
    """Yield what has to be replaced: the owner, the name, and what makes the new one of the old one."""
    purpose = threading.local()
    yield Store, "open", _around(reach, "open")
    yield Store, "load", _around(reach, "load")
    yield Store, "commit", _transaction(reach, purpose, "commit")
    yield Store, "take_over", _transaction(reach, purpose, "takeover")
    yield Store, "close", _transaction(reach, purpose, "close")
    yield Store, "cleanup", _transaction(reach, purpose, "retire")
    yield Store, "archive", _transaction(reach, purpose, "retire")
    for kind in kinds():
        yield kind, "write", _inside(reach, purpose)
    yield Bus, "publish", _around(reach, "tell")
    yield Bus, "_send", _around(reach, "listener")
    yield Reply, "set", _around(reach, "answer")
    yield Reply, "set_exception", _around(reach, "answer")
    yield Supervisor, "deliver", _before(reach, "deliver.before")
    yield crew.Crew, "run", _attempt(reach, "handler.queued")
    yield crew.Crew, "ask", _attempt(reach, "handler.queued")
    yield crew.Crew, "_finish", _attempt(reach, "handler.reporting")
    yield crew, "function_of", _user_code(reach)


def _before(reach: _Reach, point: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def reporting(*args: Any, **options: Any) -> Any:
            reach(point)
            return original(*args, **options)

        return reporting

    return wrap


def _around(reach: _Reach, name: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def reporting(*args: Any, **options: Any) -> Any:
            reach(f"{name}.before")
            result = original(*args, **options)
            reach(f"{name}.after")
            return result

        return reporting

    return wrap


def _transaction(reach: _Reach, purpose: threading.local, name: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def reporting(store: Any, *args: Any, **options: Any) -> Any:
            records = args[0] if args else None
            reach(f"{name}.before", records=records)
            purpose.name, purpose.records = name, records
            result = original(store, *args, **options)
            reach(f"{name}.after", records=records)
            return result

        return reporting

    return wrap


def _inside(reach: _Reach, purpose: threading.local) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def reporting(database: Any, work: Callable[[Any], Any]) -> Any:
            if not hasattr(purpose, "name"):  # a message to another engine: there is no point in it
                return original(database, work)

            def watched(connection: Any) -> Any:
                reach(f"{purpose.name}.begun", records=purpose.records)
                result = work(connection)
                reach(f"{purpose.name}.written", records=purpose.records)
                return result

            return original(database, watched)

        return reporting

    return wrap


def _attempt(reach: _Reach, point: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def reporting(self: Any, attempt: Any, *args: Any) -> Any:
            reach(point, attempt=attempt)
            return original(self, attempt, *args)

        return reporting

    return wrap


def _user_code(reach: _Reach) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def function_of(attempt: Any) -> Any:
            function = original(attempt)
            begin, end = (functools.partial(reach, f"handler.{when}", attempt=attempt) for when in ("before", "after"))
            is_async = is_async_function(function)  # the new function must be of the same colour
            return (_watched_async if is_async else _watched)(function, begin, end)

        return function_of

    return wrap


def _watched(function: Any, begin: Callable[[], None], end: Callable[[], None]) -> Any:
    @functools.wraps(function)
    def handler(*args: Any) -> Any:
        begin()
        try:
            return function(*args)
        finally:
            end()

    return handler


def _watched_async(function: Any, begin: Callable[[], None], end: Callable[[], None]) -> Any:
    @functools.wraps(function)
    async def handler(*args: Any) -> Any:
        begin()
        try:
            return await function(*args)
        finally:
            end()

    return handler
