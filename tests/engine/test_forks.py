"""Forks: what a new run begins with that another one has recorded."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import (
    DuplicateExecution,
    Engine,
    UsageError,
    Workflow,
)
from perdure.testing import assert_events, record, restart

from .plant import PATIENCE, Flow, Plant, run, state


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
    assert plant.order == ["each:1", "each:2", "z"]
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
