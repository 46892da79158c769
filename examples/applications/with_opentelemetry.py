"""One trace from the request that ordered something to the parcel, through an approval and the death of the process.

The engine traces runs, steps and attempts by OpenTelemetry's API; where spans go is the application's business, as
always: here they are kept in memory and printed in the end. The context of the request is stored with the run. So the
second engine, which finds the run on disk, goes on in the same trace; and what the handler asks of the bank, through
whatever library, is below the attempt that asked.

    POST /orders
      start order
        run order: waiting
          step charge
            attempt charge: ConnectionError
            attempt charge
              POST https://bank.example/payments
        run order: completed
          step ship
            attempt ship
    1 trace, of 2 engines
    handlers were called 3 times, 1 retry
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from perdure import Context, Engine, Retry, Workflow
from perdure.otel import OpenTelemetry

# What any traced application sets up once: in real life with exporters that send to a collector.
spans = InMemorySpanExporter()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
figures = InMemoryMetricReader()
meters = MeterProvider([figures])
tracer = tracers.get_tracer("shop")


def charge(ctx: Context[Any]) -> str:
    """Take the money; the bank's library traces its requests, as instrumented libraries do."""
    if ctx.attempt == 1:
        raise ConnectionError("the bank is busy")
    with tracer.start_as_current_span("POST https://bank.example/payments"):
        return "payment-1"


order = (
    Workflow("order")
    .step("charge", charge, retry=Retry(initial=0.001, jitter=0))
    .wait_for("approval", timeout=3 * 86_400)
    .step("ship", lambda ctx: f"shipped, paid with {ctx.steps['charge']}")
)


def open_engine(path: Path) -> Engine:
    """Open an engine with telemetry; each has its own extension."""
    return Engine(path, order, extensions=[OpenTelemetry(tracer_provider=tracers, meter_provider=meters)])


def context_of(span: ReadableSpan) -> SpanContext:
    """Return what a span is known by."""
    known: SpanContext | None = span.context
    assert known is not None
    return known


def tree(found: list[ReadableSpan], above: int | None = None, depth: int = 0) -> Iterator[str]:
    """Yield each span below the one it is a part of, with its state or error."""
    for span in found:
        if (None if span.parent is None else span.parent.span_id) == above:
            told = dict(span.attributes or {})
            note = told.get("error.type") or told.get("perdure.run.state")
            yield "  " * depth + span.name + (f": {note}" if note else "")
            yield from tree(found, context_of(span).span_id, depth + 1)


def points(name: str) -> list[Any]:
    """Return what was measured under a name."""
    measured = figures.get_metrics_data()
    assert measured
    metrics = [
        metric
        for resource in measured.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
    ]
    return [point for metric in metrics for point in metric.data.data_points]


def main() -> None:
    """Tell the docstring's story."""
    with TemporaryDirectory() as folder:
        engine = open_engine(Path(folder, "orders.db"))
        with tracer.start_as_current_span("POST /orders"):
            engine.start(order, {"item": "lamp"}, id="o-1")
        engine.settle()
        engine.abandon()  # as if the process had died

        with open_engine(Path(folder, "orders.db")) as later:
            later.signal("o-1", "approval")
            later.run("o-1").result(timeout=10)

    found = sorted(spans.get_finished_spans(), key=lambda span: span.start_time or 0)
    print("\n".join(tree(found)))
    print(f"{len({context_of(span).trace_id for span in found})} trace, of 2 engines")
    calls = sum(point.count for point in points("perdure.attempt.duration"))
    [retries] = points("perdure.step.retries")
    print(f"handlers were called {calls} times, {retries.value} retry")


if __name__ == "__main__":
    main()
