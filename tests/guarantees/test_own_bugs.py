"""A bug of ours, or a damaged row, costs the run it meets and no other: restored with backoff, at last set aside."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import Engine, StoreError, Workflow
from perdure.dsl.effects import Walker
from perdure.dsl.graph import Body, Node
from perdure.dsl.scope import Scope
from perdure.persistence.store import _FIRST_TIMER
from perdure.testing import Moment, watch_points
from tests.patience import PATIENCE


@dataclasses.dataclass(frozen=True, slots=True)
class Buggy(Node):
    """A node that one of us got wrong: it crashes its actor while there is something in the list."""

    bugs: list[str] = dataclasses.field(default_factory=list)

    kind = "buggy"

    def walk(self, scope: Scope) -> Walker:
        if self.bugs:
            raise ZeroDivisionError(self.bugs.pop())
        yield from ()


def buggy(bugs: list[str]) -> Workflow[Any, Any]:
    workflow = Workflow("buggy").step("before", lambda: 1).step("after", lambda: "done")
    definition = workflow.definition()
    before, after = definition.body.nodes
    body = Body((before, Buggy("bug", bugs=bugs), after))
    return workflow.redefined(dataclasses.replace(definition, body=body))


def let_time_pass(engine: Engine) -> None:
    for _ in range(10):
        engine.advance(timedelta(seconds=10))


def test_an_actor_that_crashes_twice_is_restored_and_goes_on(frozen: Any, open_engine: Any, heard: Any) -> None:
    engine = open_engine(buggy(["one", "two"]))
    run = engine.start("buggy")
    let_time_pass(engine)
    assert run.result(0) == "done"
    assert run.wait(0).steps["before"].attempts == 3  # what was recorded in a turn that crashed does not count
    (record,) = heard.records
    assert record.levelname == "ERROR"
    assert record.exc_info


def test_an_actor_that_crashes_three_times_is_quarantined_and_the_others_go_on(
    frozen: Any, open_engine: Any, heard: Any
) -> None:
    bugs = ["again and again"] * 100
    engine = open_engine(buggy(bugs), Workflow("sound").sleep("nap", 5).step("work", lambda: "sound"))
    run, other = engine.start("buggy"), engine.start("sound")
    let_time_pass(engine)
    assert other.result(0) == "sound"
    quarantined = run.wait(0)
    assert quarantined.state == "quarantined"
    assert quarantined.error.type == "perdure.InternalError"
    assert "please report" in quarantined.error.message
    assert len(heard.records) == 1
    bugs.clear()
    engine.resume(run.id)
    assert run.result(PATIENCE) == "done"


def test_a_commit_that_fails_by_a_bug_drops_the_turn_that_is_to_blame_and_no_other(
    frozen: Any, open_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    child = Workflow("child").step("poison", lambda: "a"), Workflow("other").step("sound", lambda: "b")
    engine = open_engine(
        *child, Workflow("w").parallel(*(lambda w, one=one: w.sub_workflow(one.name) for one in child))
    )
    sizes: list[int] = []

    def fail(moment: Moment) -> None:
        if moment.point == "commit.before" and len(sizes) < 2 and "poison" in str(moment.records):
            sizes.append(len(moment.records.executions))
            raise ZeroDivisionError

    with watch_points(fail):
        run = engine.start("w")
        let_time_pass(engine)

    assert run.result(0) == {"sub:child": {"poison": "a"}, "sub:other": {"sound": "b"}}
    assert sizes == [2, 1], "the children began together"
    assert [record.getMessage()[:18] for record in caplog.records if "turns" in record.msg] == ["nothing of 1 turns"]


def test_a_run_whose_rows_cannot_be_read_is_quarantined_and_the_others_go_on(
    frozen: Any, open_engine: Any, tables: Any
) -> None:
    workflow = Workflow("choice").branch(lambda: "left").path("left", lambda w: w.wait_for("go"))
    engine = open_engine(workflow)
    for run_id in ("x", "y"):
        engine.start("choice", id=run_id)
    engine.settle()
    engine.close()
    damaged = tables.execute(
        "UPDATE workflow_steps SET value = '{{' WHERE kind = 'decision' AND execution ="
        " (SELECT id FROM workflow_executions WHERE execution_id = 'x')"
    )
    assert damaged == 1
    engine = open_engine(workflow)
    with pytest.raises(StoreError, match="cannot be read"):
        engine.signal("x", "go", "on")
    engine.signal("y", "go", "on")
    let_time_pass(engine)
    assert engine.run("y").result(0) == "on"
    quarantined = engine.run("x").wait(0)
    assert (quarantined.state, quarantined.error.type) == ("quarantined", "perdure.StoreCorrupt")
    assert "cannot be read" in quarantined.error.message


class Failing:
    """A connection that meets an I/O error at every statement that fits; all else is the real one's."""

    def __init__(self, connection: sqlite3.Connection, fits: Callable[[str], bool]) -> None:
        self._connection = connection
        self._fits = fits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> Any:
        if self._fits(sql):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_READ"
            raise error
        return self._connection.execute(sql, *parameters)


@pytest.mark.on_a_file  # it stands in for SQLite's connection
@pytest.mark.parametrize("read", ["the timers", "the run"])
def test_a_disk_that_cannot_be_read_for_a_while_loses_no_timer(read: str, frozen: Any, open_engine: Any) -> None:
    nap = Workflow("nap").sleep("nap", 60).step("wake", lambda: "awake")
    engine = open_engine(nap, concurrency=2, max_in_memory=4)  # no room for runs that rest: each is read anew
    run = engine.start("nap")
    engine.settle()
    database = engine._machine.store._database
    table = "workflow_timers" if read == "the timers" else "workflow_executions WHERE id"
    sound, database._writer = database.writer, Failing(database.writer, lambda sql: table in sql)
    if read == "the timers":
        engine._machine.supervisor.timekeeper._horizon = _FIRST_TIMER  # as if there were thousands
    with pytest.raises(StoreError):
        engine.advance(seconds=60)
    assert run.state == "waiting"
    database._writer = sound
    engine.advance(seconds=60)
    assert run.result(0) == "awake"


@pytest.mark.on_a_file  # it stands in for SQLite's connection
def test_a_disk_that_cannot_be_read_when_a_child_is_looked_for_loses_no_child(frozen: Any, open_engine: Any) -> None:
    engine = open_engine(
        Workflow("child").step("work", lambda: 1, compensate=lambda: undone.append("child")),
        Workflow("parent").sub_workflow("child").wait_for("go").step("fail", fail, retry=1),
    )
    undone: list[str] = []
    run = engine.start("parent")
    engine.settle()
    database = engine._machine.store._database
    sound, database._writer = database.writer, Failing(database.writer, lambda sql: "parent_id = ?" in sql)
    run.signal("go")
    engine.settle()
    assert undone == []
    database._writer = sound
    let_time_pass(engine)
    assert (undone, run.wait(0).rollback) == (["child"], "complete")


def fail() -> None:
    raise RuntimeError("no")
