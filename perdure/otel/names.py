"""What spans, their attributes and the metrics are called; the page in the docs is compared with these tables.

Names of OpenTelemetry's semantic conventions where there are such, ours below ``perdure.`` elsewhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..dsl.facts import ErrorRecord

__all__ = ["ATTRIBUTES", "METRICS", "SECONDS", "SPANS", "Metric", "message_of", "type_of"]

WORKFLOW: Final = "perdure.workflow.name"
RUN: Final = "perdure.run.id"
STATE: Final = "perdure.run.state"
ROLLBACK: Final = "perdure.run.rollback"
STEP: Final = "perdure.step.name"
ATTEMPT: Final = "perdure.attempt.number"
TURN: Final = "perdure.loop.turn"
COMPENSATION: Final = "perdure.compensation"
SIGNAL: Final = "perdure.signal.name"
ERROR: Final = "error.type"

SPANS: Final = {
    "start {workflow}": ("PRODUCER", "A call that starts a run, in the process that makes it."),
    "run {workflow}": (
        "CONSUMER",
        "A run while it is at work in one engine: from its start, or from when it goes on, until it waits or ends.",
    ),
    "step {step}": ("INTERNAL", "A step, from its first attempt in this engine until it is settled."),
    "undo {step}": ("INTERNAL", "The compensation of a step, in the same way."),
    "attempt {step}": ("INTERNAL", "One call of a handler; what the handler traces is below it."),
}
"""Spans by name: their kind, and what they are."""

ATTRIBUTES: Final = {
    WORKFLOW: ("every span and metric of a run", "Name of the workflow."),
    RUN: ("every span but `start`", "Id of the run."),
    STATE: ("`run`, `perdure.run.duration`, `perdure.runs`", "State in which it was left."),
    ROLLBACK: ("`run`", "How far a run that has failed was undone."),
    STEP: ("`step`, `undo`, `attempt`, metrics of steps", "Name of the step; on spans an item's has its index."),
    ATTEMPT: ("`attempt`", "1, 2, 3 …"),
    TURN: ("`attempt`", "The turns of the loops it is in, outermost first."),
    COMPENSATION: ("`attempt`, `perdure.attempt.duration`", "Whether it undoes the step."),
    SIGNAL: ("`perdure.signals`", "Name of the signal."),
    ERROR: ("what has failed", "Type of the error, as it is recorded."),
}
"""Attributes by name: where they are, and what they say."""


class Metric(NamedTuple):
    """What a metric is."""

    instrument: str
    unit: str
    meaning: str


METRICS: Final = {
    "perdure.run.started": Metric("counter", "{run}", "Runs that have begun."),
    "perdure.run.duration": Metric("histogram", "s", "From the start of a run to its end, waiting included."),
    "perdure.attempt.duration": Metric("histogram", "s", "What calls of handlers took."),
    "perdure.step.retries": Metric("counter", "{retry}", "Attempts that failed and were followed by another."),
    "perdure.incidents": Metric("counter", "{incident}", "Steps and compensations that were left to an operator."),
    "perdure.compensations": Metric("counter", "{compensation}", "Steps that were undone, or could not be."),
    "perdure.signals": Metric("counter", "{signal}", "Signals that were stored."),
    "perdure.runs": Metric("gauge", "{run}", "Runs in the database, by state."),
    "perdure.engine.handlers": Metric("gauge", "{handler}", "Handlers under way in this engine."),
    "perdure.engine.queued": Metric("gauge", "{handler}", "Handlers that wait for one of the engine's places."),
    "perdure.engine.undelivered": Metric("gauge", "{event}", "Events that listeners have not been given yet."),
}
"""Metrics by name."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 86_400, 604_800)
"""Bounds of the buckets of durations: handlers of milliseconds, and runs of days."""


def type_of(error: BaseException) -> str:
    """Return the type of an exception as the conventions have it, its full name; also of one raised elsewhere."""
    if (record := _record_in(error)) is not None:
        return record.type
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return what an exception says."""
    record = _record_in(error)
    return str(error) if record is None else record.message


def _record_in(error: BaseException) -> ErrorRecord | None:
    """Return what is kept of an exception that was raised in an executor's worker, and that another stands for here."""
    return error.args[0] if error.args and isinstance(error.args[0], ErrorRecord) else None
