"""The comparison itself: what would pass unseen if it were blind.

An outcome that agrees with a recording is made of the recording; then one thing at a time is changed in it, and each
change must be found.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .comparison import differences
from .conftest import RECORDING
from .differences import DOCUMENTED, expected

SCENARIOS = {scenario["name"]: scenario for scenario in json.loads(RECORDING.read_text(encoding="utf-8"))["scenarios"]}
SAGA = SCENARIOS["comp_context"]
RECORDED = SAGA["outcome"]["2.9.5"] | {"version": "2.9.5"}
COMPENSATIONS = {"compensated": "completed", "compensation-failed": "failed"}


def agreeing(recorded: dict[str, Any]) -> dict[str, Any]:
    """Say what a recording of 2.9.5 says, as we would say it."""
    events = copy.deepcopy(recorded["events"])
    for run in events.values():
        run.sort(key=lambda event: event["type"] == "workflow:failed")
    return {
        "events": events,
        "event_counts_all_runs": Counter(),
        "log": list(recorded.get("log", ())),
        "final": {label: described(execution) for label, execution in recorded["final"].items()},
        "snapshots": {},
        "api": copy.deepcopy(recorded.get("api", [])),
        "listener_saw": {},
        "process_exit": [],
        "retry_gaps": [],
    }


def described(execution: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: copy.deepcopy(execution[key]) for key in ("state", "workflowName", "input", "signals")},
        "error": execution.get("failureReason"),
        "rollback": "complete" if "failureReason" in execution else None,
        "hasParent": False,
        "steps": {name: step_described(step) for name, step in execution["steps"].items()},
    }


def step_described(step: dict[str, Any]) -> dict[str, Any]:
    outcome, *_ = step.get("compensation", (None,))
    wanted = {key: step.get(key) for key in ("status", "result", "error", "attempts")}
    return wanted | {"compensation": COMPENSATIONS.get(outcome)}


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "an event is missing": lambda ours: ours["events"]["r"].pop(3),
    "an event came twice": lambda ours: ours["events"]["r"].insert(3, ours["events"]["r"][3]),
    "two events changed places": lambda ours: ours["events"]["r"].insert(2, ours["events"]["r"].pop(4)),
    "the terminal event is not the last": lambda ours: ours["events"]["r"].insert(9, ours["events"]["r"].pop()),
    "another run has events": lambda ours: ours["events"].update(other=[{"type": "workflow:started"}]),
    "an event is of another step": lambda ours: ours["events"]["r"][1].update(step="b"),
    "an attempt has another number": lambda ours: ours["events"]["r"][1].update(attempt=2),
    "more attempts are allowed": lambda ours: ours["events"]["r"][1].update(max=4),
    "an event tells another result": lambda ours: ours["events"]["r"][2].update(result={"id": 2}),
    "an event tells another payload": lambda ours: ours["events"]["r"][4].update(payload=None),
    "an event tells another input": lambda ours: ours["events"]["r"][0].update(input={}),
    "an event tells another error": lambda ours: ours["events"]["r"][8].update(error="Error: bang"),
    "an event tells no error": lambda ours: ours["events"]["r"][8].pop("error"),
    "a side effect is missing": lambda ours: ours["log"].pop(),
    "side effects changed places": lambda ours: ours["log"].reverse(),
    "a side effect saw something else": lambda ours: ours["log"].__setitem__(1, "undo a own=2 b=2 inp=K sig=true"),
    "the run ended otherwise": lambda ours: ours["final"]["r"].update(state="completed"),
    "the run is gone": lambda ours: ours["final"].update(r=None),
    "the run has another input": lambda ours: ours["final"]["r"].update(input={"k": "L"}),
    "a signal is gone": lambda ours: ours["final"]["r"]["signals"].clear(),
    "the run failed for another reason": lambda ours: ours["final"]["r"].update(error="Error: bang"),
    "the rollback is called partial": lambda ours: ours["final"]["r"].update(rollback="partial"),
    "a step is gone": lambda ours: ours["final"]["r"]["steps"].pop("b"),
    "there is one more step": lambda ours: ours["final"]["r"]["steps"].update(d=ours["final"]["r"]["steps"]["a"]),
    "a step has another status": lambda ours: ours["final"]["r"]["steps"]["c"].update(status="completed"),
    "a step has another result": lambda ours: ours["final"]["r"]["steps"]["a"].update(result={"id": True}),
    "a step took more attempts": lambda ours: ours["final"]["r"]["steps"]["a"].update(attempts=2),
    "a step has another error": lambda ours: ours["final"]["r"]["steps"]["c"].update(error="Error: bang"),
    "a step was not undone": lambda ours: ours["final"]["r"]["steps"]["a"].update(compensation=None),
    "a call raised": lambda ours: ours["api"][0].update(error="UsageError: no"),
    "a call returned something else": lambda ours: ours["api"][0].update(ok=1),
    "a call is missing": lambda ours: ours["api"].clear(),
    "a listener heard something": lambda ours: ours["listener_saw"].update(l1=["r step:started a"]),
}


def test_an_outcome_that_says_what_the_recording_says_has_no_differences() -> None:
    assert differences(SAGA["spec"], RECORDED, agreeing(RECORDED)) == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_found(change: Callable[[dict[str, Any]], object]) -> None:
    ours = agreeing(RECORDED)

    change(ours)

    assert differences(SAGA["spec"], RECORDED, ours)


def test_a_process_that_ended_otherwise_is_found() -> None:
    recorded = RECORDED | {"process_exit": [-9, 0]}

    assert differences(SAGA["spec"], recorded, agreeing(RECORDED) | {"process_exit": [-9, 1]})


@pytest.mark.parametrize("gaps", [[], [(1, 500), (2, 1499), (3, 1500)], [(1, 499)], [(1, 751)], [(2, 750)]])
def test_a_delay_of_another_length_is_found(gaps: list[tuple[int, float]]) -> None:
    recorded = RECORDED | {"timing": {"retry_gaps_ms": [601, 1203][: len(gaps) or 1]}}

    assert differences(SAGA["spec"], recorded, agreeing(RECORDED) | {"retry_gaps": gaps})


def test_delays_within_the_bounds_agree() -> None:
    recorded = RECORDED | {"timing": {"retry_gaps_ms": [601, 1203]}}

    assert differences(SAGA["spec"], recorded, agreeing(RECORDED) | {"retry_gaps": [(1, 750), (2, 1000)]}) == []


def test_every_documented_difference_is_one_indeed() -> None:
    """An entry that says what a recording says already would hide a change of the recording."""
    needless = [
        name
        for name, difference in DOCUMENTED.items()
        for scenario in [SCENARIOS[name]]
        if not difference.changes and difference.base == expected_without_table(scenario)
    ]

    assert needless == []


def expected_without_table(scenario: dict[str, Any]) -> str:
    return "2.7.10" if scenario["judgement"] == "follow_seed" else "2.9.5"


def test_the_table_names_only_scenarios_that_exist() -> None:
    assert DOCUMENTED.keys() <= SCENARIOS.keys()


@pytest.mark.parametrize(
    ("name", "judgement", "versions"),
    [
        ("dountil_three", "equal", ["2.9.5", "2.7.10"]),
        ("retry_zero", "follow_new", ["2.9.5"]),
        ("comp_failed_step_own_handler", "follow_seed", ["2.7.10"]),
        ("fail_first_step", "better", ["2.9.5"]),
    ],
)
def test_a_scenario_without_an_entry_follows_its_judgement(name: str, judgement: str, versions: list[str]) -> None:
    scenario = SCENARIOS[name]

    assert scenario["judgement"] == judgement
    assert expected(scenario) == [scenario["outcome"][version] | {"version": version} for version in versions]


def test_a_compensation_nobody_recorded_is_found() -> None:
    scenario = SCENARIOS["pivot_blocks_compensation"]
    recorded = scenario["outcome"]["2.9.5"] | {"version": "2.9.5"}
    ours = agreeing(recorded)
    ours["final"]["r"]["rollback"] = "none"
    assert differences(scenario["spec"], recorded, ours) == []

    ours["events"]["r"].insert(-1, {"type": "compensation:started", "step": "a"})

    assert differences(scenario["spec"], recorded, ours)


def test_the_recording_lies_beside_its_tests() -> None:
    assert Path(RECORDING).is_file()
