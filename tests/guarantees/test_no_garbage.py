"""A run that has ended leaves memory by itself: nothing waits for the garbage collector, which would halt the core.

Counted, never timed: the collector is off while runs are driven to their end; what it then finds is what they have left
behind in circles.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from perdure import Context, Engine, Retry, Run, Workflow
from perdure.actors.execution import ExecutionActor
from perdure.testing.leaks import close_cleanly, unique_name
from tests.patience import PATIENCE

RUNS = 20


def act(ctx: Context[Any]) -> dict[str, bool]:
    return {"ok": True}


async def act_later(ctx: Context[Any]) -> int:
    return 1


def fail(ctx: Context[Any]) -> None:
    raise ValueError("no stock")


def fail_once(ctx: Context[Any]) -> None:
    if ctx.attempt == 1:
        raise ConnectionError


def nothing(run: Run[Any]) -> None:
    """Let it run."""


def go(run: Run[Any]) -> None:
    """Open its gate."""
    run.signal("go")


def cancel(run: Run[Any]) -> None:
    """Cancel it at its gate."""
    run.wait(until="waiting")
    run.cancel()


def failing() -> Workflow[Any, Any]:
    return Workflow("failing").step("a", act, compensate=act).step("b", fail, retry=1)


CASES: dict[str, tuple[Workflow[Any, Any], Callable[[Run[Any]], None]]] = {
    "steps": (Workflow("w").step("a", act).step("b", act).map("c", lambda ctx: 1), nothing),
    "coroutines": (Workflow("w").step("a", act_later, timeout=60), nothing),
    "a retry": (Workflow("w").step("a", fail_once, retry=Retry(initial=0)), nothing),
    "a failure that is undone": (failing(), nothing),
    "a gate": (Workflow("w", timeout=60).wait_for("go").step("a", act), go),
    "a cancel": (Workflow("w").step("a", act, compensate=act).wait_for("go"), cancel),
    "a branch": (Workflow("w").branch(lambda ctx: "x").path("x", lambda w: w.step("a", act)), nothing),
    "a loop": (Workflow("w").do_until(lambda ctx, turn: turn >= 3, lambda w: w.step("a", act)), nothing),
    "items": (Workflow("w").for_each(lambda ctx: [1, 2, 3], "a", act, concurrency=2), nothing),
    "a group": (Workflow("w").parallel(lambda w: w.step("a", act).step("b", act_later)), nothing),
    "a group that fails": (Workflow("w").parallel(lambda w: w.step("a", act).step("b", fail, retry=1)), nothing),
    "a race": (Workflow("w").parallel(lambda w: w.step("a", act).wait_for("go"), race=True), nothing),
    "a sub-workflow": (Workflow("w").sub_workflow("child"), nothing),
    "a sub-workflow that fails": (Workflow("w").sub_workflow("failing"), nothing),
    "a limit": (Workflow("w", concurrency=2).step("a", act), nothing),
}


@pytest.fixture
def engine(location: str) -> Iterator[Engine]:
    engine = Engine(location, durability="normal", queue_name=unique_name())
    yield engine
    close_cleanly(engine)


@contextmanager
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def garbage(engine: Engine, flow: Workflow[Any, Any], do: Callable[[Run[Any]], None]) -> float:
    """Return how many objects each run leaves to the collector."""
    engine.register(Workflow("child").step("a", act), failing(), flow)

    def drive() -> None:
        runs = [engine.start(flow) for _ in range(RUNS)]
        for run in runs:
            do(run)
        for run in runs:
            run.wait(timeout=PATIENCE)
        engine.settle()

    drive()  # what is made once, and kept, is made here
    with collector_off():
        drive()
        found: int = engine._machine.exclusively(gc.collect)
    return found / RUNS


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_has_ended_leaves_nothing_to_the_garbage_collector(engine: Engine, case: str) -> None:
    assert garbage(engine, *CASES[case]) < 1


def test_the_guard_sees_one_circle_for_each_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = ExecutionActor.leave

    def leave_in_a_circle(actor: ExecutionActor) -> None:
        leave(actor)
        circle: list[Any] = []
        circle.append(circle)

    monkeypatch.setattr(ExecutionActor, "leave", leave_in_a_circle)

    assert garbage(engine, *CASES["steps"]) >= 1
