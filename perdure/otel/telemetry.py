"""The extension: traces and metrics of one engine, or of the starts that one client makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .. import events
from ..dsl.facts import without_indices
from ..dsl.states import State
from ..extension import Extension, HandlerCall
from . import names
from .figures import Figures
from .stretches import Stretches, nanoseconds, now

if TYPE_CHECKING:
    from ..client import Client
    from ..dsl.facts import ErrorRecord
    from ..engine import Engine

__all__ = ["OpenTelemetry"]


class OpenTelemetry(Extension):
    """Traces runs and counts what they do, by OpenTelemetry's API.

    The trace of whoever starts a run goes on in it: its context is stored with the run, as tags, so that also another
    process, or a later one, continues it. Names, numbers and errors get into spans; inputs, results and payloads never
    do.

    Example:
        >>> from perdure import Engine, Workflow
        >>> hello = Workflow("hello").step("greet", lambda: "hello")
        >>> with Engine(None, hello, extensions=[OpenTelemetry()]) as engine:  # goes nowhere without an SDK
        ...     engine.start(hello).result(timeout=10)
        'hello'
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """Take where spans and figures go.

        Args:
            tracer_provider: The global one if left out.
            meter_provider: The global one if left out.
        """
        release = version("perdure")
        self._tracer = trace.get_tracer("perdure", release, tracer_provider)
        self._stretches = Stretches(self._tracer)
        self._figures = Figures(metrics.get_meter("perdure", release, meter_provider))

    def opened(self, source: Engine | Client) -> None:
        """Begin to read from the engine or client."""
        self._stretches.open(source)
        self._figures.open(source)

    def closed(self) -> None:
        """End what is open: it goes on in another engine."""
        self._stretches.close()

    @contextmanager
    def starting(self, workflow: str, tags: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Trace a start, and have the run carry the context."""
        about = {names.WORKFLOW: workflow}
        with self._tracer.start_as_current_span(f"start {workflow}", kind=SpanKind.PRODUCER, attributes=about):
            carried: dict[str, str] = {}
            propagate.inject(carried)
            yield {**tags, **carried}

    @contextmanager
    def handling(self, call: HandlerCall) -> Iterator[None]:
        """Trace and measure a call of a handler, to which the span is the current one."""
        began = now()
        step = self._stretches.step_of(call, began)
        name = f"attempt {without_indices(call.step)}"
        opened = self._stretches.begin(name, step.context, began, _about(call))
        token = context.attach(opened.context)
        try:
            with self._figures.attempt(call):
                yield
        except BaseException as error:
            kind, said = names.type_of(error), names.message_of(error)
            opened.span.record_exception(error, {"exception.type": kind, "exception.message": said})
            opened.span.set_attribute(names.ERROR, kind)
            opened.span.set_status(Status(StatusCode.ERROR, said))
            raise
        finally:
            context.detach(token)
            opened.span.end(nanoseconds(now()))

    # ---- events

    def heard(self, event: events.Event) -> None:
        """Begin and end spans, and count."""
        if isinstance(event, (events.ListenerError, events.StepProgress, events.StepLate)):
            return
        if event.type.startswith("workflow:"):
            self._hear_of_run(event)
        elif event.type.startswith("step:"):
            self._hear_of_step(event)
        elif event.type.startswith("compensation:"):
            self._hear_of_compensation(event)
        else:
            self._hear_of_wait(event)

    def _hear_of_run(self, event: events.Event) -> None:
        match event:
            case events.WorkflowWaiting():
                self._stretches.rest(event.execution_id, event.at, State.WAITING)
            case events.WorkflowPaused():
                self._stretches.rest(event.execution_id, event.at, "paused")
            case events.WorkflowCompleted():
                self._end(event, State.COMPLETED, None)
            case events.WorkflowFailed():
                self._end(event, State.FAILED, event.error, event.rollback)
            case events.WorkflowCancelled():
                self._end(event, State.CANCELLED, None, event.rollback)
            case events.WorkflowQuarantined():
                self._end(event, State.QUARANTINED, event.error)
            case _:
                stretch = self._stretches.of(event.execution_id, event.workflow_name, event.at)
                if isinstance(event, events.WorkflowStarted):
                    self._figures.count("perdure.run.started", event.workflow_name)
                else:
                    stretch.opened.span.add_event(event.type, timestamp=nanoseconds(event.at))

    def _end(self, event: events.Event, state: State, error: ErrorRecord | None, rollback: str | None = None) -> None:
        stretch = self._stretches.of(event.execution_id, event.workflow_name, event.at)
        self._figures.ended(event.workflow_name, state, stretch.created_at, event.at, error)
        self._stretches.end(event.execution_id, event.at, state, error, rollback)

    def _hear_of_step(self, event: events.Event) -> None:
        run, at = event.execution_id, event.at
        match event:
            case events.StepStarted(attempt=None):
                stretch = self._stretches.of(run, event.workflow_name, at)
                self._stretches.begin_step(stretch, event.step, at)
            case events.StepCompleted() | events.StepSkipped() | events.StepCancelled():
                self._stretches.end_step(run, event.step, at)
            case events.StepFailed():
                self._stretches.end_step(run, event.step, at, event.error)
            case events.StepParked():
                self._stretches.end_step(run, event.step, at, event.error)
                self._count_step("perdure.incidents", event, event.step)
            case events.StepRetry() | events.StepTimedOut():
                if (step := self._stretches.find_step(run, event.step)) is not None:
                    step.span.add_event(event.type, {names.ATTEMPT: event.attempt}, nanoseconds(at))
                if isinstance(event, events.StepRetry):
                    self._count_step("perdure.step.retries", event, event.step)

    def _hear_of_compensation(self, event: events.Event) -> None:
        run, at = event.execution_id, event.at
        match event:
            case events.CompensationStarted(attempt=None):
                stretch = self._stretches.of(run, event.workflow_name, at)
                self._stretches.begin_step(stretch, event.step, at, undo=True)
            case events.CompensationCompleted():
                self._stretches.end_step(run, event.step, at, undo=True)
                self._count_step("perdure.compensations", event, event.step)
            case events.CompensationFailed():
                self._stretches.end_step(run, event.step, at, event.error, undo=True)
                kind = {} if event.error is None else {names.ERROR: event.error.type}
                self._count_step("perdure.compensations", event, event.step, **kind)
            case events.CompensationParked():
                self._stretches.end_step(run, event.step, at, event.error, undo=True)
                self._count_step("perdure.incidents", event, event.step)

    def _hear_of_wait(self, event: events.Event) -> None:
        about = {}
        if isinstance(event, (events.SignalReceived, events.SignalReminder, events.SignalTimedOut)):
            about = {names.SIGNAL: event.event}
        if isinstance(event, events.SignalReceived):
            self._figures.count("perdure.signals", event.workflow_name, **about)
        if (stretch := self._stretches.find(event.execution_id)) is not None:
            stretch.opened.span.add_event(event.type, about, nanoseconds(event.at))

    def _count_step(self, metric: str, event: events.Event, step: str, **about: str) -> None:
        self._figures.count(metric, event.workflow_name, **{names.STEP: without_indices(step), **about})


def _about(call: HandlerCall) -> dict[str, Any]:
    about: dict[str, Any] = {
        names.WORKFLOW: call.workflow_name,
        names.RUN: call.execution_id,
        names.STEP: call.step,
        names.ATTEMPT: call.attempt,
        names.COMPENSATION: call.is_compensation,
    }
    return {**about, names.TURN: call.turn} if call.turn else about
