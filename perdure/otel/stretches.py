"""Spans of runs at work, and of their steps, while they are open.

Rules:

1. A span of a run covers a stretch of work, never a wait: a run may wait for months, and a span is told when it ends.
2. A handler may begin before the event of its attempt was heard: whoever comes first makes the spans above it.
3. Spans of steps of one name end in the order in which they began: events do not tell the turn of a loop.
4. A process that dies tells nothing of the spans that were open. Those below them and those that follow are in the same
   trace all the same: the context that it hangs on is stored with the run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from ..dsl.errors import EngineError
from ..dsl.facts import without_indices, without_turn
from ..dsl.states import State
from . import names

if TYPE_CHECKING:
    from ..client import Client
    from ..dsl.facts import ErrorRecord
    from ..engine import Engine
    from ..execution import Execution
    from ..extension import HandlerCall

__all__ = ["Opened", "Stretch", "Stretches", "nanoseconds", "now"]


def nanoseconds(at: datetime) -> int:
    """Return a moment as OpenTelemetry wants it."""
    return round(at.timestamp() * 1_000_000) * 1000


def now() -> datetime:
    """Return the time as the engine tells it."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Opened:
    """A span that has not ended, and the context for what is below it.

    Attributes:
        span: The span.
        context: What carries it, beside the baggage of whoever started the run.
        turn: For a step: the turns of the loops it is in, where they are known.
        is_early: For a step: whether a part of the run has begun it, before its own event was heard.
    """

    span: Span
    context: Context
    turn: tuple[int, ...] | None = None
    is_early: bool = False

    def end(self, at: datetime, error: ErrorRecord | None = None) -> None:
        """End it, well unless there is an error."""
        if error is not None:
            self.span.set_attribute(names.ERROR, error.type)
            self.span.set_status(Status(StatusCode.ERROR, error.message))
        self.span.end(nanoseconds(at))


@dataclass(slots=True)
class Stretch:
    """A run at work.

    Attributes:
        opened: Its span.
        created_at: When the run was started.
        about: What every span of the run says.
        steps: What is open of its steps and, under True, of their compensations.
    """

    opened: Opened
    created_at: datetime
    about: Mapping[str, Any]
    steps: dict[tuple[str, bool], list[Opened]] = field(default_factory=dict)


