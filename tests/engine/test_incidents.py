"""Incidents: what is parked for somebody to find out, and how that ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from perdure import (
    Compensation,
    Engine,
    StepNotOpen,
    Workflow,
)
from perdure.testing import assert_events, record, restart

from .plant import PATIENCE, Flow, Plant, run, state
from .standings import see_off


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
