"""SQLite's words in PostgreSQL's, a server's errors in ours, and an address without its secrets."""

from __future__ import annotations

import pytest

from perdure.dsl.errors import DuplicateRow, MissingExtra, StoreError, StoreUnavailable, UsageError
from perdure.persistence.postgres.dialect import translate, translate_schema
from perdure.persistence.postgres.server import Server
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from perdure.testing.store_contract import Rows


@pytest.mark.parametrize(
    ("sqlite", "postgres"),
    [
        ("SELECT 1 WHERE a = ? AND b = ?", "SELECT 1 WHERE a = $1 AND b = $2"),
        ("SELECT 1 WHERE a = ?2 AND b = ?1", "SELECT 1 WHERE a = $2 AND b = $1"),
        ("SELECT 1 FROM t WHERE v IS ?3", "SELECT 1 FROM t WHERE v IS NOT DISTINCT FROM $3"),
        ("SELECT a FROM t INDEXED BY i WHERE b", "SELECT a FROM t WHERE b"),
        ("FROM a AS x CROSS JOIN b AS y ON y.id = x.id", "FROM a AS x JOIN b AS y ON y.id = x.id"),
        ("BEGIN IMMEDIATE", "BEGIN"),
        ("SELECT a FROM t /*lock FOR SHARE*/", "SELECT a FROM t FOR SHARE"),
        ("INSERT OR IGNORE INTO t (a) VALUES (?)", "INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING"),
        (
            "DELETE FROM t WHERE id IN (SELECT value FROM json_each(?))",
            "DELETE FROM t WHERE id IN (SELECT value::bigint FROM json_array_elements_text($1::json))",
        ),
        (
            "SELECT 1 FROM t WHERE state IN (SELECT value FROM json_each(?))",
            "SELECT 1 FROM t WHERE state IN (SELECT value FROM json_array_elements_text($1::json))",
        ),
    ],
)
def test_a_statement_means_the_same_on_a_server(sqlite: str, postgres: str) -> None:
    assert translate(sqlite) == postgres


def test_a_table_has_the_same_columns_on_a_server() -> None:
    assert translate_schema("CREATE TABLE t (a INTEGER NOT NULL, b TEXT) WITHOUT ROWID") == (
        'CREATE TABLE t (a BIGINT NOT NULL, b TEXT COLLATE "C")'
    )


@pytest.mark.parametrize(
    "url", ["postgresql://app:s3cr%40t@db/shop", "postgresql://app@db/shop?password=s3cr%40t&connect_timeout=3"]
)
def test_an_address_is_shown_without_its_password(url: str) -> None:
    assert "s3cr" not in Server(url).name
    assert "***" in Server(url).name


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="no address of a PostgreSQL database"):
        Server("postgresql://app@db/shop?no_such_option=1")


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_not_told() -> None:
    store = Store("postgresql://app:secret@127.0.0.1:1/shop")
    with pytest.raises(StoreUnavailable, match="nothing was written") as caught:
        store.open()
    assert "secret" not in str(caught.value)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ImportError("psycopg")

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtra, match=r'pip install "perdure\[postgres\]"'):
        Store("postgresql://db/shop")


def test_what_a_server_refuses_is_told_as_for_a_file(postgres_url: str) -> None:
    store, rows = Store(postgres_url), Rows()
    store.open()
    try:
        run = rows.run(store, execution_id="a", idempotency_key="k")
        store.commit(rows.batch(run))
        with pytest.raises(DuplicateRow, match="an execution with this id exists already; nothing was written"):
            store.commit(rows.batch(rows.run(store, execution_id="a")))
        with pytest.raises(DuplicateRow, match="was started with this key already"):
            store.commit(rows.batch(rows.run(store, idempotency_key="k")))
        with pytest.raises(UsageError, match="pg_dump"):
            store.backup("copy.sql")
        store.commit(Batch())
    finally:
        store.close()
    with pytest.raises(StoreError):
        store.commit(rows.batch(run))
