"""Private databases that are kept for the next: nobody may notice, but for the time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Context, Engine, EngineClosed, State, StoreError, Workflow
from perdure.persistence import private, spares
from perdure.persistence.models import MODELS
from perdure.persistence.store import Store
from perdure.testing import close_cleanly, freeze
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE

GATE = Workflow("gate", input=dict).wait_for("go").step("end", lambda ctx: ctx.signals["go"])


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    spares._throw_away()
    yield
    spares._throw_away()


def file_of(engine: Engine) -> str:
    """Return where it is, as nobody outside can ask without being told."""
    return engine._machine.store.database.path


def kept() -> list[str]:
    return [spare.file.path for spare in spares._spares]


def tables_with_rows(connection: Any) -> list[str]:
    tables = [str(model._meta.table_name) for model in MODELS]
    full = "SELECT 1 FROM {} LIMIT 1"
    return sorted(table for table in tables if connection.execute(full.format(table)).fetchone() is not None)


def leave_much(engine: Engine) -> None:
    """Leave something in as many tables as a few verbs can."""
    engine.schedule("often", GATE, every=60, input={})
    for number in range(3):
        run = engine.start("gate", {"secret": number}, id=f"run-{number}", tags={"of": "the last"})
        run.signal("other", number, strict=False)
    engine.settle()
    full = engine._machine.store.database.read(tables_with_rows)
    assert {"workflow_executions", "workflow_steps", "workflow_signals", "workflow_schedules", "workflow_tags"} < {
        *full
    }


def test_the_next_engine_finds_nothing_of_the_last_one() -> None:
    with Engine(None, GATE) as engine:
        leave_much(engine)
        where = file_of(engine)
        first = engine._machine.store.new_id()
    assert kept() == [where]

    with Engine(None, GATE) as engine:
        assert file_of(engine) == where
        assert engine._machine.store.database.read(tables_with_rows) == ["workflow_engines", "workflow_migrations"]
        assert (list(engine.list_executions()), engine.schedules()) == ([], [])
        run = engine.start("gate", {}, id="run-1")
        run.signal("go", "anew")
        assert run.result(PATIENCE) == "anew"
        assert engine._machine.store.engine_id == 1
        assert engine._machine.store.new_id() >> 32 == first >> 32


def test_one_whose_path_was_asked_for_goes_with_its_engine() -> None:
    with Engine(None, GATE) as engine:
        folder = Path(engine.path).parent
        assert folder.exists()
    assert not folder.exists()
    assert kept() == []


def test_one_whose_engine_did_not_wait_for_a_handler_goes_with_it() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    engine = Engine(None, Workflow("hold").step("hold", hold), queue_name=unique_name())
    folder = Path(file_of(engine)).parent
    engine.start("hold")
    assert begun.wait(PATIENCE)
    engine.close(force=True)
    try:
        assert not folder.exists()
        assert kept() == []
    finally:
        go_on.set()
        close_cleanly(engine)


def test_a_large_one_is_not_kept() -> None:
    with Engine(None, GATE) as engine:
        engine.start("gate", {"much": "x" * 4096 * spares._PAGES})
        folder = Path(file_of(engine)).parent
    assert not folder.exists()
    assert kept() == []


def test_one_that_lies_elsewhere_than_a_new_one_would_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(None, GATE) as engine:
        where = file_of(engine)
    monkeypatch.setattr(private.PrivateFile, "place", staticmethod(lambda: str(tmp_path)))
    with Engine(None, GATE) as engine:
        assert Path(file_of(engine)).parent.parent == tmp_path
    assert not Path(where).exists()


def test_an_engine_that_was_closed_sees_nothing_of_who_came_after_it() -> None:
    with Engine(None, GATE) as first:
        run = first.start("gate", {}, id="one")
    with Engine(None, GATE) as second:
        second.start("gate", {}, id="two")
        with pytest.raises(EngineClosed):
            first.get_execution("two")
        with pytest.raises(EngineClosed):
            first.history(run.id)
        with pytest.raises(StoreError, match="there is no folder"):
            first.reopen()
        assert not Path(first.path).exists()


def test_engines_that_are_open_at_once_have_one_each() -> None:
    with Engine(None, GATE) as one, Engine(None, GATE) as other:
        places = {file_of(one), file_of(other)}
    assert len(places) == 2
    with Engine(None, GATE) as one, Engine(None, GATE) as other:
        assert {file_of(one), file_of(other)} == places
        one.start("gate", {}, id="mine")
        other.start("gate", {}, id="mine")


def test_one_that_cannot_be_emptied_is_not_kept() -> None:
    store = Store(None)
    store.open()
    folder = Path(store.path).parent
    store.database.prepare(lambda connection: connection.execute("DROP TABLE workflow_tags"))
    store.put_by()
    assert not folder.exists()
    assert kept() == []


def test_one_in_which_a_handler_executed_statements_of_its_own_goes_with_its_engine() -> None:
    def pay(ctx: Context[Any]) -> int:
        ctx.transaction.execute("CREATE TABLE payments (id INTEGER PRIMARY KEY)")
        return int(ctx.transaction.execute("SELECT count(*) FROM payments").fetchone()[0])

    for _ in range(2):
        with Engine(None, Workflow("pay").step("pay", pay, transactional=True)) as engine:
            assert engine.start("pay").result(PATIENCE) == 0
        assert kept() == []


def test_one_whose_handler_outlives_its_time_limit_and_its_engine_goes_with_that() -> None:
    go_on = threading.Event()

    def hold() -> None:
        go_on.wait(PATIENCE)

    with freeze():
        engine = Engine(None, Workflow("hold").step("hold", hold, timeout=60, retry=1), queue_name=unique_name())
        run = engine.start("hold")
        engine.advance(minutes=1)
        assert run.state is State.FAILED
        engine.close()
    try:
        assert kept() == []
    finally:
        go_on.set()
        close_cleanly(engine)


def test_who_waits_for_another_time_for_locks_gets_one_of_its_own() -> None:
    Engine(None).close()
    [where] = kept()
    with Engine(None, busy_timeout=0.3) as engine:
        assert file_of(engine) != where
        waits = engine._machine.store.database.consult(lambda connection: connection.execute("PRAGMA busy_timeout"))
        assert waits.fetchone() == (300,)


def test_one_whose_file_somebody_has_removed_is_thrown_away() -> None:
    Engine(None).close()
    [where] = kept()
    shutil.rmtree(Path(where).parent)
    with Engine(None, GATE) as engine:
        assert file_of(engine) != where
        run = engine.start("gate", {})
        run.signal("go", "there")
        assert run.result(PATIENCE) == "there"


def test_a_forked_child_finds_none_and_its_parent_makes_new_ones() -> None:
    with Engine(None, GATE) as engine:
        where = file_of(engine)
    assert kept() == [where]
    child = os.fork()
    if child == 0:
        os._exit(len(kept()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not Path(where).exists()


def test_a_child_that_is_forked_while_an_engine_closes_does_not_get_its_connection(
    tmp_path: Path, checkout: Path
) -> None:
    code = """
