"""Every verb in every standing: what the table says is legal is done, all else is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure import Engine, IllegalTransition
from perdure.dsl.legality import LEGAL_VERBS, Standing, Verb

from .standings import Scene, see_off

STEPS = {
    Standing.RUNNING: "work",
    Standing.WAITING: "__waitFor:go",
    Standing.PAUSED: "work",
    Standing.PARKED: "work",
    Standing.FAILED: "last",
}

VERBS: dict[Verb, Callable[[Engine, str], Any]] = {
    Verb.CANCEL: lambda engine, step: engine.cancel("run"),
    Verb.PAUSE: lambda engine, step: engine.pause("run"),
    Verb.RESUME: lambda engine, step: engine.resume("run"),
    Verb.RETRY: lambda engine, step: engine.retry("run"),
    Verb.SKIP: lambda engine, step: engine.skip("run", step),
    Verb.COMPLETE_STEP: lambda engine, step: engine.complete_step("run", step),
    Verb.RESOLVE: lambda engine, step: engine.resolve("run", "retry"),
    Verb.FORK: lambda engine, step: engine.fork("run", at="first"),
    Verb.TERMINATE: lambda engine, step: engine.terminate("run"),
}


@pytest.fixture
def scene(lab: Engine) -> Any:
    scene = Scene(lab)
    yield scene
    scene.outside.open()
    lab.close()
    see_off(lab)


def test_the_table_has_a_row_for_every_standing_and_a_cell_for_every_verb() -> None:
    assert set(LEGAL_VERBS) == set(Standing)
    assert set(VERBS) == set(Verb)


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("standing", Standing)
def test_a_verb_does_what_its_cell_says(standing: Standing, verb: Verb, scene: Scene, lab: Engine) -> None:
    scene.bring(standing)
    before, asked = looks(lab), len(lab.audit("run"))

    legal = verb in LEGAL_VERBS[standing]
    if legal:
        assert VERBS[verb](lab, STEPS.get(standing, "first")) is not False or standing is Standing.STOPPING
        repeated_cancel = standing is Standing.STOPPING and verb is Verb.CANCEL
        assert len(lab.audit("run")) == asked + (not repeated_cancel)
        return
    with pytest.raises(IllegalTransition) as refused:
        VERBS[verb](lab, STEPS.get(standing, "first"))
    assert refused.value.state == standing
    assert str(verb) in str(refused.value)
    assert looks(lab) == before
    assert len(lab.audit("run")) == asked


def looks(engine: Engine) -> Any:
    run = engine.get_execution("run")
    assert run is not None
    return run.state, run.rollback, run.paused, run.error, dict(run.steps)
