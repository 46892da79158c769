"""An SDK that keeps what it is told in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure import Client, Engine, Workflow
from perdure.otel import OpenTelemetry


class Backend:
    """Where spans and figures arrive."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("the application")

    def telemetry(self) -> OpenTelemetry:
        """Return an extension that tells this backend."""
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """What has ended, by its beginning."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.name))

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    def tree(self) -> list[str]:
        """Return the names of all spans, each below the one it is a child of."""
        children: dict[int | None, list[ReadableSpan]] = {}
        known = {span.context.span_id for span in self.spans}
        for span in self.spans:
            above = None if span.parent is None else span.parent.span_id
            children.setdefault(above if above in known else None, []).append(span)

        def lines(above: int | None, depth: int) -> Iterator[str]:
            for span in children.get(above, ()):
                yield "  " * depth + span.name
                yield from lines(span.context.span_id, depth + 1)

        return list(lines(None, 0))

    def traces(self) -> set[int]:
        """Return the ids of all traces."""
        return {span.context.trace_id for span in self.spans}

    def figures(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """Return every metric: what each point is about, and its value, or how often it was recorded."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: [
                (dict(point.attributes or {}), getattr(point, "value", getattr(point, "count", 0)))
                for point in metric.data.data_points
            ]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def opened(path: Path, backend: Backend) -> Iterator[Callable[..., Engine]]:
    """Opens engines with telemetry on one file."""
    engines: list[Engine | Client] = []

    def open_one(*workflows: Workflow[Any, Any]) -> Engine:
        engine = Engine(path, *workflows, durability="normal", extensions=[backend.telemetry()])
        engines.append(engine)
        return engine

    yield open_one
    for engine in engines:
        engine.close()
