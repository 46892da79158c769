"""On a server as on a file: a run begins with a caller's rows or not at all, and a step's rows come with its result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from perdure import Context, Engine, State, UsageError, Workflow
from tests.patience import PATIENCE

order = Workflow("order", input=str).step("pack", lambda ctx: f"packed {ctx.input}")


@pytest.fixture
def shop(postgres_url: str) -> Iterator[Engine]:
    """An engine on a server, beside a table of the caller's."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    with Engine(postgres_url, order, durability="normal") as engine:
        yield engine


@pytest.fixture
def own(shop: Engine) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the caller's own."""
    with psycopg.connect(shop.path) as connection:
        yield connection


def rows(engine: Engine) -> list[str]:
    with psycopg.connect(engine.path) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]


def test_a_run_begins_once_the_caller_commits(shop: Engine, own: psycopg.Connection[Any]) -> None:
    own.execute("INSERT INTO orders VALUES (%s)", ("o-1",))
    run = shop.start(order, "o-1", id="o-1", tx=own)
    assert shop.get_execution("o-1") is None, "nobody sees it yet"
    own.commit()
    assert (run.result(timeout=PATIENCE), rows(shop)) == ("packed o-1", ["o-1"])


def test_a_run_is_never_there_if_the_caller_rolls_back(shop: Engine, own: psycopg.Connection[Any]) -> None:
    own.execute("INSERT INTO orders VALUES (%s)", ("o-1",))
    shop.start(order, "o-1", id="o-1", tx=own)
    own.rollback()
    assert (shop.get_execution("o-1"), rows(shop)) == (None, [])


def test_what_is_no_transaction_of_the_engines_database_is_refused(shop: Engine, postgres: Any) -> None:
    with psycopg.connect(postgres.url()) as elsewhere:
        elsewhere.execute("SELECT 1")
        with pytest.raises(UsageError, match="another database or schema"):
            shop.start(order, "x", tx=elsewhere)
    with (
        psycopg.connect(shop.path, autocommit=True) as connection,
        pytest.raises(UsageError, match="no transaction open"),
    ):
        shop.start(order, "x", tx=connection)


def test_a_steps_rows_are_committed_with_its_result_or_not_at_all(shop: Engine) -> None:
    attempts: list[int] = []

    def book(ctx: Context[Any]) -> str:
        ctx.transaction.execute("INSERT INTO orders VALUES (%s)", (f"{ctx.execution_id}-{len(attempts)}",))
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("once")
        return "booked"

    shop.register(Workflow("book").step("book", book, transactional=True, retry=2))
    run = shop.start("book", id="b")
    assert (run.result(timeout=PATIENCE), rows(shop)) == ("booked", ["b-1"])


def test_a_handler_that_ends_the_transaction_itself_is_told(shop: Engine) -> None:
    def book(ctx: Context[Any]) -> None:
        ctx.transaction.connection.commit()

    shop.register(Workflow("book").step("book", book, transactional=True, retry=1))
    shown = shop.start("book").wait(timeout=PATIENCE)
    assert shown.state is State.FAILED
    assert "leave commit and rollback to the engine" in str(shown.steps["book"].error)


def test_many_threads_start_runs_in_transactions_of_their_own(shop: Engine) -> None:
    def start(name: str) -> None:
        with psycopg.connect(shop.path) as connection:
            connection.execute("INSERT INTO orders VALUES (%s)", (name,))
            shop.start(order, name, id=name, tx=connection)

    names = [f"o-{number}" for number in range(6)]
    threads = [threading.Thread(target=start, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [shop.run(name).result(timeout=PATIENCE) for name in names] == [f"packed {name}" for name in names]
    assert rows(shop) == names
