"""The metrics of one engine."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from ..dsl.errors import EngineError
from ..dsl.facts import without_indices
from . import names
from .stretches import now

if TYPE_CHECKING:
    from ..client import Client
    from ..dsl.facts import ErrorRecord
    from ..engine import Engine
    from ..extension import HandlerCall

__all__ = ["Figures"]


class Figures:
    """Counts what happens, and looks at an engine when it is asked to."""

    def __init__(self, meter: Meter) -> None:
        """Take what makes instruments."""
        self._meter = meter
        self._source: Callable[[], Engine | Client | None] = lambda: None
        self._run_duration = self._histogram("perdure.run.duration")
        self._attempt_duration = self._histogram("perdure.attempt.duration")
        self._counters = {
            name: self._counter(name) for name, metric in names.METRICS.items() if metric.instrument == "counter"
        }
        self._gauge("perdure.runs", self._runs)
        for field in ("handlers", "queued", "undelivered"):
            self._gauge(f"perdure.engine.{field}", partial(self._load, field))

    def open(self, source: Engine | Client) -> None:
        """Take what to look at, without keeping it alive."""
        self._source = weakref.ref(source)

    def _histogram(self, name: str) -> Histogram:
        metric = names.METRICS[name]
        return self._meter.create_histogram(
            name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=names.SECONDS
        )

    def _counter(self, name: str) -> Counter:
        metric = names.METRICS[name]
        return self._meter.create_counter(name, metric.unit, metric.meaning)

    def _gauge(self, name: str, look: Callable[[], Iterable[Observation]]) -> None:
        metric = names.METRICS[name]

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            try:
                return look()
            except EngineError:  # it is closed: there is nothing to tell
                return ()

        self._meter.create_observable_gauge(name, [observe], metric.unit, metric.meaning)

    def _runs(self) -> Iterable[Observation]:
        source = self._source()
        counts = {} if source is None else source.count_executions(by="state")
        return [Observation(count, {names.STATE: str(state)}) for state, count in counts.items()]

    def _load(self, field: str) -> Iterable[Observation]:
        load = getattr(self._source(), "load", None)
        return () if load is None else [Observation(getattr(load(), field))]

    # ---- what happens

    def count(self, name: str, workflow: str, /, **about: Any) -> None:
        """Count one of something."""
        self._counters[name].add(1, {names.WORKFLOW: workflow, **about})

    def ended(self, workflow: str, state: str, created_at: datetime, at: datetime, error: ErrorRecord | None) -> None:
        """Take down how long a run took."""
        about = {names.WORKFLOW: workflow, names.STATE: state}
        if error is not None:
            about[names.ERROR] = error.type
        self._run_duration.record(max(0.0, (at - created_at).total_seconds()), about)

    @contextmanager
    def attempt(self, call: HandlerCall) -> Iterator[None]:
        """Take down how long a call of a handler takes."""
        about: dict[str, Any] = {
            names.WORKFLOW: call.workflow_name,
            names.STEP: without_indices(call.step),
            names.COMPENSATION: call.is_compensation,
        }
        began = now()
        try:
            yield
        except BaseException as error:
            about[names.ERROR] = names.type_of(error)
            raise
        finally:
            self._attempt_duration.record(max(0.0, (now() - began).total_seconds()), about)
