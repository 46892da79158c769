"""The reader of recordings: whatever they say is understood, or refused with the place where it is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from .conftest import RECORDING
from .performance import perform
from .words import UnknownWord, read

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
GO: dict[str, Any] = {"do": "start", "wf": "w", "as": "r"}
END = {"do": "wait", "run": "r"}


def step(name: str, do: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return {"type": "step", "name": name, "do": do or {"return": name}, "opts": options}


def spec(*nodes: dict[str, Any], phases: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "workflows": [{"name": "w", "nodes": list(nodes)}],
        "phases": phases or [{"actions": [GO, END]}],
    } | more


def played(folder: Path, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    with freeze_time("2026-01-05 09:00:00") as clock:
        outcome, _ = perform(spec(*nodes, **more), folder, clock, NOW)
    return outcome


def test_every_recording_is_understood() -> None:
    for scenario in json.loads(RECORDING.read_text(encoding="utf-8"))["scenarios"]:
        read(scenario["spec"])


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        (spec({"type": "stepp", "name": "a"}), "node 0: type: 'stepp' is none of them; did you mean 'step'?"),
        (spec({"type": "step", "name": "a"}), "(step 'a'): it does not say 'do'"),
        (spec(step("a") | {"wait": 1}), "(step 'a'): unknown word 'wait'"),
        (spec(step("a", {"xreturn": 1})), "do: unknown word 'xreturn'; did you mean 'return'?"),
        (spec(step("a", {"then": {"lgo": "x"}})), "do: then: unknown word 'lgo'"),
        (spec(step("a", {"fail_if": {"iteration": 1}})), "fail_if: {'iteration': 1} says none of: const"),
        (spec(step("a", {"return_keys": "inputs"})), "return_keys: 'inputs' is none of them"),
        (spec(step("a", retires=2)), "opts: unknown word 'retires'; did you mean 'retry'?"),
        (spec(step("a", maxIterations=2)), "opts: unknown word 'maxIterations'"),
        (spec(step("a", compensate={"undo": 1})), "opts: compensate: unknown word 'undo'"),
        (spec(step("a", inputSchema={"needs": {}})), "inputSchema: unknown word 'needs'"),
        (spec(step("a", outputSchema={"require": {"n": "int"}})), "outputSchema: the type of 'n': 'int' is none"),
        (spec({"type": "branch", "on": {"value": 1}, "paths": []}), "on: {'value': 1} says none of: const, ref, throw"),
        (
            spec({"type": "parallel", "steps": [step("a", {"x": 1})]}),
            "node 0 (parallel), node 0 (step 'a'): do: unknown",
        ),
        (spec(step("a"), phases=[{"actions": [{"do": "begin"}]}]), "phase 0, action 0: do: 'begin' is none of them"),
        (spec(step("a"), phases=[{"actions": [GO | {"in": 1}]}]), "phase 0, action 0 (start): unknown word 'in'"),
        (
            spec(step("a"), phases=[{"actions": [GO, {"do": "kill9"}]}]),
            "kill9 in a phase that does not say expect_kill",
        ),
        (spec(step("a"), phases=[{"actions": [], "kill": 1}]), "phase 0: unknown word 'kill'"),
        (spec(step("a"), engine={"threads": 1}), "the engine's options: unknown word 'threads'"),
        (spec(step("a"), finals=[]), "the spec: unknown word 'finals'; did you mean 'no_final'?"),
    ],
)
def test_what_is_not_in_the_language_is_refused_and_not_passed_over(unknown: dict[str, Any], says: str) -> None:
    with pytest.raises(UnknownWord) as refusal:
        read(unknown)

    assert says in str(refusal.value)


# ---- what the recordings beside these tests do not say


def test_a_handler_that_has_timed_out_and_sleeps_on_holds_nobody_up(tmp_path: Path) -> None:
    slow = step("a", {"sleep": 300, "log_after": "late", "sync": True}, timeout=100, retry=2)

    outcome = played(tmp_path, slow, phases=[{"actions": [GO, END, {"do": "sleep", "ms": 1000}]}])

    assert outcome["final"]["r"]["steps"]["a"]["attempts"] == 2
    assert outcome["log"] == ["late", "late"]


def test_a_process_may_be_killed_in_every_phase_but_the_last(tmp_path: Path) -> None:
    killed = {"actions": [GO, {"do": "sleep", "ms": 100}], "expect_kill": True}
    again = {"actions": [{"do": "sleep", "ms": 100}], "expect_kill": True}

    outcome = played(
        tmp_path,
        step("a", {"log": "a", "kill9_once": "in a"}),
        step("b", {"log": "b", "kill9_once": "in b"}),
        phases=[killed, again, {"actions": [END]}],
    )

    assert outcome["log"] == ["[phase 0] a", "[phase 1] a", "[phase 1] b", "[phase 2] b"]
    assert outcome["process_exit"] == [-9, -9, 0]


def test_a_behaviour_within_another_counts_its_failures_for_itself(tmp_path: Path) -> None:
    outcome = played(tmp_path, step("a", {"fail_times": 1, "then": {"fail_times": 1, "return": 3}}))

    assert outcome["final"]["r"]["steps"]["a"] | {"attempts": 3, "result": 3} == outcome["final"]["r"]["steps"]["a"]


def test_a_closed_engine_is_asked_in_vain(tmp_path: Path) -> None:
    looks = [{"do": "get", "run": "r", "label": "late"}, END]

    outcome = played(tmp_path, step("a"), phases=[{"actions": [GO, END, {"do": "close"}, *looks]}])

    assert [call["what"] for call in outcome["api"] if "error" in call] == ["get late"]
    assert outcome["api"][-1]["ok"] == "not reached in 8000ms"
    assert outcome["final"]["r"]["state"] == "completed"


def test_children_are_listed_by_the_name_of_their_workflow(tmp_path: Path) -> None:
    child = {"name": "c", "nodes": [step("a")]}
    parent = {"name": "w", "nodes": [{"type": "subWorkflow", "name": "c"}]}
    phases = [{"actions": [GO, END, {"do": "list"}]}]

    outcome = played(tmp_path, workflows=[child, parent], phases=phases, engine={"queueName": "q"})

    assert outcome["api"] == [{"what": "list {}", "ok": ["child:c", "r"]}]
