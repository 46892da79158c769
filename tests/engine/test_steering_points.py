"""Every verb at every point of a run, with a crash right after it and without: one outcome, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from perdure import Engine, Run, StepNotOpen
from perdure.dsl.legality import LEGAL_VERBS, Standing, Verb

from .standings import Outside, Scene, see_off


class Point(NamedTuple):
    """Where a run is when an operator comes, and the node that it stands at."""

    bring: Callable[[Scene], None]
    standing: Standing
    step: str


def before_the_first_step(scene: Scene) -> None:
    scene.engine.start("plain", id="run", delay=60)
    scene.engine.settle()


def in_line(scene: Scene) -> None:
    scene.engine.register(scene.limited("limited"), scene.limited("holder"))
    scene.engine.start("holder")
    scene.engine.settle()
    scene.engine.start("limited", id="run")
    scene.engine.settle()


def before_its_token(scene: Scene) -> None:
    scene.engine.register(scene.rated(), scene.spender())
    scene.engine.start("spender")
    scene.engine.settle()
    scene.engine.start("rated", id="run")
    scene.engine.settle()


def in_a_step(scene: Scene) -> None:
    scene.bring(Standing.RUNNING)


def in_a_retry_delay(scene: Scene) -> None:
    scene.outside.broken.add("work")
    scene.engine.start("plain", id="run")
    scene.engine.settle()
    scene.outside.broken.clear()


def in_a_wait(scene: Scene) -> None:
    scene.bring(Standing.WAITING)


def in_compensation(scene: Scene) -> None:
    scene.bring(Standing.COMPENSATING)
    scene.outside.broken.clear()


def after_a_failure(scene: Scene) -> None:
    scene.bring(Standing.FAILED)
    scene.outside.broken.clear()


def in_an_incident(scene: Scene) -> None:
    scene.bring(Standing.PARKED)
    scene.outside.broken.clear()


def in_an_incident_of_the_rollback(scene: Scene) -> None:
    scene.bring(Standing.ROLLBACK_PARKED)
    scene.outside.broken.clear()


def after_a_rollback_that_failed(scene: Scene) -> None:
    scene.bring(Standing.PARTLY_UNDONE)
    scene.outside.broken.clear()


def after_the_end(scene: Scene) -> None:
    scene.bring(Standing.COMPLETED)


POINTS = {
    "before the first step": Point(before_the_first_step, Standing.WAITING, "__start"),
    "in line": Point(in_line, Standing.WAITING, "__slot"),
    "before its token": Point(before_its_token, Standing.WAITING, "work"),
    "in a step": Point(in_a_step, Standing.RUNNING, "work"),
    "in a retry delay": Point(in_a_retry_delay, Standing.RUNNING, "work"),
    "in a wait": Point(in_a_wait, Standing.WAITING, "__waitFor:go"),
    "in compensation": Point(in_compensation, Standing.COMPENSATING, "first"),
    "in an incident": Point(in_an_incident, Standing.PARKED, "work"),
    "in an incident of the rollback": Point(in_an_incident_of_the_rollback, Standing.ROLLBACK_PARKED, "first"),
    "after a failure": Point(after_a_failure, Standing.FAILED, "last"),
    "after a rollback that failed": Point(after_a_rollback_that_failed, Standing.PARTLY_UNDONE, "first"),
    "after the end": Point(after_the_end, Standing.COMPLETED, "last"),
}

COMPLETED, FAILED = "completed", "failed, undone: complete"
GONE, UNDONE = "cancelled, undone: none", "cancelled, undone: complete"
PARTLY = "failed, undone: partial"
REFUSED = "completed, since it was refused"
"""No step is open, and a slot cannot be given by hand."""

OUTCOMES: dict[str, dict[Verb, str]] = {
    "before the first step": {
        Verb.CANCEL: GONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
    },
    "in line": {
        Verb.CANCEL: GONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: REFUSED,
        Verb.COMPLETE_STEP: REFUSED,
    },
    "before its token": {
        Verb.CANCEL: UNDONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
    },
    "in a step": {
        Verb.CANCEL: UNDONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
    },
    "in a retry delay": {
        Verb.CANCEL: UNDONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
    },
    "in a wait": {
        Verb.CANCEL: UNDONE,
        Verb.TERMINATE: GONE,
        Verb.PAUSE: COMPLETED,
        Verb.FORK: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
    },
    "in compensation": {
        Verb.TERMINATE: "cancelled, undone: partial",
        Verb.PAUSE: FAILED,
        Verb.FORK: FAILED,
        Verb.SKIP: PARTLY,
        Verb.COMPLETE_STEP: FAILED,
    },
    "in an incident": {
        Verb.CANCEL: UNDONE,
        Verb.TERMINATE: GONE,
        Verb.RETRY: COMPLETED,
        Verb.RESOLVE: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
        Verb.PAUSE: "waiting",
        Verb.FORK: "waiting",
    },
    "in an incident of the rollback": {
        Verb.TERMINATE: "cancelled, undone: partial",
        Verb.RETRY: FAILED,
        Verb.RESOLVE: FAILED,
        Verb.SKIP: PARTLY,
        Verb.COMPLETE_STEP: FAILED,
        Verb.PAUSE: "compensating",
        Verb.FORK: "compensating",
    },
    "after a failure": {
        Verb.RETRY: COMPLETED,
        Verb.SKIP: COMPLETED,
        Verb.COMPLETE_STEP: COMPLETED,
        Verb.FORK: "failed, undone: none",
    },
    "after a rollback that failed": {Verb.RETRY: FAILED, Verb.FORK: PARTLY},
    "after the end": {Verb.FORK: COMPLETED},
}


def ask(verb: Verb, engine: Engine, point: Point) -> Run[Any] | None:
    """Ask for it; return the fork, if that is what was asked."""
    match verb:
        case Verb.CANCEL:
            assert engine.cancel("run", by="ada")
        case Verb.PAUSE:
            engine.pause("run", by="ada")
        case Verb.RETRY:
            engine.retry("run", by="ada")
        case Verb.SKIP:
            engine.skip("run", point.step, result="by hand", by="ada")
        case Verb.COMPLETE_STEP:
            engine.complete_step("run", point.step, result="by hand", by="ada")
        case Verb.RESOLVE:
            assert engine.resolve("run", "retry", by="ada") == 1
        case Verb.TERMINATE:
            engine.terminate("run", by="ada")
        case _:
            return engine.fork("run", at="first" if point.step == "last" else None, new_id="fork", by="ada")
    return None


def go_on(engine: Engine, clock: Any) -> None:
    """Let everything happen that will, with time and the signal that a run waits for."""
    for _ in range(10):
        engine.settle()
        runs = [run for run in engine.list_executions() if not run.finished and not run.paused]
        gates = [run.id for run in runs for wait in run.waiting_for if wait.event == "go"]
        for run_id in gates:
            engine.signal(run_id, "go")
        due = engine.next_deadline()
        if gates or due is None or not runs:
            continue
        clock.move_to(max(due, datetime.now(UTC)))
    engine.settle()


def outcome(engine: Engine, id: str) -> str:
    run = engine.get_execution(id)
    assert run is not None
    return str(run.state) if run.rollback is None else f"{run.state}, undone: {run.rollback}"


CASES = [(point, verb) for point in POINTS for verb in OUTCOMES[point]]


def test_every_verb_that_is_legal_at_a_point_has_an_outcome() -> None:
    # A repeated cancel, and a resume, need another verb before them; the tests of pauses and of races have those.
    assert {point: set(verbs) for point, verbs in OUTCOMES.items()} == {
        name: set(LEGAL_VERBS[point.standing]) for name, point in POINTS.items()
    }


@pytest.mark.parametrize("crash", ["", "and a crash"])
@pytest.mark.parametrize(("where", "verb"), CASES, ids=[f"{verb} {where}" for where, verb in CASES])
def test_a_wish_has_one_outcome_whatever_comes_after_it(
    where: str, verb: Verb, crash: str, lab: Engine, frozen: Any
) -> None:
    point, scene = POINTS[where], Scene(lab)
    point.bring(scene)
    recorded = completed(lab)
    engine, done = lab, list(scene.outside.done)

    refused = OUTCOMES[where][verb] is REFUSED
    fork = None
    with pytest.raises(StepNotOpen) if refused else nullcontext():
        fork = ask(verb, engine, point)

    if crash:
        engine.abandon()
    scene.outside.open()
    if crash:
        see_off(lab)
        engine = lab.reopen()
    try:
        if verb is Verb.PAUSE:
            assert_nothing_begins(engine, scene.outside, frozen)
            engine.resume("run")
        go_on(engine, frozen)

        assert outcome(engine, "run") == (COMPLETED if refused else OUTCOMES[where][verb])
        if refused:
            assert engine.audit("run") == []
            return
        assert [entry.by for entry in engine.audit("run")][-1 - (verb is Verb.PAUSE)] == "ada"
        if fork is not None:
            assert outcome(engine, "fork") == COMPLETED
        else:  # nothing that was recorded was done again
            assert not recorded & set(scene.outside.done[len(done) :])
    finally:
        engine.close()
        see_off(engine)


def completed(engine: Engine) -> set[str]:
    run = engine.get_execution("run")
    assert run is not None
    return {name for name, step in run.steps.items() if step.status == "completed"}


def assert_nothing_begins(engine: Engine, outside: Outside, clock: Any) -> None:
    engine.settle()
    before = list(outside.done)
    go_on(engine, clock)
    clock.tick(120)
    engine.settle()
    assert outside.done == before
    run = engine.get_execution("run")
    assert run is not None
    assert run.paused


@pytest.mark.parametrize("where", [name for name, point in POINTS.items() if Verb.SKIP in LEGAL_VERBS[point.standing]])
def test_a_step_at_which_the_run_does_not_stand_cannot_be_settled(where: str, lab: Engine) -> None:
    scene = Scene(lab)
    POINTS[where].bring(scene)
    with pytest.raises(StepNotOpen) as refused:
        lab.skip("run", "nowhere")
    assert refused.value.open == tuple(step for step in [POINTS[where].step] if step != "__slot")
    assert lab.audit("run") == []
    scene.outside.open()
    lab.settle()