class Stretches:
    """The runs that are at work in one engine."""

    def __init__(self, tracer: Tracer) -> None:
        """Take what makes spans."""
        self._tracer = tracer
        self._source: Engine | Client | None = None
        self._open: dict[str, Stretch] = {}
        self._lock = threading.Lock()

    def open(self, source: Engine | Client) -> None:
        """Take where the runs are."""
        self._source = source

    def close(self) -> None:
        """End all that is open."""
        for run in list(self._open):
            self.end(run, now())

    def begin(
        self, name: str, above: Context, at: datetime, about: Mapping[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> Opened:
        """Begin a span below a context."""
        span = self._tracer.start_span(name, above, kind, dict(about), start_time=nanoseconds(at))
        return Opened(span, set_span_in_context(span, above))

    # ---- runs

    def find(self, id: str) -> Stretch | None:
        """Return the open stretch of a run, if there is one."""
        return self._open.get(id)

    def of(self, id: str, workflow: str, at: datetime) -> Stretch:
        """Return the open stretch of a run; a new one where there is none."""
        if (stretch := self._open.get(id)) is not None:
            return stretch
        above, created_at = self._origin(id)
        with self._lock:
            if (stretch := self._open.get(id)) is None:
                about = {names.WORKFLOW: workflow, names.RUN: id}
                opened = self.begin(f"run {workflow}", above, at, about, SpanKind.CONSUMER)
                stretch = self._open[id] = Stretch(opened, created_at or at, about)
        return stretch

    def _origin(self, id: str) -> tuple[Context, datetime | None]:
        """Return what the trace of a run hangs on, what it carries or the run that it is a part of; and its start."""
        with suppress(EngineError):  # closed, or deleted meanwhile
            run = None if self._source is None else self._source.get_execution(id)
            if run is not None:
                carried = {name: text for name, text in run.tags.items() if isinstance(text, str)}
                if run.parent_id is not None and not propagate.get_global_textmap().fields & carried.keys():
                    return self._within(run.parent_id, run), run.created_at
                return propagate.extract(carried, Context()), run.created_at
        return Context(), None

    def _within(self, parent: str, run: Execution) -> Context:
        """Return where a part of a run belongs: below the step that waits for it, also before that has been told of."""
        above = None if self._source is None else self._source.get_execution(parent)
        if above is None or (run.state is State.COMPENSATING and self.find(parent) is None):
            return self._origin(parent)[0]
        stretch = self.of(parent, above.workflow_name, run.created_at)
        step = without_turn(run._row.parent_key or "")  # noqa: SLF001 - one of us
        with self._lock:
            if steps := stretch.steps.get((step, False)) or stretch.steps.get((step, True)):
                return steps[0].context
            if run.state is State.COMPENSATING:
                return stretch.opened.context
            opened = self._begin_step(stretch, step, run.created_at, undo=False)
            opened.is_early = True
            return opened.context

    def rest(self, id: str, at: datetime, state: str) -> None:
        """End the stretch of a run that waits, unless something of it has begun again meanwhile."""
        with self._lock:
            stretch = self._open.get(id)
            is_at_rest = stretch is not None and not stretch.steps
        if is_at_rest:
            self.end(id, at, state)

    def end(
        self,
        id: str,
        at: datetime,
        state: str | None = None,
        error: ErrorRecord | None = None,
        rollback: str | None = None,
    ) -> None:
        """End the stretch of a run, if it is open, and what is open of its steps."""
        with self._lock:
            stretch = self._open.pop(id, None)
        if stretch is None:
            return
        for steps in stretch.steps.values():
            for step in steps:
                step.end(at)
        for name, value in ((names.STATE, state), (names.ROLLBACK, rollback)):
            if value is not None:
                stretch.opened.span.set_attribute(name, value)
        stretch.opened.end(at, error)

    # ---- steps

    def step_of(self, call: HandlerCall, at: datetime) -> Opened:
        """Return the span of the step, or compensation, that an attempt belongs to."""
        stretch = self.of(call.execution_id, call.workflow_name, at)
        with self._lock:
            for step in stretch.steps.get((call.step, call.is_compensation), ()):
                if step.turn == call.turn:
                    return step
            return self._begin_step(stretch, call.step, at, undo=call.is_compensation, turn=call.turn)

    def begin_step(self, stretch: Stretch, step: str, at: datetime, *, undo: bool = False) -> Opened:
        """Begin the span of a step that has no attempts, such as a sub-workflow, unless its part has begun it."""
        with self._lock:
            for opened in stretch.steps.get((step, undo), ()):
                if opened.is_early:
                    opened.is_early = False
                    return opened
            return self._begin_step(stretch, step, at, undo=undo)

    def _begin_step(
        self, stretch: Stretch, step: str, at: datetime, *, undo: bool, turn: tuple[int, ...] | None = None
    ) -> Opened:
        name = f"{'undo' if undo else 'step'} {without_indices(step)}"
        opened = self.begin(name, stretch.opened.context, at, {**stretch.about, names.STEP: step})
        opened.turn = turn
        stretch.steps.setdefault((step, undo), []).append(opened)
        return opened

    def find_step(self, id: str, step: str) -> Opened | None:
        """Return the span of a step that has not ended."""
        with self._lock:
            stretch = self._open.get(id)
            steps = [] if stretch is None else stretch.steps.get((step, False), [])
            return steps[0] if steps else None

    def end_step(
        self, id: str, step: str, at: datetime, error: ErrorRecord | None = None, *, undo: bool = False
    ) -> bool:
        """End the span of a step that has been settled; tell whether there was one."""
        with self._lock:
            stretch = self._open.get(id)
            steps = [] if stretch is None else stretch.steps.get((step, undo), [])
            if stretch is None or not steps:
                return False
            opened = steps.pop(0)
            if not steps:
                del stretch.steps[step, undo]
        opened.end(at, error)
        return True
