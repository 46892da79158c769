"""Whatever comes for a run before its workflow is registered, the run goes on once it is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Workflow
from perdure.actors import core as mail
from perdure.actors import supervisor as letters
from perdure.actors.starting import ToRun
from perdure.dsl import messages
from tests.patience import PATIENCE


def gated() -> Workflow[Any, Any]:
    return Workflow("gated").wait_for("go").step("after", lambda ctx: ctx.signals["go"])


@pytest.mark.parametrize("restarted", [False, True])
def test_a_signal_that_came_before_the_workflow_was_registered_opens_its_gate(
    tmp_path: Path, *, restarted: bool
) -> None:
    with Engine(tmp_path / "runs.db", gated()) as engine:
        engine.start("gated", id="run").wait(timeout=PATIENCE, until="waiting")
    engine = Engine(tmp_path / "runs.db")
    engine.signal("run", "go", "payload")
    if restarted:
        engine.close()
        engine = Engine(tmp_path / "runs.db")

    with engine.register(gated()):
        assert engine.run("run").result(timeout=PATIENCE) == "payload"


def test_a_run_that_was_woken_just_before_its_workflow_was_registered_goes_on(tmp_path: Path) -> None:
    dead = threading.Event()

    def die(ctx: Any) -> None:
        engine.abandon()
        dead.set()

    def flow(handler: Any) -> Workflow[Any, Any]:
        return Workflow("flow").step("one", handler).wait_for("go")

    engine = Engine(tmp_path / "runs.db", flow(die))
    engine.start("flow", id="run")
    assert dead.wait(timeout=PATIENCE)
    with Engine(tmp_path / "runs.db") as heir:
        core, supervisor = heir._machine.core, heir._machine.supervisor

        def both_at_once() -> None:
            core.post(supervisor, mail.Letter(ToRun("run", messages.Signalled("go", '"payload"'))))
            core.post(supervisor, mail.Letter(letters.Register(flow(lambda: 1).definition())))

        heir._machine.exclusively(both_at_once)
        heir.register(flow(lambda: 1))
        assert heir.run("run").result(timeout=PATIENCE) == "payload"
