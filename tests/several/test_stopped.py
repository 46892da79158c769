"""An owner that was frozen and comes back after its runs were taken writes nothing to them, and goes on with others."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Context, Engine, Run, State, Workflow
from perdure.testing import close_cleanly
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE

pytestmark = pytest.mark.on_a_file  # on a server, silence is enough: see test_server.py


def declare_dead(path: Path) -> None:
    """Take a process for dead that is not: what an operator does, or a file system that loses its locks."""
    path.with_name(f"{path.name}-engine-1").unlink()


def test_its_runs_go_to_another_and_it_joins_anew(
    worker: Any, client: Callable[[], Client], path: Path, held: Any
) -> None:
    owner = worker("held", "quick")
    owner.ask("start", "held", "h", answer="started")
    owner.hear("begin")
    owner.stop()
    declare_dead(path)
    heir = worker("held", "quick")
    assert heir.hear("begin")[0] == "h:hold"
    owner.go_on()
    held()  # both handlers return; one result counts
    reader = client()
    execution = reader.run("h").wait(timeout=PATIENCE)
    assert (execution.state, execution.steps["hold"].attempts) == (State.COMPLETED, 2)
    assert owner.ask("start", "quick", "q", answer="started") == ["q"]
    assert owner.hear("note")[0] == "q:note"
    reader.run("q").wait(timeout=PATIENCE)
    with closing(sqlite3.connect(path)) as connection:
        found = dict(connection.execute("SELECT execution_id, owner FROM workflow_executions").fetchall())
    assert found == {"h": 2, "q": 3}, "the heir, and the owner under its new number"
    assert [owner.close(), heir.close()] == [0, 0]


def test_while_it_is_frozen_nobody_takes_it_for_dead(worker: Any, client: Callable[[], Client], held: Any) -> None:
    owner, other = worker("held", "gate"), worker("held", "gate")
    owner.tell("start", "held", "h")
    owner.hear("begin")
    reader = client()
    owner.stop()
    third = worker("held", "gate")
    third.close()
    owner.go_on()
    held()
    assert reader.run("h").wait(timeout=PATIENCE).steps["hold"].attempts == 1
    assert other.close() == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a step"])
def test_an_engine_that_was_taken_over_stops_its_actors_and_serves_on(path: Path, *, busy: bool) -> None:
    gate = Workflow("gate").wait_for("go").step("after", lambda ctx: ctx.signals["go"])
    name = unique_name()
    first = Engine(path, gate, durability="normal", queue_name=name)
    waiting = first.start("gate", id="g")
    waiting.wait(until="waiting", timeout=PATIENCE)
    declare_dead(path)
    second = Engine(path, gate, durability="normal", queue_name=name)
    if busy:
        assert first.start("gate", id="new").id == "new"
    second.signal("g", "go", 1)
    assert waiting.result(timeout=PATIENCE) == 1
    first.start("gate", id="mine")
    second.signal("mine", "go", 2)
    assert first.run("mine").result(timeout=PATIENCE) == 2
    for engine in (first, second):
        engine.close()
    close_cleanly(first)


def test_who_begins_to_wait_while_an_engine_joins_anew_hears_of_the_end_elsewhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving, looked = threading.Event(), threading.Event()

    def after(ctx: Context[Any]) -> Any:
        assert looked.wait(PATIENCE)
        return ctx.signals["go"]

    gate = Workflow("gate").wait_for("go").step("after", after)
    first = Engine(path, gate, durability="normal", queue_name=unique_name())
    waiting = first.start("gate", id="g")
    waiting.wait(until="waiting", timeout=PATIENCE)
    bell, snapshot = first._machine.bell, Run._snapshot
    come_back = bell._open

    def late() -> None:
        moving.set()
        assert looked.wait(PATIENCE)
        come_back()

    def look(run: Run[Any]) -> Any:
        found = snapshot(run)
        looked.set()
        return found

    monkeypatch.setattr(bell, "_open", late)
    declare_dead(path)
    second = Engine(path, gate, durability="normal", queue_name=unique_name())
    assert moving.wait(PATIENCE)
    second.signal("g", "go", 1)
    monkeypatch.setattr(Run, "_snapshot", look)
    assert waiting.result(timeout=PATIENCE) == 1
    close_cleanly(first)
    close_cleanly(second)
