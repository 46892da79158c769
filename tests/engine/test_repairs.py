"""What operators mend: what is tried again and what is not, what a fork begins with, and what becomes of children."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    Compensation,
    Context,
    DuplicateExecution,
    Engine,
    IllegalTransition,
    InvalidPayload,
    Retry,
    StepNotOpen,
    UsageError,
    Workflow,
)
from perdure.testing import assert_events, record, restart

from .standings import see_off

Flow = Workflow[Any, Any]
PATIENCE = 10


class Plant:
    """Machines that are broken or not; knows what has run, by step and attempt."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.ran: list[tuple[str, int]] = []

    def __call__(self, ctx: Context[Any]) -> str:
        self.ran.append((ctx.step_name, ctx.attempt))
        if ctx.step_name in self.broken:
            msg = "broken"
            raise ValueError(msg)
        return ctx.step_name

    def undo(self, ctx: Context[Any]) -> None:
        self.ran.append((f"undo {ctx.step_name}", ctx.attempt))
        if f"undo {ctx.step_name}" in self.broken:
            msg = "stuck"
            raise ValueError(msg)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.ran]


def run(engine: Engine, *workflows: Flow, **options: Any) -> str:
    """Start the first workflow and let everything happen; return the state."""
    engine.register(*workflows)
    engine.start(workflows[0].name, id="run", **options)
    engine.settle()
    return state(engine)


def state(engine: Engine, run_id: str = "run") -> str:
    engine.settle()
    execution = engine.get_execution(run_id)
    assert execution is not None
    return str(execution.state)


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
    assert plant.names == ["p1", "c1", "c2", "c2", "p2"]
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


# ---- parking


