"""An operator need not know which engine drives a run: every verb finds it, and brings its answer back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Engine, IllegalTransition, StepNotOpen, Workflow
from tests.patience import PATIENCE


def flow() -> Workflow[Any, Any]:
    return Workflow("w", on_exhausted="park").step("a", int.__call__, retry=1).wait_for("go").step("b", lambda: "b")


@pytest.fixture
def other(path: Path) -> Iterator[Engine]:
    """An engine that does not drive the run, beside one that does."""
    with Engine(path, flow(), durability="normal") as driver, Engine(path, flow(), durability="normal") as other:
        driver.start("w", id="x").wait(PATIENCE, until="waiting")
        yield other


def paused(engine: Engine) -> bool:
    execution = engine.get_execution("x")
    assert execution is not None
    return execution.paused


def test_every_verb_reaches_the_engine_that_drives_the_run(other: Engine) -> None:
    other.pause("x", by="ada")
    assert paused(other)
    other.resume("x", by="ada")
    assert not paused(other)
    fork = other.fork("x", steps={"a": 5}, by="ada")
    other.skip("x", "a", by="ada")
    other.run("x").wait(PATIENCE, until="waiting")
    other.signal("x", "go")
    assert other.run("x").result(PATIENCE) == "b"
    fork.wait(PATIENCE, until="waiting")
    other.terminate(fork.id, by="ada")
    assert fork.wait(PATIENCE).state == "cancelled"
    assert [entry.verb for entry in other.audit("x")] == ["pause", "resume", "fork", "skip"]


def test_incidents_are_seen_and_resolved_from_anywhere(other: Engine) -> None:
    (incident,) = other.incidents()
    with pytest.raises(StepNotOpen):
        other.skip("x", "b")
    assert other.resolve(incident, "complete", result=1) == 1
    with pytest.raises(IllegalTransition) as refused:
        other.resolve(incident, "retry")
    assert "resolve" in str(refused.value)


def test_a_clients_handle_on_a_run_steers_it_too(other: Engine) -> None:
    with Client(other.path) as client:
        run = client.run("x")
        run.pause(by="ada")
        assert paused(other)
        run.resume(by="ada")
        assert run.resolve("complete", result=1, by="ada") == 1
        run.terminate(by="ada")
        assert run.wait(PATIENCE).state == "cancelled"
        assert [entry.by for entry in run.audit()] == ["ada"] * 4


def test_a_client_ends_several_incidents_at_once_and_passes_over_those_that_have_ended(other: Engine) -> None:
    other.start("w", id="y").wait(PATIENCE, until="waiting")
    with Client(other.path) as client:
        incidents = client.incidents()
        assert client.resolve(incidents, "complete", result=1) == 2
        assert client.resolve(["x", "y"], "retry") == 0
        assert client.resolve([], "retry") == 0


def test_a_client_learns_from_no_number_that_nobody_has_heeded_it_yet(path: Path) -> None:
    with Engine(path, flow(), durability="normal") as driver:
        driver.start("w", id="x").wait(PATIENCE, until="waiting")
    with Client(path) as client:
        assert client.resolve(["x"], "skip") is None
