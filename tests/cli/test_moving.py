"""`move` carries everything over to another database, of whatever kind, and unfinished runs go on there."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perdure import Client, Engine, State, Workflow, look_at
from perdure.cli.commands import perdure
from perdure.dsl.errors import StoreMoved
from tests.patience import PATIENCE

GATE = (
    Workflow("gate")
    .step("first", lambda: "done", compensate=lambda: None)
    .wait_for("go", timeout=86_400)
    .step("after", lambda ctx: ctx.signals["go"])
)
FAILS = Workflow("fails").step("never", lambda: 1 / 0, retry=1)
PARENT = Workflow("parent").sub_workflow("gate")

Moved = Callable[..., Result]


@pytest.fixture
def move() -> Moved:
    """Runs the command."""

    def run(source: str, target: str, *options: str) -> Result:
        return CliRunner().invoke(perdure, ["move", target, "-d", source, *options])

    return run


def engine_on(place: str) -> Engine:
    return Engine(place, GATE, FAILS, PARENT, durability="normal")


def fill(place: str) -> dict[str, Any]:
    """Leave runs of every sort; return what is to be seen of them."""
    with engine_on(place) as engine:
        waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
        engine.on("workflow:waiting", waiting.put)
        engine.start("gate", id="waits", tags={"customer": 7}, business_key="b")
        engine.start("parent", id="parent")
        engine.start("gate", id="paused")
        for _ in range(3):
            waiting.get(timeout=PATIENCE)
        engine.start("fails", id="failed").wait(timeout=PATIENCE)
        engine.pause("paused", reason="holiday")
        engine.start("gate", id="later", delay=86_400)
        engine.schedule("nightly", "gate", every=86_400)
        engine.start("gate", id="archived", key="k").signal("go", 1)
        engine.run("archived").wait(timeout=PATIENCE)
        engine.archive(0, states=["completed"])
    return seen(place)


def seen(place: str) -> dict[str, Any]:
    """Return all that callers can see of a database."""
    with look_at(place) as looking:
        runs = {
            run.id: (run.state, run.created_at, run.input, {name: step.result for name, step in run.steps.items()})
            for run in looking.list_executions(limit=100)
        }
        histories = {run: [(record.step, record.outcome) for record in looking.history(run)] for run in runs}
        tagged = [run.id for run in looking.list_executions(tags={"customer": 7})]
        return {"runs": runs, "histories": histories, "tagged": tagged}


@pytest.mark.parametrize("to_server", [True, False], ids=["from a file to a server", "from a server to a file"])
def test_unfinished_runs_go_on_where_they_were_moved_to(
    move: Moved, postgres_url: str, tmp_path: Path, *, to_server: bool
) -> None:
    file = str(tmp_path / "runs.db")
    source, target = (file, postgres_url) if to_server else (postgres_url, file)
    before = fill(source)
    result = move(source, target)
    assert result.exit_code == 0, result.output
    assert seen(target) == before == seen(source)
    with engine_on(target) as engine:
        engine.resume("paused")
        child = next(run for run in engine.list_executions("gate") if run.parent_id == "parent")
        for run in ("waits", "paused", child.id):
            engine.signal(run, "go", run)
        assert engine.run("waits").result(timeout=PATIENCE) == "waits"
        assert engine.run("paused").result(timeout=PATIENCE) == "paused"
        assert engine.run("parent").wait(timeout=PATIENCE).state is State.COMPLETED
        assert [schedule.name for schedule in engine.schedules()] == ["nightly"]
        assert engine.get_archived_count() == 1
        fresh = engine.start("gate", id="fresh")
        fresh.signal("go", "new")
        assert fresh.result(timeout=PATIENCE) == "new", "its number was given to nobody before"


def test_what_was_moved_can_only_be_looked_at_where_it_came_from(move: Moved, tmp_path: Path) -> None:
    source, target = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    fill(source)
    with Client(source) as client:
        assert move(source, target).exit_code == 0
        for call in (
            lambda: engine_on(source),
            lambda: client.start("gate"),
            lambda: client.signal("waits", "go"),
            lambda: client.cancel("waits"),
            lambda: client.pause_schedule("nightly"),
        ):
            with pytest.raises(StoreMoved, match=r"new\.db': use that \(nothing was written\)"):
                call()
        assert client.get_execution("waits") is not None
    assert seen(source) == seen(target)
    assert "was moved to" in move(source, str(tmp_path / "third.db")).output
    assert "too late" in CliRunner().invoke(perdure, ["move", "--stay", "-d", source]).output


def test_nothing_is_moved_while_an_engine_has_it_open_or_over_something_else(move: Moved, tmp_path: Path) -> None:
    source, target = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    with engine_on(source):
        assert "close it first" in move(source, target).output
    fill(target)
    assert "is not empty" in move(source, target).output
    assert "is where everything is already" in move(source, source).output
    assert (
        "is where everything is already" in move(source, str(tmp_path / "." / ".." / tmp_path.name / "old.db")).output
    )
    assert move(source, str(tmp_path / "third.db")).exit_code == 0, "what was refused has changed nothing"
