"""Recorded scenarios come to the same end on Temporal as on an engine of our own, and their histories replay."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perdure import DefinitionError, Engine

from .conftest import MakeEngine
from .playing import PLAYABLE, Stage, play, workflows_of
from .replaying import replay

RECORDING = Path(__file__).parents[1] / "golden" / "reference.json"

SOME = {
    "linear_three_steps",
    "step_returns_null_false_zero",
    "throw_non_error_object",
    "comp_loop_iterations",
    "comp_foreach_later_failure",
    "comp_context",
    "pivot_blocks_compensation",
    "branch_nested",
    "parallel_with_waitfor",
    "dowhile_three",
    "loop_with_waitfor",
    "foreach_non_array_undefined",
    "schema_output_coerces",
    "sub_nested_two_levels",
    "same_name_in_two_paths",
    "wait_timeout_zero",
    "unicode_and_odd_names",
    "signal_completed_execution",
}


def playable() -> list[dict[str, Any]]:
    """Return the scenarios that concern no store and no process of an engine's, and whose workflows are sound."""
    scenarios = json.loads(RECORDING.read_text())["scenarios"]
    return [scenario for scenario in scenarios if is_playable(scenario["spec"])]


def is_playable(spec: dict[str, Any]) -> bool:
    actions = {action["do"] for phase in spec["phases"] for action in phase["actions"]}
    if len(spec["phases"]) > 1 or not actions <= PLAYABLE or "kill9" in json.dumps(spec) or spec.get("engine"):
        return False
    if is_a_race(spec["phases"][0]["actions"]):
        return False
    try:
        for workflow in workflows_of(spec, Stage()):
            workflow.definition()
    except DefinitionError:
        return False
    return True


def is_a_race(actions: list[dict[str, Any]]) -> bool:
    """Tell whether a signal is sent on the heels of another: whether it comes too late is for nobody to say."""
    return any(first["do"] == second["do"] == "signal" for first, second in pairwise(actions))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    wanted = metafunc.config.getoption("temporal", "some")
    scenarios = [scenario for scenario in playable() if wanted == "all" or scenario["name"] in SOME]
    metafunc.parametrize("scenario", [pytest.param(scenario, id=scenario["name"]) for scenario in scenarios])


def test_a_recorded_scenario_ends_on_temporal_as_on_an_engine_of_our_own(
    scenario: dict[str, Any], temporal: MakeEngine
) -> None:
    spec = scenario["spec"]
    here, there = Stage(), Stage()
    with Engine(None, *workflows_of(spec, here), durability="normal") as engine:
        ours, _ = play(engine, spec)

    cluster = temporal(*workflows_of(spec, there))
    theirs, ids = play(cluster, spec)

    assert theirs == ours
    assert sorted(there.lines) == sorted(here.lines)
    replay(cluster, ids)
