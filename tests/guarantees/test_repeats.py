"""The same thing asked twice, or ten thousand times, or at the very last moment: one outcome, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from perdure import DuplicateExecution, ExecutionFinished, Workflow
from perdure.testing.freezing import START
from tests.patience import PATIENCE


def test_ten_thousand_signals_to_one_run_are_all_kept_and_taken_in_order(
    open_engine: Any, as_many: Callable[[int, int], int]
) -> None:
    storm = as_many(10_000, 400)
    taken: list[int] = []
    first = Workflow("storm").wait_for("go").step("take", lambda ctx: taken.append(ctx.signals["go"]))
    workflow = first.do_until(
        lambda ctx, turn: turn == 99, lambda w: w.wait_for("go").step("next", take(taken)), max_iterations=99
    )
    engine = open_engine(workflow, Workflow("other").step("a", lambda: 1))
    run = engine.start("storm", id="x")
    run.wait(PATIENCE, until="waiting")

    def send(sender: int) -> None:
        for number in range(storm // 4):
            run.signal("kept" if number < storm // 4 - 25 else "go", sender * storm + number, strict=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert run.wait(PATIENCE).state == "completed"
    stored = engine._machine.store.snapshot("x")
    assert len(stored.signals) == storm
    assert len(taken) == 100
    for sender in range(4):
        own = [number for number in taken if number // storm == sender]
        assert own == sorted(own)
    assert engine.start("other").result(PATIENCE) == 1


def take(taken: list[int]) -> Any:
    return lambda ctx: taken.append(ctx.signals["go"])


def test_of_a_signal_and_a_deadline_at_one_instant_the_same_wins_whichever_is_heard_first(
    frozen: Any, open_engine: Any
) -> None:
    outcomes = []
    for first in ("signal", "deadline"):
        engine = open_engine(Workflow(first).wait_for("go", timeout=60))
        run = engine.start(first)
        engine.settle()
        with engine._machine.lanes.alarm_paused():
            frozen.move_to(START + timedelta(seconds=60))
            if first == "signal":
                run.signal("go", "in time")
            engine.settle()
        if first == "deadline":
            with pytest.raises(ExecutionFinished):
                run.signal("go", "too late")
        outcomes.append((run.wait(0).state, run.wait(0).signals))
        engine.close()
        frozen.move_to(START)
    assert outcomes == [("completed", {"go": "in time"}), ("failed", {})]


def test_sixteen_threads_that_start_one_id_start_one_run(open_engine: Any) -> None:
    ran: list[str] = []
    engine = open_engine(Workflow("w").step("a", lambda ctx: ran.append(ctx.execution_id)))
    together = threading.Barrier(16)

    def start(number: int) -> Any:
        together.wait(PATIENCE)
        by_id = number % 2
        return engine.start("w", id="x", key="k") if by_id else engine.start("w", key="k", id="x")

    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(start, range(16)))
    for run in runs:
        run.wait(PATIENCE)
    assert {run.id for run in runs} == {"x"}
    assert ran == ["x"]
    with pytest.raises(DuplicateExecution):
        engine.start("w", id="x", if_exists="reject")
