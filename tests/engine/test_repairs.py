"""What operators mend: what is tried again or done by hand, and what becomes of children."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    Engine,
    IllegalTransition,
    InvalidPayload,
    Retry,
    UsageError,
    Workflow,
)
from perdure.testing import restart

from .plant import PATIENCE, Flow, Plant, run, state
from .standings import see_off

# ---- retry


def test_a_retry_gives_the_failed_step_all_its_attempts_and_counts_on(lab: Engine) -> None:
    plant = Plant("b")
    quick = Retry(attempts=2, initial=0)
    assert run(lab, Workflow("w").step("a", plant).step("b", plant, retry=quick).step("c", plant)) == "failed"

    lab.retry("run")
    assert state(lab) == "failed"
    plant.broken.clear()
    lab.retry("run")

    assert state(lab) == "completed"
    assert plant.ran == [("a", 1), ("b", 1), ("b", 2), ("b", 3), ("b", 4), ("b", 5), ("c", 1)]


def test_a_retry_of_a_group_tries_its_failed_strands_and_no_others(lab: Engine) -> None:
    plant = Plant("b", "c")
    group = Workflow("w").parallel(lambda w: w.step("a", plant).step("b", plant, retry=1).step("c", plant, retry=1))
    assert run(lab, group) == "failed"

    plant.broken.clear()
    lab.retry("run")

    assert state(lab) == "completed"
    assert sorted(plant.names) == ["a", "b", "b", "c", "c"]


def test_a_retry_of_a_group_that_was_given_up_early_tries_what_was_stopped_too(lab: Engine) -> None:
    plant = Plant("b")
    group = (
        Workflow("w")
        .parallel(
            lambda w: w.step("b", plant, retry=1).sleep("rest", 3600),
            fail_fast=True,
        )
        .step("last", plant)
    )
    assert run(lab, group) == "failed"

    plant.broken.clear()
    lab.retry("run")
    assert state(lab) == "waiting"
    lab.advance(hours=1)

    assert state(lab) == "completed"
    assert plant.names == ["b", "b", "last"]


def test_a_retry_asks_a_selector_again_that_has_failed(lab: Engine) -> None:
    plant, answers = Plant(), ["nowhere", "left"]
    flow = Workflow("w").step("a", plant).branch(lambda: answers.pop(0)).path("left", lambda w: w.step("l", plant))
    assert run(lab, flow) == "failed"

    lab.retry("run")

    assert state(lab) == "completed"
    assert plant.names == ["a", "l"]


def test_a_retry_gives_a_gate_its_time_anew(lab: Engine) -> None:
    assert run(lab, Workflow("w").wait_for("go", timeout=60)) == "waiting"
    lab.advance(minutes=2)
    assert state(lab) == "failed"

    lab.retry("run")
    lab.advance(seconds=59)
    assert state(lab) == "waiting"
    lab.signal("run", "go", 7)

    assert lab.run("run").result(PATIENCE) == 7


def test_a_retry_gives_a_run_that_was_too_slow_its_time_anew(lab: Engine) -> None:
    assert run(lab, Workflow("w", timeout=60).wait_for("go").step("a", Plant())) == "waiting"
    lab.advance(minutes=2)
    assert state(lab) == "failed"

    lab.retry("run")
    assert state(lab) == "waiting"
    lab.signal("run", "go")

    assert state(lab) == "completed"


def test_a_retry_of_what_was_undone_is_refused_and_a_fork_does_it_again(lab: Engine) -> None:
    plant = Plant("b")
    flow = Workflow("w").step("free", plant).step("a", plant, compensate=plant.undo).step("b", plant, retry=1)
    assert run(lab, flow) == "failed"

    with pytest.raises(IllegalTransition) as refused:
        lab.retry("run")
    assert refused.value.state == "undone"
    plant.broken.clear()
    plant.ran.clear()
    fork = lab.fork("run")

    assert state(lab, fork.id) == "completed"
    assert plant.names == ["a", "b"]  # what was not undone is not done again


# ---- children


def family(plant: Plant) -> tuple[Flow, Flow]:
    child = Workflow("child").step("c1", plant).step("c2", plant, retry=1)
    return Workflow("parent").step("p1", plant).sub_workflow("child").step("p2", plant), child


@pytest.mark.parametrize("crash", ["", "and a crash"])
def test_a_retry_takes_the_failed_child_along(crash: str, lab: Engine) -> None:
    plant = Plant("c2")
    assert run(lab, *family(plant)) == "failed"
    plant.broken.clear()

    lab.retry("run")
    engine = restart(lab) if crash else lab

    assert state(engine) == "completed"
    assert plant.order == ["p1", "c1", "c2", "p2"]
    assert plant.names.count("c2") >= 2
    assert len(engine.list_executions("child")) == 1


def test_a_child_whose_end_was_heeded_is_retried_by_its_parent_alone(lab: Engine) -> None:
    plant = Plant("c2")
    run(lab, *family(plant))
    child = lab.list_executions("child")[0].id

    for verb in (lab.retry, lambda run_id: lab.skip(run_id, "c2")):
        with pytest.raises(UsageError, match="'run'"):
            verb(child)
    assert state(lab, child) == "failed"


def test_a_child_that_was_undone_is_started_anew_by_a_retry(lab: Engine) -> None:
    plant = Plant("c2")
    child = Workflow("child").step("c1", plant, compensate=plant.undo).step("c2", plant, retry=1)
    assert run(lab, Workflow("parent").sub_workflow("child"), child) == "failed"
    plant.broken.clear()

    lab.retry("run")

    assert state(lab) == "completed"
    assert plant.names == ["c1", "c2", "undo c1", "c1", "c2"]
    assert len(lab.list_executions("child")) == 2


@pytest.mark.parametrize("crash", ["", "and a crash"])
def test_a_pause_holds_the_children_too_until_the_parent_is_resumed(crash: str, lab: Engine) -> None:
    plant = Plant()
    child = Workflow("child").wait_for("go").step("c", plant)
    run(lab, Workflow("parent").sub_workflow("child"), child)
    child_id = lab.list_executions("child")[0].id

    lab.pause("run")
    engine = restart(lab) if crash else lab
    engine.settle()
    engine.signal(child_id, "go")
    engine.settle()
    assert plant.names == []
    engine.resume("run")
    if crash:
        engine = restart(engine)

    assert state(engine) == "completed"
    assert plant.names == ["c"]


def test_a_child_that_was_paused_for_itself_stays_so_when_its_parent_is_resumed(lab: Engine) -> None:
    run(lab, Workflow("parent").sub_workflow("child"), Workflow("child").wait_for("go"))
    child = lab.list_executions("child")[0].id
    lab.pause(child)

    lab.pause("run")
    lab.resume("run")
    lab.settle()

    execution = lab.get_execution(child)
    assert execution is not None
    assert execution.paused


def test_children_are_terminated_with_their_parent(lab: Engine) -> None:
    plant = Plant()
    child = Workflow("child").step("c", plant, compensate=plant.undo).wait_for("go")
    run(lab, Workflow("parent").step("p", plant, compensate=plant.undo).sub_workflow("child"), child)

    lab.terminate("run")
    engine = restart(lab)

    assert state(engine) == "cancelled"
    assert state(engine, engine.list_executions("child")[0].id) == "cancelled"
    assert plant.names == ["p", "c"]


# ---- by hand


@pytest.mark.parametrize(("verb", "undone"), [(Engine.skip, []), (Engine.complete_step, ["undo a"])])
def test_a_step_that_was_done_elsewhere_is_undone_and_a_skipped_one_is_not(
    verb: Callable[..., None],
    undone: list[str],
    lab: Engine,
) -> None:
    plant = Plant("a", "b")
    flow = Workflow("w").step("a", plant, compensate=plant.undo, retry=1, on_exhausted="park")
    assert run(lab, flow.step("b", plant, retry=1)) == "waiting"

    verb(lab, "run", "a", result=1)

    assert state(lab) == "failed"
    assert plant.names[2:] == undone


def test_what_a_handler_returns_after_its_step_was_skipped_is_thrown_away(lab: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        go.wait(PATIENCE)
        return "too late"

    told = threading.Event()
    lab.on("step:late", lambda event: told.set())
    lab.register(Workflow("w").step("slow", slow).map("end", lambda ctx: ctx.steps["slow"]))
    handle = lab.start("w", id="run")
    assert began.wait(PATIENCE)

    lab.skip("run", "slow", result="by hand")
    go.set()

    assert handle.result(PATIENCE) == "by hand"
    assert told.wait(PATIENCE)
    lab.close()
    see_off(lab)


def test_a_branch_is_settled_by_one_of_its_labels_only(lab: Engine) -> None:
    def lost() -> str:
        msg = "lost"
        raise ValueError(msg)

    plant = Plant()
    flow = Workflow("w").branch(lost, name="way").path("left", lambda w: w.step("l", plant))
    assert run(lab, flow) == "failed"

    with pytest.raises(InvalidPayload, match="up"):
        lab.skip("run", "way", result="up")
    assert state(lab) == "failed"
    lab.skip("run", "way", result="left")

    assert state(lab) == "completed"
    assert plant.names == ["l"]


def test_a_cancelled_run_waits_for_no_operator(lab: Engine) -> None:
    plant = Plant("b")
    flow: Flow = Workflow("w", on_exhausted="park").step("a", plant, compensate=plant.undo)
    assert run(lab, flow.step("b", plant, retry=1)) == "waiting"

    assert lab.cancel("run")

    assert state(lab) == "cancelled"
    assert lab.incidents() == []
    assert plant.names[2:] == ["undo a"]


def test_a_cancel_says_whether_it_was_the_one(lab: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        go.wait(PATIENCE)

    lab.register(Workflow("w").step("slow", slow))
    handle = lab.start("w", id="run")
    assert began.wait(PATIENCE)

    assert [handle.cancel(by="ada"), handle.cancel(by="bob")] == [True, False]
    go.set()
    assert state(lab) == "cancelled"
    with pytest.raises(IllegalTransition) as refused:
        handle.cancel()
    assert refused.value.state == "cancelled"
    assert [(entry.verb, entry.by) for entry in lab.audit("run")] == [("cancel", "ada")]


def test_a_deadline_that_passes_in_a_pause_has_passed_and_its_consequences_wait(lab: Engine) -> None:
    plant = Plant()
    flow = Workflow("w").step("a", plant, compensate=plant.undo).wait_for("go", timeout=60)
    run(lab, flow)
    lab.pause("run")
    lab.advance(minutes=2)
    assert state(lab) == "compensating"
    assert plant.names == ["a"]

    lab.resume("run")

    assert state(lab) == "failed"
    assert plant.names == ["a", "undo a"]


def test_a_run_whose_time_is_up_in_a_pause_hears_of_a_child_that_ended_while_nobody_drove_it(
    lab: Engine, frozen: Any, location: str
) -> None:
    began, go = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        go.wait(PATIENCE)

    child = Workflow("child").step("slow", slow)
    lab.register(child, Workflow("parent", timeout=60).sub_workflow("child"))
    lab.start("parent", id="run")
    assert began.wait(PATIENCE)
    lab.pause("run")
    frozen.tick(61)
    with pytest.raises(IllegalTransition):  # it is stopping: its child, with the handler in flight, has to end first
        lab.resume("run")
    lab.cancel(lab.list_executions("child")[0].id)

    lab.abandon()
    go.set()
    with Engine(location, child, durability="normal") as heir:
        heir.settle()
        [ended] = heir.list_executions("child")
    engine = restart(lab)

    assert ended.state == "cancelled"
    assert state(engine) == "failed"


# ---- the trail


@pytest.mark.on_a_file
def test_the_trail_goes_with_its_run(lab: Engine, frozen: Any) -> None:
    run(lab, Workflow("w").wait_for("go"))
    lab.pause("run", by="ada", reason="lunch")
    lab.cancel("run")
    lab.settle()
    assert [(entry.verb, entry.by, entry.reason) for entry in lab.audit("run")] == [
        ("pause", "ada", "lunch"),
        ("cancel", None, "cancelled"),
    ]

    frozen.tick(1)
    assert lab.archive() == 1

    rows = lab._machine.exclusively(lambda: lab._machine.store._database.consult(archived))
    assert rows == [(2, 0)]


def archived(connection: Any) -> list[Any]:
    sql = (
        "SELECT json_array_length(audit), (SELECT count(*) FROM workflow_audit)"
        " FROM workflow_executions_archive WHERE execution_id = 'run'"
    )
    return list(connection.execute(sql))
