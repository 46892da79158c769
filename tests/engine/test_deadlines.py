"""Deadlines of whole runs, and starts that are put off: fixed points in time, whatever happens to the process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from perdure import (
    Context,
    DefinitionError,
    Engine,
    ExecutionFinished,
    State,
    Workflow,
    WorkflowFailed,
)
from perdure.events import Event
from tests.patience import PATIENCE

from .drive import Clock, files_of, photographs_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "runs.db"


class Shop:
    """A workflow with a deadline of an hour, which notes what is done and undone."""

    def __init__(self, timeout: Any = HOUR) -> None:
        self.log: list[str] = []
        self.workflow = (
            Workflow("shop", timeout=timeout)
            .step("reserve", lambda: self.log.append("reserved"), compensate=self._release)
            .wait_for("paid")
            .step("ship", lambda: self.log.append("shipped"))
        )

    def _release(self, ctx: Context[Any]) -> None:
        assert ctx.failure is not None
        self.log.append(f"released: {ctx.failure.type}")


def test_a_run_that_does_not_end_in_time_is_undone_and_fails() -> None:
    shop = Shop()
    seen: list[Event] = []
    with freeze_time(NOON), Engine(None, shop.workflow, on_event=seen.append) as engine:
        run = engine.start("shop")
        engine.settle()
        assert engine.next_deadline() == NOON + HOUR
        engine.advance(hours=1)
        with pytest.raises(WorkflowFailed) as caught:
            run.result()
    failure = caught.value
    assert failure.error is not None
    assert failure.error.type == "perdure.WorkflowTimeout"
    assert failure.error.message == "workflow 'shop' timed out: it did not end within 3600 s"
    assert failure.rollback == "complete"
    assert shop.log == ["reserved", "released: perdure.WorkflowTimeout"]
    assert [event.type for event in seen][-4:] == [
        "workflow:compensating",
        "compensation:started",
        "compensation:completed",
        "workflow:failed",
    ]
    assert {event.at for event in seen[-4:]} == {NOON + HOUR}


def test_a_run_that_ends_in_time_leaves_no_timer_behind() -> None:
    shop = Shop()
    with freeze_time(NOON), Engine(None, shop.workflow) as engine:
        run = engine.start("shop")
        engine.settle()
        run.signal("paid")
        engine.settle()
        assert engine.next_deadline() is None
        engine.advance(hours=2)
        assert run.state is State.COMPLETED


def test_a_run_that_fails_in_time_is_undone_without_a_deadline() -> None:
    def fail() -> None:
        raise ValueError("no")

    flow = (
        Workflow("slow", timeout=HOUR).step("first", lambda: 1, compensate=lambda: 1 / 0).step("second", fail, retry=1)
    )
    with freeze_time(NOON), Engine(None, flow) as engine:
        run = engine.start("slow")
        engine.advance(hours=2)
        with pytest.raises(WorkflowFailed, match="ValueError: no"):
            run.result()


def test_the_time_a_process_is_down_counts(path: Path) -> None:
    shop = Shop()
    with freeze_time(NOON) as clock:
        with Engine(path, shop.workflow) as engine:
            run = engine.start("shop", id="s")
            engine.settle()
        clock.move_to(NOON + HOUR / 2)
        with Engine(path, shop.workflow) as engine:
            engine.settle()
            assert engine.next_deadline() == NOON + HOUR
            assert engine.run(run.id).state is State.WAITING
        clock.move_to(NOON + 3 * HOUR)
        with Engine(path, shop.workflow) as engine:
            engine.settle()
            assert engine.run("s").state is State.FAILED
            assert engine.next_deadline() is None
    assert shop.log == ["reserved", "released: perdure.WorkflowTimeout"]


def test_a_signal_at_the_deadline_wins_and_one_after_it_is_refused() -> None:
    with freeze_time(NOON) as clock:
        for late, fate in ((timedelta(0), State.COMPLETED), (timedelta(seconds=1), State.FAILED)):
            shop = Shop()
            clock.move_to(NOON)
            with Engine(None, shop.workflow) as engine, engine._machine.lanes.alarm_paused():
                run = engine.start("shop")
                engine.settle()
                clock.move_to(NOON + HOUR + late)
                if late:
                    with pytest.raises(ExecutionFinished):
                        run.signal("paid")
                else:
                    run.signal("paid")
                assert run.wait(timeout=PATIENCE).state is fate


def test_a_handler_in_flight_at_the_deadline_ends_before_the_run_is_undone() -> None:
    undone: list[str] = []
    with freeze_time(NOON) as clock:

        def work() -> str:
            clock.move_to(NOON + 2 * HOUR)
            return "done"

        flow = (
            Workflow("work", timeout=HOUR)
            .step("work", work, compensate=lambda ctx: undone.append(ctx.result))
            .step("more", lambda: undone.append("never"))
        )
        with Engine(None, flow) as engine:
            run = engine.start("work")
            engine.settle()
            assert run.state is State.FAILED
    assert undone == ["done"]


def test_a_deadline_reaches_the_children() -> None:
    child = Workflow("child").step("hold", lambda: 1, compensate=lambda: None).wait_for("never")
    parent = Workflow("parent", timeout=60).sub_workflow(child)
    with freeze_time(NOON), Engine(None, child, parent) as engine:
        run = engine.start("parent")
        engine.advance(minutes=1)
        assert run.state is State.FAILED
        [of_child] = engine.list_executions("child")
        assert of_child.state is State.CANCELLED
        assert of_child.error is not None
        assert "timed out" in of_child.error.message


def test_a_child_that_is_late_fails_its_parent() -> None:
    child = Workflow("child", timeout=60).wait_for("never")
    parent = Workflow("parent").sub_workflow(child)
    with freeze_time(NOON), Engine(None, child, parent) as engine:
        run = engine.start("parent")
        engine.advance(minutes=1)
        with pytest.raises(WorkflowFailed) as caught:
            run.result()
    assert caught.value.error is not None
    assert [cause.type for cause in caught.value.error.causes] == ["perdure.WorkflowTimeout"]


def test_the_clock_of_a_start_that_is_put_off_begins_with_its_first_node() -> None:
    shop = Shop()
    with freeze_time(NOON), Engine(None, shop.workflow) as engine:
        run = engine.start("shop", delay=HOUR)
        engine.advance(hours=1)
        assert run.state is State.WAITING
        assert engine.next_deadline() == NOON + 2 * HOUR


def test_a_crash_at_any_commit_changes_nothing(path: Path) -> None:
    shop = Shop()
    with freeze_time(NOON) as clock, photographs_of(path, lambda: list(shop.log)) as photographs:
        calm = live(shop, clock, path, NOON)
    log = shop.log
    assert len(photographs) == 4
    for number, (files, before, moment) in enumerate(photographs):
        copy = path.with_name(f"died-{number}.db")
        for file, content in zip(files_of(copy), files, strict=True):
            file.write_bytes(content)
        again = Shop()
        with freeze_time(moment) as clock:
            assert live(again, clock, copy, moment) == calm
        assert list(dict.fromkeys([*before, *again.log])) == log


def live(shop: Shop, clock: Clock, path: Path, moment: datetime) -> Any:
    clock.move_to(moment)
    with Engine(path, shop.workflow, durability="normal") as engine:
        engine.start("shop", id="s")
        engine.settle()
        clock.move_to(NOON + HOUR)
        engine.settle()
        execution = engine.run("s").wait(timeout=PATIENCE)
        return execution.state, execution.error, execution.rollback, execution.finished_at


def test_a_put_off_start_keeps_its_time_over_restarts(path: Path) -> None:
    began: list[datetime] = []
    flow = Workflow("later").step("begin", lambda: began.append(datetime.now(UTC)))
    with freeze_time(NOON) as clock:
        with Engine(path, flow) as engine:
            engine.start("later", id="delayed", delay=HOUR)
            engine.start("later", id="at", at=NOON + HOUR / 2)
            engine.settle()
        for minutes in (10, 20):
            clock.move_to(NOON + timedelta(minutes=minutes))
            with Engine(path, flow) as engine:
                engine.settle()
                assert engine.next_deadline() == NOON + HOUR / 2
        with Engine(path, flow) as engine:
            engine.advance(hours=2)
            assert [engine.run(name).state for name in ("at", "delayed")] == [State.COMPLETED] * 2
    assert began == [NOON + HOUR / 2, NOON + HOUR]


def test_a_put_off_start_whose_time_passed_while_the_process_was_down_begins_at_once(path: Path) -> None:
    began: list[str] = []
    flow = Workflow("later").step("begin", lambda ctx: began.append(ctx.execution_id))
    with freeze_time(NOON) as clock:
        with Engine(path, flow) as engine:
            engine.start("later", id="second", delay=HOUR)
            engine.start("later", id="first", at=NOON + HOUR / 2)
        clock.move_to(NOON + 5 * HOUR)
        with Engine(path, flow) as engine:
            engine.settle()
    assert began == ["first", "second"]


@pytest.mark.parametrize("timeout", [0, -1, "an hour", float("inf"), 10**9, True])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any) -> None:
    with pytest.raises(DefinitionError, match="workflow 'w': timeout"):
        Workflow("w", timeout=timeout)


def test_a_block_cannot_have_a_timeout_of_its_own() -> None:
    block = Workflow("block", timeout=60).step("inside", lambda: 1)
    with pytest.raises(DefinitionError, match="has a timeout"):
        Workflow("w").branch(lambda: "a").path("a", block)
