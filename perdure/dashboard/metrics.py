"""Figures as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ..stats import Stats, StepStats

__all__ = ["CONTENT_TYPE", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(counts: Mapping[str, int], stats: Stats | None) -> str:
    """Return the figures of an engine in Prometheus's text format.

    Args:
        counts: How many runs there are in each state.
        stats: What `Engine.stats` tells, or None.
    """
    lines = _family(
        "perdure_runs", "gauge", "Runs in the database, by state.", [({"state": k}, v) for k, v in counts.items()]
    )
    if stats is not None:
        lines += _family(
            "perdure_overdue_timers", "gauge", "Timers that are due and have not fired.", [({}, stats.overdue)]
        )
        for name, what, pick in _STEPS:
            samples = [({"workflow": one.workflow, "step": one.step}, pick(one)) for one in stats.steps]
            lines += _family(name, "gauge", what, samples)
        for field, what in _LIMITS.items():
            samples = [({"limit": one.name}, getattr(one, field)) for one in stats.limits]
            lines += _family(f"perdure_limit_{field}", "gauge", what, samples)
        if stats.load is not None:
            for field in ("runs", "handlers", "queued", "undelivered"):
                what = f"What this engine is busy with: {field}."
                lines += _family(f"perdure_engine_{field}", "gauge", what, [({}, getattr(stats.load, field))])
    return "\n".join(lines) + "\n"


_LIMITS: Final = {"held": "Runs that have a slot of a limit.", "waiting": "Runs in line for a slot of a limit."}
_STEPS: Final[tuple[tuple[str, str, Callable[[StepStats], float]], ...]] = (
    ("perdure_step_count", "Settled steps among the newest runs.", lambda one: one.count),
    ("perdure_step_failed", "Steps that failed for good among the newest runs.", lambda one: one.failed),
    ("perdure_step_retries", "Attempts beyond the first among the newest runs.", lambda one: one.retries),
    ("perdure_step_median_seconds", "Half of the steps took no longer.", lambda one: one.median.total_seconds()),
    ("perdure_step_p95_seconds", "95 of 100 steps took no longer.", lambda one: one.p95.total_seconds()),
)


def _family(name: str, kind: str, what: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    head = [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{_labels(labels)} {value}" for labels, value in samples]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