import os, threading
fork_began, closed = threading.Event(), threading.Event()
def wait_for_the_close():
    fork_began.set()
    closed.wait(0.5)  # in vain: to keep anything waits for the fork
os.register_at_fork(before=lambda: wait_for_the_close())  # called last, since it was here first
from perdure import Engine
from perdure.persistence import spares
engine = Engine(None)
def close():
    fork_began.wait()
    engine.close()
    closed.set()
closer = threading.Thread(target=close)
closer.start()
child = os.fork()
if child == 0:
    os._exit(len(spares._spares))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
closer.join()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_child_that_ends_without_a_farewell_leaves_nothing(tmp_path: Path, checkout: Path) -> None:
    code = """
import multiprocessing, sys
from perdure.persistence import private
private.PrivateFile.place = staticmethod(lambda: sys.argv[1])
from perdure import Engine
child = multiprocessing.get_context("fork").Process(target=lambda: Engine(None).close())
child.start()
child.join()
sys.exit(child.exitcode)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=checkout, check=True)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_is_left_open_with_a_handler_at_work_goes_quietly(checkout: Path) -> None:
    code = """
import threading
from perdure import Engine, Workflow
begun = threading.Event()
def hold():
    begun.set()
    threading.Event().wait(0.2)
engine = Engine(None, Workflow("hold").step("hold", hold))
engine.start("hold")
begun.wait()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=checkout, stderr=subprocess.PIPE, text=True, check=True)
    assert "nothing" not in done.stderr


def test_what_is_kept_goes_with_the_process(tmp_path: Path, checkout: Path) -> None:
    code = """
import sys
from pathlib import Path
from perdure.persistence import private
private.PrivateFile.place = staticmethod(lambda: sys.argv[1])
from perdure import Engine
Engine(None).close()
print(len(list(Path(sys.argv[1]).iterdir())))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True)
    assert (done.stdout, list(tmp_path.iterdir())) == ("1\n", [])
