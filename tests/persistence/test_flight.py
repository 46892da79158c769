"""How a commit travels to a server: in few round trips, refused as a whole; and what a session that breaks means."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from perdure.dsl.errors import DuplicateRow, OwnershipLost, StoreError, StoreUnavailable
from perdure.persistence.connection import Connection
from perdure.persistence.postgres import ServerDatabase
from perdure.persistence.postgres.server import Session
from perdure.persistence.records import Batch, TagRow
from perdure.persistence.store import Store
from perdure.testing.store_contract import Rows

HELD_UP = """
    CREATE FUNCTION held_up() RETURNS trigger LANGUAGE plpgsql AS
    $body$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $body$
"""

REFUSED = """
    CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS
    $body$ BEGIN RAISE 'no tags here'; END $body$
"""


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open a store for a while."""
    store = Store(url)
    store.open()
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """An open store on a server."""
    with opened(postgres_url) as store:
        yield store


def writer_of(store: Store) -> Session:
    """Return the session that writes."""
    assert isinstance(store._database, ServerDatabase)
    return store._database.writer


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Somebody else's session."""
    with psycopg.connect(postgres_url, autocommit=True) as session:
        yield session


def round_trips(session: psycopg.Connection, action: Callable[[], object]) -> int:
    """Return how often the server says meanwhile that it is ready for more."""
    with tempfile.TemporaryFile("w+") as trace:
        session.pgconn.trace(trace.fileno())
        action()
        session.pgconn.untrace()
        trace.seek(0)
        return trace.read().count("ReadyForQuery")


def test_a_commit_is_two_round_trips_whatever_it_writes(store: Store, rows: Rows) -> None:
    runs = [rows.run(store) for _ in range(100)]
    batch = rows.batch(
        *runs,
        facts={run.id: [rows.fact("a"), rows.fact("b")] for run in runs},
        signals=[rows.signal(store, run.id) for run in runs],
    )
    batch.tags = tuple(TagRow("tag", "1", run.created_at, run.id) for run in runs)
    assert round_trips(writer_of(store), lambda: store.commit(batch)) == 2
    assert round_trips(writer_of(store), lambda: store.commit(rows.batch(*runs[:3]))) == 2


def test_a_commit_behind_a_pooler_is_two_round_trips_though_every_transaction_brings_its_settings(
    pooled_url: str, rows: Rows
) -> None:
    with opened(pooled_url) as store:
        batch = rows.batch(rows.run(store), rows.run(store))
        assert round_trips(writer_of(store), lambda: store.commit(batch)) == 2


def test_reading_is_two_round_trips(store: Store) -> None:
    store.count()
    assert isinstance(store._database, ServerDatabase)
    (session,) = store._database._idle
    assert round_trips(session, store.count) == 2


def test_an_engine_that_has_lost_its_right_hears_that_first(
    store: Store, rows: Rows, other: psycopg.Connection
) -> None:
    run = rows.run(store, execution_id="a")
    store.commit(rows.batch(run))
    other.execute("UPDATE workflow_engines SET driver = NULL")
    batch = rows.batch(rows.run(store, execution_id="a"), facts={run.id: [rows.fact()]})  # a duplicate too
    with pytest.raises(OwnershipLost, match="taken over; nothing was written"):
        store.commit(batch)
    assert store.load(run.id) == (run, [], [])


def test_what_is_refused_leaves_a_session_that_is_fit_for_the_next(store: Store, rows: Rows) -> None:
    session = writer_of(store)
    store.commit(rows.batch(rows.run(store, execution_id="a")))
    many = [rows.run(store) for _ in range(7)]  # a statement that the server has not been told of yet
    for _ in range(3):
        with pytest.raises(DuplicateRow, match="nothing was written"):
            store.commit(rows.batch(*many, rows.run(store, execution_id="a")))
        with pytest.raises(StoreError, match="nothing was written"):
            store.commit(rows.batch(*many[:6], rows.run(store, execution_id="a\0")))
    store.commit(rows.batch(*many))
    assert (store.count(), writer_of(store)) == (8, session)


def test_an_error_that_nobody_looked_for_is_told_before_anything_is_committed(
    store: Store, rows: Rows, other: psycopg.Connection
) -> None:
    other.execute(REFUSED)
    other.execute("CREATE TRIGGER refused BEFORE INSERT ON workflow_tags FOR EACH ROW EXECUTE FUNCTION refused()")
    run = rows.run(store)
    batch = rows.batch(run)
    batch.tags = (TagRow("tag", "1", run.created_at, run.id),)
    with pytest.raises(StoreError, match=r"(?s)no tags here.*nothing was written"):
        store.commit(batch)
    assert store.count() == 0
    other.execute("DROP FUNCTION refused CASCADE")


