"""The Monday on which the schedules of these tests begin, and what they start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from perdure import Engine, Workflow

__all__ = ["HOUR", "MONDAY", "NEW_YORK", "ROME", "gate", "hello", "hours", "started"]


MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROME = "Europe/Rome"
NEW_YORK = "America/New_York"

hello = Workflow("hello").step("greet", lambda ctx: f"hello, {ctx.input}")
gate = Workflow("gate").wait_for("go")


def started(engine: Engine) -> list[str]:
    """Return the ids of all runs, oldest first."""
    return [run.id for run in reversed(engine.list_executions(limit=1000))]


def hours(name: str, *numbers: int) -> list[str]:
    """Return the ids of the runs that a schedule starts in these hours after midnight."""
    return [f"{name}@{(MONDAY + number * HOUR).isoformat().replace('+00:00', 'Z')}" for number in numbers]
