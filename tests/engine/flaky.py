"""Handlers that fail as often as a test wants, and runs that must fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import Context, Engine, Retry, Workflow, WorkflowFailed
from perdure.testing.freezing import START
from tests.patience import PATIENCE

__all__ = ["NO_JITTER", "Flaky", "after", "failed"]

NO_JITTER = Retry(attempts=4, initial=1, jitter=0)


def failed(engine: Engine, workflow: Workflow[Any, Any], input: Any = None) -> WorkflowFailed:
    """Run a workflow that must fail."""
    run = engine.register(workflow).start(workflow.name, input)
    with pytest.raises(WorkflowFailed) as failure:
        run.result(timeout=PATIENCE)
    return failure.value


def after(*delays: float) -> list[datetime]:
    """Return points in time, each so many seconds after the one before."""
    moments = [START]
    for delay in delays:
        moments.append(moments[-1] + timedelta(seconds=delay))
    return moments


class Flaky:
    """A handler that fails with each of the errors, then returns; knows when it was called, and for which attempt."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls: list[datetime] = []
        self.attempts: list[int] = []
        self.keys: set[str] = set()

    def __call__(self, ctx: Context[Any]) -> str:
        self.calls.append(datetime.now(UTC))
        self.attempts.append(ctx.attempt)
        self.keys.add(ctx.idempotency_key)
        if self.errors:
            raise self.errors.pop(0)
        return "done"
