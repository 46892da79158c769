"""What happened, readable: an event is a line, and a difference is shown as one."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Iterator
from types import EllipsisType
from typing import Any

from ..dsl.errors import UsageError
from ..dsl.events import Event
from ..engine import Engine
from ..run import Run

__all__ = ["Recorder", "assert_events", "record"]

_recorders: weakref.WeakKeyDictionary[Engine, Recorder] = weakref.WeakKeyDictionary()


class Recorder:
    """Every event of the engines it listens to, from the moment it was asked to."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def note(self, event: Event) -> None:
        """Record an event: what an engine is given as listener."""
        self._events.append(event)

    def listen(self, engine: Engine) -> None:
        """Record this engine's events too."""
        engine.on_any(self.note)
        _recorders[engine] = self

    def events(self, run: Run[Any] | None = None) -> list[Event]:
        """Return what was recorded, of one run or of all."""
        return [event for event in self._events if run is None or event.execution_id == run.id]

    def lines(self, run: Run[Any] | None = None) -> list[str]:
        """Return each event as a line: its type and what it is about, such as ``step:completed charge``."""
        return [describe(event) for event in self.events(run)]

    def __iter__(self) -> Iterator[Event]:
        """Yield what was recorded."""
        return iter(list(self._events))


def record(engine: Engine) -> Recorder:
    """Record the events of an engine from now on; one recorder an engine.

    Example:
        >>> from perdure import Workflow
        >>> with Engine(None, Workflow("hello").step("greet", lambda: "hello")) as engine:
        ...     recorder = record(engine)
        ...     run = engine.start("hello")
        ...     assert_events(run, "workflow:started", "step:started greet", ..., "workflow:completed")
        ...     recorder.lines(run)[2]
        'step:completed greet'
    """
    if engine not in _recorders:
        Recorder().listen(engine)
    return _recorders[engine]


def describe(event: Event) -> str:
    """Return an event's type and what it is about: its step, signal or timer."""
    subject = next((getattr(event, name) for name in ("step", "event", "name") if hasattr(event, name)), None)
    return event.type if not isinstance(subject, str) else f"{event.type} {subject}"


def assert_events(run: Run[Any], *expected: str | EllipsisType, timeout: float = 30) -> None:
    """Check that exactly these events of the run were recorded, in this order; the engine is settled first.

    Args:
        run: The run; its engine must have a recorder, see `record`.
        expected: ``"step:completed charge"``, or ``"step:completed"`` for that of any step. ``...`` stands for any
            number of events, none too.
        timeout: Real seconds to wait for handlers.

    Raises:
        AssertionError: they differ; the message shows where.
        UsageError: nobody records the engine's events.
    """
    engine = run._engine  # noqa: SLF001 - a run is a handle on its engine
    recorder = _recorders.get(engine) if isinstance(engine, Engine) else None
    if recorder is None or not isinstance(engine, Engine):
        msg = "nobody has recorded this run's events: call record(engine) before the start"
        raise UsageError(msg)
    if not engine.closed:
        engine.settle(timeout)
    actual = recorder.lines(run)
    if not _fits(list(expected), actual):
        raise AssertionError(_difference(run, expected, actual))


def _fits(expected: list[str | EllipsisType], actual: list[str]) -> bool:
    """Tell whether the lines fit the pattern; the classic table for wildcards."""
    fits = [True] + [False] * len(actual)
    for wanted in expected:
        if isinstance(wanted, EllipsisType):
            first = fits.index(True) if True in fits else len(fits)
            fits = [place >= first for place in range(len(fits))]
        else:
            fits = [False] + [fits[place] and _is(wanted, line) for place, line in enumerate(actual)]
    return fits[-1]


def _is(wanted: str, line: str) -> bool:
    return line == wanted or line.startswith(f"{wanted} ")


def _difference(run: Run[Any], expected: tuple[str | EllipsisType, ...], actual: list[str]) -> str:
    lines = ["..." if isinstance(line, EllipsisType) else line for line in expected]
    diff = [line for line in difflib.ndiff(lines, actual) if not line.startswith("?")]
    shown = "\n".join(f"  {line}" for line in diff)
    return f"the events of {run!r} differ ('-' was expected, '+' has happened):\n{shown}"
