"""A clock that is set back or forward: nothing fires twice, nothing hangs, what is due comes in order of due time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from freezegun import freeze_time

from perdure import Workflow
from perdure.testing.freezing import START
from tests.patience import PATIENCE


def naps(heard: list[str]) -> Workflow[float, Any]:
    return (
        Workflow("nap", input=float)
        .sleep_until("nap", lambda ctx: START + timedelta(seconds=ctx.input))
        .step("wake", lambda ctx: heard.append(ctx.execution_id))
    )


def test_a_clock_that_jumps_a_month_fires_what_is_due_once_each_in_order_of_due_time(
    frozen: Any, open_engine: Any
) -> None:
    fired: list[str] = []
    engine = open_engine(naps([]), seed=0)
    engine.on("timer:fired", lambda event: fired.append(event.execution_id))
    for seconds in (300.0, 100.0, 200.0, 2_000_000.0, 4_000_000.0):
        engine.start("nap", seconds, id=f"{seconds:g}")
    engine.settle()
    frozen.move_to(START + timedelta(days=30))
    engine.settle()
    assert fired == ["100", "200", "300", "2e+06"]
    frozen.move_to(START)
    engine.settle()
    frozen.move_to(START + timedelta(days=30))
    engine.settle()
    assert len(fired) == 4


def test_a_clock_that_is_set_back_an_hour_neither_fires_twice_nor_hangs(frozen: Any, open_engine: Any) -> None:
    woken: list[str] = []
    engine = open_engine(naps(woken))
    engine.start("nap", 60.0, id="before")
    engine.start("nap", 7200.0, id="after")
    engine.settle()
    frozen.move_to(START + timedelta(seconds=60))
    engine.settle()
    assert woken == ["before"]
    frozen.move_to(START - timedelta(hours=1))
    engine.start("nap", 30.0, id="during")
    engine.settle()
    assert woken == ["before"]
    for minutes in range(-60, 180, 20):  # and forward again, in steps
        frozen.move_to(START + timedelta(minutes=minutes))
        engine.settle()
    assert woken == ["before", "during", "after"]


def test_a_clock_that_was_set_back_while_nobody_ran_neither_loses_nor_doubles_a_timer(
    frozen: Any, open_engine: Any
) -> None:
    woken: list[str] = []
    engine = open_engine(naps(woken))
    engine.start("nap", 60.0, id="x")
    engine.settle()
    engine.close()
    frozen.move_to(START - timedelta(days=1))
    engine = open_engine(naps(woken))
    engine.settle()
    assert woken == []
    frozen.move_to(START + timedelta(seconds=60))
    engine.settle()
    assert woken == ["x"]


def test_time_that_one_thread_freezes_and_moves_while_handlers_run_hangs_nobody(open_engine: Any) -> None:
    begun, go = threading.Event(), threading.Event()
    seen: list[datetime] = []

    def work() -> None:
        begun.set()
        go.wait(PATIENCE)
        seen.append(datetime.now(UTC))

    engine = open_engine(Workflow("work").step("work", work).sleep("nap", 3600).step("end", lambda: "woken"))
    with freeze_time("2031-01-01", real_asyncio=True) as clock:
        run = engine.start("work")
        assert begun.wait(PATIENCE)
        clock.move_to("2031-01-02")
        go.set()
        engine.settle()
        assert run.state == "waiting"
        clock.tick(3600)
        assert run.result(PATIENCE) == "woken"
    assert [moment.day for moment in seen] == [2]
    assert engine.start("work").wait(PATIENCE, until="waiting").state == "waiting"  # and real time goes on
