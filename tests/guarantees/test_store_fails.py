"""The disk, or another program, is in the way: callers are told what was written, and runs go on when it is over."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, StoreError, Workflow
from perdure.dsl.errors import StoreUnavailable
from perdure.persistence.database import Database
from tests.patience import PATIENCE


def option(request: pytest.FixtureRequest) -> float:
    """Real seconds for which locks are held: with ``--lock=20`` as long as another program might."""
    return float(request.config.getoption("lock", 0) or 0)


def gate() -> Workflow[Any, Any]:
    return Workflow("gate").step("before", lambda: 1).wait_for("go").step("after", lambda ctx: ctx.signals["go"])


def worker(began: threading.Event, go: threading.Event) -> Workflow[Any, Any]:
    def work(ctx: Any) -> str:
        began.set()
        go.wait(PATIENCE)
        return f"attempt {ctx.attempt}"

    return Workflow("worker").step("work", work)


@contextmanager
def full(engine: Engine) -> Iterator[None]:
    """Give the database not one page more."""
    database = engine._machine.store._database
    assert isinstance(database, Database)
    writer = database.writer
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
    yield
    writer.execute("PRAGMA max_page_count = 1073741823")


def fill(engine: Engine) -> None:
    """Start runs until the pages that the file has are full."""
    for _ in range(200):
        engine.start("gate", tags={"filler": "x" * 4000})


@pytest.mark.on_a_file  # SQLite can be told how large its file may be
def test_on_a_full_disk_a_caller_is_told_that_nothing_was_written_and_runs_go_on_once_there_is_room(
    open_engine: Any,
) -> None:
    began, go = threading.Event(), threading.Event()
    engine = open_engine(gate(), worker(began, go))
    waiting = engine.start("gate")
    waiting.wait(PATIENCE, until="waiting")
    at_work = engine.start("worker")
    assert began.wait(PATIENCE)
    with full(engine):
        with pytest.raises(StoreUnavailable, match=r"full disk.*nothing was written"):
            fill(engine)
        with pytest.raises(StoreUnavailable, match="nothing was written"):
            waiting.signal("go", "x" * 100_000)
        go.set()
        engine.get_execution(waiting.id)
    waiting.signal("go", "on")
    assert waiting.result(PATIENCE) == "on"
    assert at_work.result(PATIENCE) in ("attempt 1", "attempt 2")


def test_a_result_that_cannot_be_stored_is_tried_again_and_never_told_before_it_is_on_disk(
    open_engine: Any, tables: Any
) -> None:
    began, go = threading.Event(), threading.Event()
    told: list[str] = []
    engine = open_engine(worker(began, go), busy_timeout=0.05)
    engine.on("step:completed", lambda event: told.append(event.result))
    run = engine.start("worker")
    assert began.wait(PATIENCE)
    with tables.locked():
        go.set()
        while engine._machine.supervisor._crashes.get(run_key(engine, run.id), 0) == 0:
            threading.Event().wait(0)
        assert told == []
    assert run.result(PATIENCE) == "attempt 2"
    assert told == ["attempt 2"]


def run_key(engine: Engine, execution_id: str) -> int:
    stored = engine._machine.store.snapshot(execution_id)
    assert stored is not None
    return stored.execution.id


@pytest.mark.timeout(0)  # it holds the lock for as long as it is told to
def test_a_lock_that_another_program_holds_is_waited_for_then_told_of_and_runs_go_on_afterwards(
    open_engine: Any, tables: Any, request: pytest.FixtureRequest
) -> None:
    engine = open_engine(gate(), busy_timeout=0.05)
    waiting = engine.start("gate")
    waiting.wait(PATIENCE, until="waiting")
    with tables.locked():
        calls = [
            lambda: engine.start("gate"),
            lambda: waiting.signal("go", 1),
            waiting.cancel,
            engine.cleanup,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"(?s)locked by another program.*nothing was written"):
                call()
        assert waiting.state == "waiting"  # reading goes on
        threading.Event().wait(option(request))
    waiting.signal("go", 2)
    assert waiting.result(PATIENCE) == 2
    assert len(engine.list_executions()) == 1


def test_a_lock_that_is_held_for_less_than_the_patience_is_not_noticed(open_engine: Any, tables: Any) -> None:
    engine = open_engine(gate(), busy_timeout=PATIENCE)
    with tables.locked():
        started: list[Any] = []
        caller = threading.Thread(target=lambda: started.append(engine.start("gate")))
        caller.start()
    caller.join(PATIENCE)
    assert started[0].wait(PATIENCE, until="waiting").state == "waiting"


@pytest.mark.on_a_file
@pytest.mark.parametrize("replace", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_is_gone_is_told_of_and_never_made_anew(open_engine: Any, path: Path, *, replace: bool) -> None:
    engine = open_engine(gate())
    run = engine.start("gate")
    run.wait(PATIENCE, until="waiting")
    path.unlink()
    if replace:
        path.touch()
    for call in (lambda: engine.start("gate"), lambda: run.signal("go"), lambda: run.state, engine.list_executions):
        with pytest.raises(StoreError, match="deleted or replaced"):
            call()
    engine.close()
    assert path.exists() == replace
    assert not replace or path.stat().st_size == 0


@pytest.mark.on_a_file  # a server keeps its log apart
def test_a_long_reader_makes_the_wal_grow_no_further_once_it_has_ended(open_engine: Any, path: Path) -> None:
    wal = path.with_name(f"{path.name}-wal")
    big = Workflow("big").step("make", lambda: "x" * 400_000)
    engine = open_engine(big)

    def work() -> int:
        for run in [engine.start("big") for _ in range(50)]:
            run.result(PATIENCE)
        return wal.stat().st_size

    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM workflow_executions").fetchall()
        held_back = work()
    assert held_back > 16_000_000
    work()  # the first checkpoint after the reader lets the file be used from its beginning again
    assert work() <= held_back + 20_000_000
    engine.close()
    assert not wal.exists()
