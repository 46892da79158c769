"""A run is quarantined for the crashes that it may have caused, and not for those that it only lived through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perdure import Engine, Retry, State, Workflow
from perdure.testing import freeze, restart
from perdure.testing.leaks import unique_name


def fails_once(ctx: Any) -> str:
    if ctx.attempt == 1:
        raise RuntimeError
    return "done"


def between_attempts() -> tuple[Workflow[Any, Any], ...]:
    return (Workflow("w").step("try", fails_once, retry=Retry(attempts=2, initial=60, jitter=0)),)


def with_a_child_that_waits() -> tuple[Workflow[Any, Any], ...]:
    child = Workflow("child").sleep("wait", 60)
    return child, Workflow("w").sub_workflow(child)


def being_undone_and_between_attempts() -> tuple[Workflow[Any, Any], ...]:
    flow = Workflow("w").step("do", lambda: 1, compensate=fails_once, retry=Retry(attempts=2, initial=60, jitter=0))
    return (flow.step("fail", lambda: 1 / 0, retry=1),)


@pytest.fixture(autouse=True)
def frozen() -> Iterator[Any]:
    with freeze() as freezer:
        yield freezer


@pytest.mark.parametrize("make", [between_attempts, with_a_child_that_waits, being_undone_and_between_attempts])
def test_a_run_that_only_waits_survives_any_number_of_crashes(
    make: Callable[[], tuple[Workflow[Any, Any], ...]], location: str
) -> None:
    engine = Engine(location, *make(), seed=0, queue_name=unique_name())
    run = engine.start("w", id="it")
    engine.settle()
    for _ in range(6):
        engine = restart(engine)
        engine.settle()
        assert engine.run(run.id).state in (State.RUNNING, State.COMPENSATING)
    engine.advance(minutes=5)
    assert engine.run(run.id).state in (State.COMPLETED, State.FAILED)
    engine.close()
