"""A run that is started within a caller's transaction exists if and only if the caller's rows do."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

from perdure import (
    DuplicateExecution,
    Engine,
    ExecutionNotFound,
    State,
    StoreError,
    UsageError,
    Workflow,
)
from perdure.actors import joining
from tests.patience import PATIENCE

GUARD = 60.0
"""Real seconds after which a test fails that would hang."""

ship = Workflow("ship", input=int).step("ship", lambda ctx: f"shipped {ctx.input}")


pytestmark = pytest.mark.on_a_file  # the caller's connection is SQLite's


@pytest.fixture
def shop(lab: Engine) -> Engine:
    return lab.register(ship)


@pytest.fixture
def connection(shop: Engine) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(shop.path)
    connection.execute("CREATE TABLE orders (number INTEGER)")
    connection.commit()
    yield connection
    connection.close()


def orders(shop: Engine) -> list[int]:
    connection = sqlite3.connect(shop.path)
    found = [number for (number,) in connection.execute("SELECT number FROM orders")]
    connection.close()
    return found


def test_a_run_begins_once_the_caller_commits(shop: Engine, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO orders VALUES (1)")
    run = shop.start(ship, 1, id="o-1", tags={"a": 1}, business_key="b", tx=connection)
    assert shop.get_execution("o-1") is None
    with pytest.raises(ExecutionNotFound):
        _ = run.state
    connection.commit()

    assert run.result(timeout=PATIENCE) == "shipped 1"
    assert orders(shop) == [1]
    assert [found.id for found in shop.list_executions(tags={"a": 1}, business_key="b")] == ["o-1"]


def test_a_run_is_never_there_if_the_caller_rolls_back(shop: Engine, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO orders VALUES (1)")
    shop.start(ship, 1, id="o-1", tx=connection)
    connection.rollback()
    shop.settle()

    assert (shop.list_executions(), orders(shop)) == ([], [])
    assert shop.start(ship, 2, id="o-1").result() == "shipped 2"


def test_settling_begins_what_was_committed(shop: Engine, connection: sqlite3.Connection) -> None:
    for number in range(5):
        shop.start(ship, number, id=f"o-{number}", tx=connection)
        connection.commit() if number % 2 == 0 else connection.rollback()
    shop.settle()

    assert [run.result for run in shop.list_executions(order="oldest")] == ["shipped 0", "shipped 2", "shipped 4"]


def test_settling_waits_for_the_thread_that_has_just_seen_a_commit(
    shop: Engine, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, seen, goes_on = shop._machine.core, threading.Event(), threading.Event()
    post = core.post

    def slowly(actor: Any, envelope: Any) -> None:
        if isinstance(envelope.message, joining.Revive):
            seen.set()
            goes_on.wait()
        post(actor, envelope)

    monkeypatch.setattr(core, "post", slowly)
    run = shop.start(ship, 1, id="o-1", tx=connection)
    connection.commit()
    assert seen.wait(GUARD)
    settled = threading.Thread(target=shop.settle)
    settled.start()
    settled.join(0.1)
    early = not settled.is_alive()
    goes_on.set()
    settled.join(GUARD)

    assert not early
    assert run.state is State.COMPLETED


def test_a_peewee_database_is_a_transaction_too(shop: Engine, connection: sqlite3.Connection) -> None:
    database = peewee.SqliteDatabase(shop.path)
    orders_ = peewee.Table("orders", ("number",)).bind(database)
    with database.atomic():
        orders_.insert(number=1).execute()
        run = shop.start(ship, 1, tx=database)
    with database.atomic() as transaction:
        orders_.insert(number=2).execute()
        lost = shop.start(ship, 2, tx=database)
        transaction.rollback()
    database.close()
    shop.settle()

    assert run.result() == "shipped 1"
    assert shop.get_execution(lost.id) is None
    assert orders(shop) == [1]


@pytest.mark.parametrize("isolation_level", ["", "DEFERRED", "IMMEDIATE"])
def test_the_run_may_be_the_first_thing_in_the_transaction(
    shop: Engine, connection: sqlite3.Connection, isolation_level: Any
) -> None:
    connection.isolation_level = isolation_level
    connection.row_factory = lambda cursor, row: {"it": row}
    connection.text_factory = bytes
    run = shop.start(ship, 1, tx=connection)
    assert connection.in_transaction
    connection.execute("INSERT INTO orders VALUES (1)")
    connection.commit()

    assert run.result(timeout=PATIENCE) == "shipped 1"
    assert connection.execute("SELECT number FROM orders").fetchall() == [{"it": (1,)}]


def test_a_key_means_one_run_within_a_transaction_as_well(shop: Engine, connection: sqlite3.Connection) -> None:
    first = shop.start(ship, 1, key="k", tx=connection)
    assert shop.start(ship, 2, key="k", tx=connection).id == first.id
    with pytest.raises(DuplicateExecution):
        shop.start(ship, 2, key="k", if_exists="reject", tx=connection)
    connection.commit()
    first.result(timeout=PATIENCE)
    shop.settle()
    second = shop.start(ship, 3, key="k", if_exists="replace_if_finished", tx=connection)
    connection.commit()

    assert second.result(timeout=PATIENCE) == "shipped 3"
    assert shop.start(ship, 4, key="k").id == second.id
    assert shop.count_executions() == 2


def test_a_start_that_is_put_off_is_put_off_from_the_commit_on(shop: Engine, connection: sqlite3.Connection) -> None:
    run = shop.start(ship, 1, delay=60, tx=connection)
    connection.commit()
    shop.advance(seconds=59)
    assert run.state == "waiting"
    shop.advance(seconds=1)

    assert run.result() == "shipped 1"


def test_a_crash_after_the_commit_loses_nothing(shop: Engine, connection: sqlite3.Connection) -> None:
    begun = shop.start(ship, 1, tx=connection)
    put_off = shop.start(ship, 2, delay=60, tx=connection)
    shop.abandon()
    connection.commit()
    with shop.reopen() as fresh:
        fresh.advance(seconds=60)

        assert [fresh.run(run.id).result() for run in (begun, put_off)] == ["shipped 1", "shipped 2"]


def test_an_engine_may_close_while_a_transaction_is_open(shop: Engine, connection: sqlite3.Connection) -> None:
    run = shop.start(ship, 1, tx=connection)
    shop.abandon()
    connection.commit()
    with shop.reopen() as fresh:
        assert fresh.run(run.id).result() == "shipped 1"


def test_many_threads_start_within_transactions_of_their_own(shop: Engine, connection: sqlite3.Connection) -> None:
    def work(first: int) -> None:
        own = sqlite3.connect(shop.path, timeout=30)
        for number in range(first, first + 5):
            own.execute("BEGIN IMMEDIATE")
            own.execute("INSERT INTO orders VALUES (?)", (number,))
            shop.start(ship, number, tx=own)
            own.commit() if number % 3 else own.rollback()
        own.close()

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shop.settle()

    assert sorted(orders(shop)) == sorted(run.input for run in shop.list_executions(state="completed"))


def test_what_is_no_transaction_on_this_database_is_refused(shop: Engine, tmp_path: Path) -> None:
    elsewhere = sqlite3.connect(tmp_path / "other.db")
    with pytest.raises(UsageError, match=r"other\.db"):
        shop.start(ship, 1, tx=elsewhere)
    memory = sqlite3.connect(":memory:")
    with pytest.raises(UsageError, match="in memory"):
        shop.start(ship, 1, tx=memory)
    bare = sqlite3.connect(shop.path, isolation_level=None)
    with pytest.raises(UsageError, match="begin one first"):
        shop.start(ship, 1, tx=bare)
    with pytest.raises(UsageError, match="must be an open"):
        shop.start(ship, 1, tx="orders.db")
    with pytest.raises(UsageError, match="must be an open"):
        shop.start(ship, 1, tx=peewee.SqliteDatabase(shop.path))
    with pytest.raises(UsageError, match="tx"):
        shop.signal_with_start(ship, 1, "go", id="x", tx=bare)
    for connection in (elsewhere, memory, bare):
        connection.close()
    assert shop.list_executions() == []


def test_a_transaction_that_cannot_write_is_told_and_stays_open(shop: Engine, connection: sqlite3.Connection) -> None:
    other = sqlite3.connect(shop.path, timeout=0)
    other.execute("BEGIN")
    other.execute("SELECT * FROM orders").fetchall()
    connection.execute("INSERT INTO orders VALUES (1)")
    connection.commit()
    with pytest.raises(StoreError, match="locked"):
        shop.start(ship, 1, tx=other)

    assert other.in_transaction
    other.rollback()
    other.close()


def test_a_full_disk_is_told_though_it_has_ended_the_transaction(shop: Engine, connection: sqlite3.Connection) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    connection.execute("INSERT INTO orders VALUES (1)")

    with pytest.raises(StoreError, match="full disk"):
        shop.start(ship, 1, tags={"note": "x" * 1_000_000}, tx=connection)

    assert not connection.in_transaction
    assert orders(shop) == []


def test_whoever_waits_for_a_commit_does_not_hurry_while_the_database_is_away(
    shop: Engine, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience, tried = 0.05, queue.SimpleQueue[float]()
    monkeypatch.setattr(joining, "_PATIENCE", patience)

    def connect(*_: Any, **__: Any) -> sqlite3.Connection:
        tried.put(time.clock_gettime(time.CLOCK_MONOTONIC))
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", connect)
    shop.start(ship, 1, tx=connection)

    first, second = tried.get(timeout=PATIENCE), tried.get(timeout=PATIENCE)
    assert second - first >= patience
    monkeypatch.undo()
    connection.rollback()
