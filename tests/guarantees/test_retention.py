"""What is cleaned up or archived goes whole or not at all, and nothing of it is seen by a new run of the same id."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from perdure import ExecutionNotFound, Workflow
from perdure.dsl.errors import StoreUnavailable
from perdure.testing.freezing import START
from tests.patience import PATIENCE

TABLES = ("workflow_executions", "workflow_steps", "workflow_signals")
STOP_IN_A_FILE = """
    CREATE TRIGGER stop BEFORE DELETE ON workflow_executions WHEN OLD.execution_id = '13'
    BEGIN SELECT RAISE(ABORT, 'in the middle'); END
"""
STOP_ON_A_SERVER = """
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'in the middle'; END $$;
    CREATE TRIGGER stop BEFORE DELETE ON workflow_executions
    FOR EACH ROW WHEN (OLD.execution_id = '13') EXECUTE FUNCTION stop()
"""


def gate() -> Workflow[Any, Any]:
    return Workflow("gate").step("a", lambda ctx: ctx.input).wait_for("go")


def rows(tables: Any) -> dict[str, int]:
    return {table: tables.count(table) for table in TABLES}


@pytest.mark.parametrize("verb", ["cleanup", "archive"])
def test_only_what_ended_long_enough_ago_goes_with_everything_that_belongs_to_it(
    verb: str, frozen: Any, open_engine: Any, tables: Any
) -> None:
    engine = open_engine(gate())
    for run_id in ("old", "young", "waiting"):
        engine.start("gate", id=run_id)
        engine.settle()
        if run_id != "waiting":
            engine.signal(run_id, "go")
            engine.settle()
        frozen.tick(timedelta(days=1))
    assert getattr(engine, verb)(timedelta(days=2, hours=1)) == 1
    assert [run.id for run in engine.list_executions()] == ["waiting", "young"]
    assert getattr(engine, verb)(0, ["failed"]) == 0
    assert getattr(engine, verb)() == 1
    assert rows(tables) == {"workflow_executions": 1, "workflow_steps": 2, "workflow_signals": 0}
    assert engine.get_archived_count() == (2 if verb == "archive" else 0)
    with pytest.raises(ExecutionNotFound):
        engine.run("old")


@contextmanager
def stopped_at_the_13th(tables: Any) -> Iterator[None]:
    """Have the run of this id refuse to be deleted."""
    tables.execute(STOP_ON_A_SERVER if tables.on_a_server else STOP_IN_A_FILE)
    try:
        yield
    finally:
        tables.execute("DROP FUNCTION stop CASCADE" if tables.on_a_server else "DROP TRIGGER stop")


@pytest.mark.parametrize("verb", ["cleanup", "archive"])
def test_a_removal_that_fails_in_the_middle_removes_nothing(verb: str, open_engine: Any, tables: Any) -> None:
    engine = open_engine(gate())
    for number in range(20):
        run = engine.start("gate", "x" * 3000, id=str(number))
        run.signal("go")
        run.wait(PATIENCE)
    before = rows(tables)
    with stopped_at_the_13th(tables):
        with pytest.raises(Exception, match="in the middle"):
            getattr(engine, verb)()
        assert rows(tables) == before
        assert engine.get_archived_count() == 0
    assert getattr(engine, verb)() == 20


def test_removal_while_runs_finish_takes_whole_runs_only(open_engine: Any, tables: Any) -> None:
    engine = open_engine(Workflow("w").step("a", lambda: 1).step("b", lambda: 2))

    def work(_: int) -> None:
        engine.start("w").wait(PATIENCE)

    removed = 0
    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(200)]
        while not all(each.done() for each in working):
            removed += engine.cleanup()
    for each in working:
        failure = each.exception()
        assert failure is None or isinstance(failure, ExecutionNotFound)  # it was removed before it was looked at
    engine.settle()
    removed += engine.cleanup()
    assert removed == 200
    assert rows(tables) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize("verb", ["cleanup", "archive"])
def test_a_new_run_of_an_old_id_sees_nothing_of_the_old_one(verb: str, open_engine: Any) -> None:
    engine = open_engine(gate())
    for number in (1, 2):
        run = engine.start("gate", number, id="x", key="k")
        run.signal("go", f"signal {number}", key="once")
        shown = run.wait(PATIENCE)
        assert (shown.steps["a"].result, shown.signals) == (number, {"go": f"signal {number}"})
        assert getattr(engine, verb)() == 1


@pytest.mark.on_a_file  # SQLite can be told how large its file may be
def test_a_full_disk_stops_an_archive_and_loses_nothing(open_engine: Any) -> None:
    engine = open_engine(gate())
    for number in range(10):
        run = engine.start("gate", "x" * 20_000, id=str(number))
        run.signal("go")
        run.wait(PATIENCE)
    writer = engine._machine.store._database.writer
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        engine.archive()
    assert (len(engine.list_executions()), engine.get_archived_count()) == (10, 0)
    writer.execute("PRAGMA max_page_count = 1073741823")
    assert engine.archive() == 10


def test_the_age_counts_from_the_end_not_from_the_start(frozen: Any, open_engine: Any) -> None:
    engine = open_engine(gate())
    run = engine.start("gate")
    engine.settle()
    frozen.move_to(START + timedelta(days=30))
    run.signal("go")
    engine.settle()
    frozen.move_to(START + timedelta(days=31))
    assert engine.cleanup(timedelta(days=2)) == 0
    assert engine.cleanup(timedelta(days=1)) in (0, 1)
    frozen.tick(1)
    engine.cleanup(timedelta(days=1))
    assert engine.list_executions() == []