def test_statements_that_the_server_knows_are_not_kept_for_ever(
    store: Store, rows: Rows, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.persistence.postgres.server._KEPT_PREPARED", 3)
    for size in range(1, 9):
        store.commit(rows.batch(*(rows.run(store) for _ in range(size))))
    assert store.count() == 36
    known = writer_of(store).execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert known is not None
    assert known[0] < 9


class TestACutDuringACommit:
    """The server ends the session while it works on something."""

    @staticmethod
    def commit(store: Store, batch: Batch) -> tuple[threading.Thread, list[StoreError]]:
        """Commit on another thread; return it, and where its error goes."""
        errors: list[StoreError] = []

        def run() -> None:
            try:
                store.commit(batch)
            except StoreError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread, errors

    @staticmethod
    def end_whoever_waits(other: psycopg.Connection) -> None:
        """End the session that waits for a lock, once there is one, and wait until it has ended."""
        while not other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ).fetchall():
            pass

    def test_before_it_is_asked_to_commit_goes_unnoticed(
        self, store: Store, rows: Rows, other: psycopg.Connection
    ) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run))
        session = writer_of(store)
        with psycopg.connect(other.info.dsn, autocommit=True) as third, other.transaction():
            other.execute("SELECT 1 FROM workflow_executions FOR UPDATE")
            thread, errors = self.commit(store, rows.batch(run, rows.run(store)))
            self.end_whoever_waits(third)
        thread.join()
        assert (errors, store.count(), session.closed) == ([], 2, True)

    def test_again_and_again_is_an_error_and_nothing_was_written(
        self, store: Store, rows: Rows, other: psycopg.Connection
    ) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run))
        batch = rows.batch(run, rows.run(store))
        with psycopg.connect(other.info.dsn, autocommit=True) as third, other.transaction():
            other.execute("SELECT 1 FROM workflow_executions FOR UPDATE")
            thread, errors = self.commit(store, batch)
            self.end_whoever_waits(third)
            self.end_whoever_waits(third)
            thread.join()
        (error,) = errors
        assert isinstance(error, StoreUnavailable)
        assert "nothing was written" in str(error)
        store.commit(batch)
        assert store.count() == 2

    def test_while_it_commits_the_outcome_is_unknown(self, store: Store, rows: Rows, other: psycopg.Connection) -> None:
        other.execute(HELD_UP)
        other.execute(
            "CREATE CONSTRAINT TRIGGER held_up AFTER INSERT ON workflow_executions"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION held_up()"
        )
        other.execute("SELECT pg_advisory_lock(7)")
        batch = rows.batch(rows.run(store))
        thread, errors = self.commit(store, batch)
        self.end_whoever_waits(other)
        thread.join()
        (error,) = errors
        assert isinstance(error, StoreUnavailable)
        assert "is unknown" in str(error)
        other.execute("DROP FUNCTION held_up CASCADE")
        store.commit(batch)
        assert store.count() == 1


def test_a_session_that_was_ended_while_nobody_used_it_is_made_anew_without_a_word(
    store: Store, rows: Rows, other: psycopg.Connection
) -> None:
    pid = writer_of(store).info.backend_pid
    other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    store.commit(rows.batch(rows.run(store)))
    assert store.count() == 1


def test_a_transaction_that_has_fallen_silent_before_its_commit_is_ended_by_the_server_and_has_written_nothing(
    store: Store, other: psycopg.Connection
) -> None:
    session = writer_of(store)
    session.execute("SET idle_in_transaction_session_timeout = 1")

    def fall_silent(connection: Connection) -> None:
        connection.execute("SELECT 1").fetchone()
        sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        while other.execute(sql, (session.info.backend_pid,)).fetchone() is not None:
            pass

    with pytest.raises(StoreUnavailable, match=r"fallen silent.*nothing was written"):
        store._database.write(fall_silent)


def test_a_handler_that_makes_the_server_forget_statements_does_no_harm(store: Store, rows: Rows) -> None:
    store.commit(rows.batch(rows.run(store)))
    assert store.count() == 1
    with store.apart() as transaction:
        transaction.execute("DEALLOCATE ALL")
    assert store.count() == 1
    writer_of(store).execute("DEALLOCATE ALL")
    store.commit(rows.batch(rows.run(store)))
    assert store.count() == 2
