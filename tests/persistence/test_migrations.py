"""A database of any release is recognised: made, brought up to date with a copy kept, or refused untouched."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure.dsl.errors import SchemaTooNew, StoreError
from perdure.persistence.migrations import MIGRATIONS, Migration, migrate, version_of
from perdure.persistence.models import MODELS
from perdure.persistence.store import Store


@pytest.fixture
def connection(path: Path) -> Any:
    """A bare connection."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def add_note(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE workflow_executions ADD COLUMN note TEXT")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE workflow_half_done (x)")
    raise ZeroDivisionError


NEWEST = len(MIGRATIONS)
NEXT = (*MIGRATIONS, Migration(NEWEST + 1, f"{NEWEST + 1:04}_add_note", add_note))


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_models_and_migrations_agree_on_every_column(connection: sqlite3.Connection, path: Path) -> None:
    migrate(connection, str(path))
    for model in MODELS:
        meta: Any = model._meta
        found = connection.execute(f"PRAGMA table_info({meta.table_name})").fetchall()
        declared = [(field.column_name, field.null) for field in meta.sorted_fields]
        assert [(name, not required and not key) for _, name, _, required, _, key in found] == [
            (name, null) for name, null in declared
        ], model
    assert tables(connection) - {"sqlite_sequence"} == {model._meta.table_name for model in MODELS}


def test_migrating_twice_changes_nothing(connection: sqlite3.Connection, path: Path) -> None:
    migrate(connection, str(path))
    before = connection.execute("SELECT * FROM workflow_migrations").fetchall()
    migrate(connection, str(path))
    assert connection.execute("SELECT * FROM workflow_migrations").fetchall() == before
    assert [(number, name) for number, name, _ in before] == [(step.number, step.name) for step in MIGRATIONS]


def test_an_older_schema_is_migrated_and_a_copy_is_kept(
    open_store: Any, rows: Any, connection: sqlite3.Connection, path: Path
) -> None:
    store = open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    store.close()
    migrate(connection, str(path), migrations=NEXT)
    assert version_of(connection) == NEWEST + 1
    assert connection.execute("SELECT execution_id, note FROM workflow_executions").fetchall() == [
        (run.execution_id, None)
    ]
    copy = sqlite3.connect(f"{path}-backup-v{NEWEST}")
    assert version_of(copy) == NEWEST
    assert copy.execute("SELECT execution_id FROM workflow_executions").fetchall() == [(run.execution_id,)]
    copy.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(connection: sqlite3.Connection, path: Path) -> None:
    migrate(connection, str(path))
    steps = (*NEXT, Migration(NEWEST + 2, f"{NEWEST + 2:04}_fail", fail))
    with pytest.raises(ZeroDivisionError):
        migrate(connection, str(path), migrations=steps)
    assert version_of(connection) == NEWEST
    assert "note" not in {name for _, name, *_ in connection.execute("PRAGMA table_info(workflow_executions)")}
    assert "workflow_half_done" not in tables(connection)


def test_a_newer_schema_is_refused_untouched(path: Path) -> None:
    first = Store(str(path))
    first.open()
    first.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO workflow_migrations VALUES (99, '0099_future', 0)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=r"schema version 99.*upgrade perdure"):
        Store(str(path)).open()
    assert path.read_bytes() == before


def test_many_stores_may_create_one_file_at_once(path: Path) -> None:
    stores = [Store(str(path), durability="normal") for _ in range(6)]
    errors: list[StoreError] = []

    def open_it(store: Store) -> None:
        try:
            store.open()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert errors == []
        assert sorted(store.engine_id for store in stores) == [1, 2, 3, 4, 5, 6]
    finally:
        for store in stores:
            store.close()