def test_an_interrupted_step_that_says_so_is_parked_for_somebody_to_find_out(lab: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    def pay() -> None:
        began.set()
        go.wait(PATIENCE)

    lab.register(Workflow("w").step("pay", pay, on_interrupted="park").map("end", lambda ctx: ctx.steps["pay"]))
    lab.start("w", id="run")
    assert began.wait(PATIENCE)
    lab.abandon()
    go.set()
    see_off(lab)
    engine = restart(lab)
    engine.settle()

    (incident,) = engine.incidents()
    assert (incident.step, incident.attempts, incident.compensation) == ("pay", 1, False)
    assert incident.error is not None
    assert incident.error.type == "perdure.StepInterrupted"
    engine.complete_step("run", "pay", result="the bank says it was paid")
    assert engine.run("run").result(PATIENCE) == "the bank says it was paid"
    assert engine.incidents() == []


def test_a_workflows_word_on_parking_holds_for_its_steps_unless_they_say_otherwise(lab: Engine) -> None:
    plant = Plant("a:0", "b")
    both = (
        Workflow("w", on_exhausted="park")
        .for_each(lambda: [1], "a", plant, retry=1)
        .step("b", plant, retry=1, on_exhausted="fail")
    )
    assert run(lab, both) == "waiting"
    assert [incident.step for incident in lab.incidents()] == ["a:0"]

    lab.resolve("run", "skip")

    assert state(lab) == "failed"


def test_a_fragments_word_on_parking_comes_along(lab: Engine) -> None:
    careful = Workflow("careful", on_exhausted="park").step("a", Plant("a"), retry=1)
    assert run(lab, Workflow("w").branch(lambda: "x").path("x", careful)) == "waiting"


@pytest.mark.parametrize(
    ("how", "rollback", "ran"),
    [
        ("retry", "complete", ["undo b", "undo b", "undo a"]),
        ("complete", "complete", ["undo b", "undo a"]),
        ("skip", "partial", ["undo b", "undo a"]),
        ("fail", "partial", ["undo b", "undo a"]),
    ],
)
def test_a_parked_compensation_holds_the_rollback_until_it_is_resolved(
    how: Any, rollback: str, ran: list[str], lab: Engine
) -> None:
    plant = Plant("c", "undo b")
    flow: Flow = Workflow("w").step("a", plant, compensate=plant.undo)
    flow = flow.step("b", plant, compensate=Compensation(plant.undo, retry=1, on_exhausted="park"))
    record(lab)
    assert run(lab, flow.step("c", plant, retry=1)) == "compensating"
    plant.broken.clear()
    engine = restart(lab)
    engine.settle()
    (incident,) = engine.incidents("w")
    assert (incident.step, incident.compensation) == ("b", True)

    assert engine.resolve(incident, how, by="ada") == 1

    assert state(engine) == "failed"
    assert engine.run("run").wait(PATIENCE).rollback == rollback
    assert plant.names[3:] == ran


def test_a_run_that_waits_for_an_operator_is_no_poison_however_often_the_process_dies(lab: Engine) -> None:
    plant = Plant("b", "undo a")
    undo = Compensation(plant.undo, retry=1, on_exhausted="park")
    assert run(lab, Workflow("w").step("a", plant, compensate=undo).step("b", plant, retry=1)) == "compensating"
    engine = lab
    for _ in range(5):
        engine = restart(engine)
        engine.settle()

    assert state(engine) == "compensating"
    assert len(engine.incidents()) == 1


def test_incidents_are_resolved_in_bulk_and_those_that_have_ended_are_passed_over(lab: Engine) -> None:
    plant = Plant("a")
    lab.register(Workflow("w").step("a", plant, retry=1, on_exhausted="park"))
    for number in range(3):
        lab.start("w", id=f"run-{number}")
    lab.settle()
    incidents = lab.incidents()
    assert len(incidents) == 3
    lab.terminate("run-1")

    assert lab.resolve([*incidents, "nobody"], "skip", result=5) == 2

    lab.settle()
    assert [lab.run(f"run-{number}").state for number in range(3)] == ["completed", "cancelled", "completed"]
    assert lab.incidents() == []


def test_an_incident_is_told_of_and_so_is_how_it_ends(lab: Engine) -> None:
    record(lab)
    run(lab, Workflow("w").step("a", Plant("a"), retry=1, on_exhausted="park"))
    lab.resolve("run", "skip")
    assert_events(
        lab.run("run"),
        *("workflow:started", "step:started a", "step:parked a", "workflow:waiting"),
        *("step:skipped a", "workflow:completed"),
    )


def test_a_resolution_of_a_step_without_an_incident_is_refused(lab: Engine) -> None:
    run(lab, Workflow("w").step("a", Plant("a"), retry=1, on_exhausted="park"))
    with pytest.raises(StepNotOpen) as refused:
        lab.resolve("run", "retry", step="b")
    assert refused.value.open == ("a",)


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


# ---- forks


def chain(plant: Plant) -> Flow:
    return (
        Workflow("w")
        .step("a", plant, compensate=plant.undo)
        .for_each(lambda: [1, 2, 3], "each", plant)
        .step("z", lambda ctx: [ctx.input, plant(ctx), ctx.steps["a"], ctx.steps["each:1"]], retry=1)
    )


def test_a_fork_begins_at_its_step_with_what_was_recorded_before(lab: Engine) -> None:
    plant = Plant()
    assert run(lab, chain(plant), input=1) == "completed"
    plant.ran.clear()

    fork = lab.fork("run", at="each:1", input=2, steps={"a": "other"}, new_id="fork", by="ada")
    engine = restart(lab)

    assert state(engine, "fork") == "completed"
    assert engine.run("fork").result(PATIENCE) == [2, "z", "other", "each:1"]
    assert plant.names == ["each:1", "each:2", "z"]
    assert fork.id == "fork"
    forked = engine.get_execution("fork")
    assert forked is not None
    assert forked.forked_from == "run"
    (entry,) = engine.audit("run")
    assert (entry.verb, entry.by, entry.step, entry.detail) == ("fork", "ada", "each:1", {"fork": "fork"})


def test_a_fork_tells_where_it_comes_from_and_numbers_its_events_from_one(lab: Engine) -> None:
    plant = Plant()
    recorder = record(lab)
    run(lab, Workflow("w").step("a", plant).step("b", plant))
    fork = lab.fork("run", at="b")
    lab.settle()
    assert [event.sequence for event in recorder.events(fork)] == [1, 2, 3, 4, 5]
    assert_events(
        fork, "workflow:started", "workflow:forked", "step:started b", "step:completed b", "workflow:completed"
    )


@pytest.mark.parametrize(("source", "undone"), [("completed", []), ("failed", ["undo a"])])
def test_a_fork_undoes_what_it_was_given_only_if_its_source_cannot(source: str, undone: list[str], lab: Engine) -> None:
    plant = Plant(*(["b"] if source == "failed" else []))
    flow = Workflow("w").step("a", plant, compensate=plant.undo).step("b", plant, retry=1, on_exhausted="park")
    run(lab, flow)
    if source == "failed":
        lab.terminate("run")
    plant.broken.add("b")
    plant.ran.clear()

    fork = lab.fork("run", at="b")
    lab.settle()
    lab.resolve(fork.id, "fail")

    assert state(lab, fork.id) == "failed"
    assert plant.names == ["b", *undone]


def test_a_fork_may_be_given_what_its_source_has_not_come_to(lab: Engine) -> None:
    plant = Plant("b")
    run(lab, Workflow("w").step("a", plant).step("b", plant, retry=1).step("c", plant))
    fork = lab.fork("run", steps={"b": "given", "c": "too"})
    assert state(lab, fork.id) == "completed"
    assert fork.result(PATIENCE) == "too"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"at": "aa"}, "did you mean 'a'"),
        ({"at": "z", "steps": {"nothing": 1}}, "'nothing'"),
        ({}, "at="),
        ({"at": "in"}, "do_until"),
        ({"at": "unreached"}, "not come to"),
    ],
)
def test_a_fork_that_makes_no_sense_is_refused(options: dict[str, Any], says: str, lab: Engine) -> None:
    plant = Plant()
    flow = (
        Workflow("w")
        .step("a", plant)
        .do_until(lambda ctx, turn: turn == 2, lambda w: w.step("in", plant))
        .branch(lambda: "x")
        .path("x", lambda w: w.step("z", plant))
        .path("y", lambda w: w.step("unreached", plant))
    )
    assert run(lab, flow) == "completed"
    with pytest.raises(UsageError, match=says):
        lab.fork("run", **options)
    assert lab.audit("run") == []


def test_a_fork_does_not_take_the_id_of_another_run(lab: Engine) -> None:
    run(lab, Workflow("w").step("a", Plant()))
    with pytest.raises(DuplicateExecution):
        lab.fork("run", at="a", new_id="run")


# ---- the trail


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
