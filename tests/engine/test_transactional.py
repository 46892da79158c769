"""What a transactional step writes and its result are one commit: both are there, or neither, whatever happens."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import peewee
import pytest

from perdure import Context, DefinitionError, Engine, Retry, UsageError, Workflow, step
from perdure.persistence.apart import Apart
from perdure.testing import freeze
from tests.engine.drive import photographs_of

pytestmark = pytest.mark.on_a_file  # the caller's connection is SQLite's

AT_ONCE = Retry(attempts=3, initial=0, jitter=0)


@pytest.fixture
def ledger(lab: Engine) -> Iterator[sqlite3.Connection]:
    """A table of the user's, in the engine's database."""
    connection = sqlite3.connect(lab.path)
    connection.execute("CREATE TABLE ledger (account TEXT, cents INTEGER)")
    connection.commit()
    yield connection
    connection.close()


def entries(database: str | Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT account, cents FROM ledger ORDER BY rowid").fetchall()


def book(ctx: Context[Any]) -> int:
    ctx.transaction.execute("INSERT INTO ledger VALUES (?, ?)", ("Ada", ctx.input))
    total: int = ctx.transaction.execute("SELECT sum(cents) FROM ledger").fetchone()[0]
    return total


booking = Workflow("booking", input=int).step("book", book, transactional=True).step("tell", lambda ctx: "told")


def test_writes_and_result_are_committed_together(lab: Engine, ledger: Any) -> None:
    lab.register(booking)
    first, second = (lab.start(booking, cents) for cents in (5, 7))
    lab.settle()

    assert {run.wait().steps["book"].result for run in (first, second)} in ({5, 12}, {7, 12})  # whoever came first
    assert sorted(entries(lab.path)) == [("Ada", 5), ("Ada", 7)]


def test_a_step_that_raises_has_written_nothing(lab: Engine, ledger: Any) -> None:
    def fail_twice(ctx: Context[Any]) -> int:
        book(ctx)
        if ctx.attempt < 3:
            raise ConnectionError
        return ctx.attempt

    lab.register(Workflow("flaky").step("book", fail_twice, transactional=True, retry=AT_ONCE))
    run = lab.start("flaky", 5)
    lab.settle()

    assert run.result() == 3
    assert entries(lab.path) == [("Ada", 5)]


@pytest.mark.parametrize(
    ("result", "error"), [(object(), "NotStorable"), ({"a": lambda: 1}, "NotStorable")], ids=["object", "function"]
)
def test_a_result_that_cannot_be_stored_undoes_the_writes(lab: Engine, ledger: Any, result: Any, error: str) -> None:
    def spoil(ctx: Context[Any]) -> Any:
        book(ctx)
        return result

    lab.register(Workflow("spoilt").step("book", spoil, transactional=True))
    run = lab.start("spoilt", 5)
    lab.settle()

    assert error in str(run.wait().error)
    assert entries(lab.path) == []


def test_at_every_crash_the_writes_are_there_if_and_only_if_the_result_is(lab: Engine, ledger: Any) -> None:
    lab.register(booking)
    with photographs_of(Path(lab.path), lambda: None) as photographs:
        lab.start(booking, 5, id="b").result()
        lab.settle()
    lab.close()
    for number, (content, _, moment) in enumerate(photographs):
        copy = Path(lab.path).with_name(f"copy-{number}.db")
        for part, suffix in zip(content, ("", "-wal"), strict=True):
            Path(f"{copy}{suffix}").write_bytes(part)
        assert goes_on(copy, moment) == (5, [("Ada", 5)])


def goes_on(copy: Path, moment: datetime) -> tuple[int, list[tuple[str, int]]]:
    with freeze(moment), Engine(copy, booking, durability="normal") as engine:
        engine.settle()
        execution = engine.get_execution("b")
        assert execution is not None
        return execution.steps["book"].result, entries(copy)


def test_a_death_right_after_the_commit_repeats_nothing(lab: Engine, ledger: Any, monkeypatch: Any) -> None:
    commit = Apart.commit

    def commit_and_die(self: Apart) -> None:
        commit(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Apart, "commit", commit_and_die)
    lab.register(booking)
    lab.start(booking, 5, id="b")
    lab.settle()
    assert lab.run("b").state == "running"
    lab.abandon()
    with lab.reopen() as fresh:
        fresh.settle()

        assert fresh.run("b").result() == "told"
        assert [(one.step, one.outcome) for one in fresh.history("b")] == [("book", "completed"), ("tell", "completed")]
    assert entries(lab.path) == [("Ada", 5)]


def test_a_commit_that_was_made_is_not_repeated_though_the_disk_says_that_it_failed(
    lab: Engine, ledger: Any, monkeypatch: Any
) -> None:
    commit = Apart.commit

    def commit_and_fail(self: Apart) -> None:
        commit(self)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Apart, "commit", commit_and_fail)
    lab.register(booking)
    run = lab.start(booking, 5)
    lab.settle()
    assert run.result() == "told"
    assert run.wait().steps["book"].attempts == 1
    assert entries(lab.path) == [("Ada", 5)]


def test_an_attempt_whose_run_was_taken_over_commits_nothing(lab: Engine, ledger: Any) -> None:
    entered, hold, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(ctx: Context[Any]) -> str:
        if not entered.is_set():
            entered.set()
            hold.wait()
            try:
                book(ctx)
            finally:
                ended.set()
            return "too late"
        book(ctx)
        return "in time"

    flow = Workflow("slow", input=int).step("slow", lambda ctx: None).step("book", slow, transactional=True)
    lab.register(flow)
    run = lab.start(flow, 5)
    entered.wait()
    attempt = next(iter(lab._machine.supervisor._live[run_key(lab, run.id)]._attempts.in_flight.values()))
    lab._machine.crew.abandon(attempt)
    hold.set()
    ended.wait()
    lab.abandon()
    with lab.reopen() as fresh:
        fresh.settle()

        assert fresh.run(run.id).result() == "in time"
    assert entries(lab.path) == [("Ada", 5)]


def run_key(engine: Engine, id: str) -> int:
    stored = engine._machine.store.snapshot(id)
    assert stored is not None
    return stored.execution.id


def test_peewee_models_write_within_the_step(lab: Engine, ledger: Any) -> None:
    database = peewee.SqliteDatabase(lab.path)

    class Entry(peewee.Model):
        account = peewee.TextField()
        cents = peewee.IntegerField()

        class Meta:
            database: Any = None
            table_name = "ledger"
            primary_key = False

    Entry.bind(database)

    def book_twice(ctx: Context[Any]) -> int:
        with ctx.transaction.using(database):
            Entry.create(account="Ada", cents=1)
            with database.atomic() as inner:
                Entry.create(account="Bob", cents=2)
                inner.rollback()
            with database.atomic():
                Entry.create(account="Cleo", cents=ctx.attempt)
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.attempt

    lab.register(Workflow("models").step("book", book_twice, transactional=True, retry=AT_ONCE))
    assert lab.start("models").result() == 2
    assert database.is_closed()
    assert entries(lab.path) == [("Ada", 1), ("Cleo", 2)]


def test_a_run_may_be_started_within_the_step(lab: Engine, ledger: Any) -> None:
    def book_and_ship(ctx: Context[Any]) -> str:
        book(ctx)
        child = lab.start("ship", ctx.input, id=f"ship-{ctx.attempt}", tx=ctx.transaction.connection)
        if ctx.attempt == 1:
            raise ConnectionError
        return child.id

    lab.register(
        Workflow("ship").step("ship", lambda ctx: ctx.input),
        Workflow("order").step("book", book_and_ship, transactional=True, retry=AT_ONCE),
    )
    run = lab.start("order", 5)
    lab.settle()

    assert run.result() == "ship-2"
    assert [found.id for found in lab.list_executions("ship", "completed")] == ["ship-2"]


def test_items_are_transactions_of_their_own(lab: Engine, ledger: Any) -> None:
    def each(ctx: Context[Any]) -> int:
        ctx.transaction.execute("INSERT INTO ledger VALUES ('item', ?)", (ctx.item,))
        if ctx.item == 2:
            raise ValueError
        return int(ctx.item)

    flow = Workflow("items").for_each(lambda ctx: [1, 2], "each", each, transactional=True, retry=1, concurrency=2)
    lab.register(flow)
    lab.start(flow)
    lab.settle()

    assert entries(lab.path) == [("item", 1)]


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK"])
def test_a_handler_that_ends_the_transaction_itself_is_told(lab: Engine, ledger: Any, ending: str) -> None:
    def end(ctx: Context[Any]) -> None:
        ctx.transaction.execute(ending)

    lab.register(Workflow("wrong").step("end", end, transactional=True, retry=1))
    run = lab.start("wrong")
    lab.settle()

    assert "leave commit and rollback to the engine" in str(run.wait().error)


def test_wrong_uses_are_refused_where_they_are_made(lab: Engine) -> None:
    async def later() -> None: ...

    with pytest.raises(DefinitionError, match="step 'later': a transactional step needs a def handler"):
        Workflow("w").step("later", later, transactional=True)
    with pytest.raises(DefinitionError, match="step 'book': a transactional step can have no timeout"):
        step("book", transactional=True, timeout=5)(book)
    lab.register(Workflow("plain").step("book", lambda ctx: ctx.transaction, retry=1))
    run = lab.start("plain")
    lab.settle()
    assert "'book' has no transaction: give its step transactional=True" in str(run.wait().error)

    def wrong_database(ctx: Context[Any]) -> None:
        with ctx.transaction.using("runs.db"):
            pass

    lab.register(Workflow("wrong").step("book", wrong_database, transactional=True, retry=1))
    run = lab.start("wrong")
    lab.settle()
    assert "using takes a peewee SqliteDatabase" in str(run.wait().error)
    assert UsageError.__name__ in str(run.wait().error)
