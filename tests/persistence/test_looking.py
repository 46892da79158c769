"""Every question a page or a poll asks is answered from an index, in its order: SQLite's plan tells, not the time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.dsl.errors import SchemaTooOld, StoreCorrupt, StoreUnavailable
from perdure.persistence.codec import encode
from perdure.persistence.figures import STATEMENTS
from perdure.persistence.inputs import encoded_parts, holds, parts_of
from perdure.persistence.looking import Cursor, Filter, count_statement, list_statement, teach
from perdure.persistence.migrations import MIGRATIONS, migrate
from perdure.persistence.reader import Reader

RUNS = "workflow_executions"
PAGES = {
    "all": (Filter(), f"{RUNS}_created"),
    "a workflow's": (Filter("order"), f"{RUNS}_workflow"),
    "a state's": (Filter(states=("waiting",)), f"{RUNS}_state"),
    "the completed": (Filter(states=("completed",)), f"{RUNS}_state"),
    "a workflow's failed": (Filter("order", ("failed",)), f"{RUNS}_state"),
    "a workflow's completed": (Filter("order", ("completed",)), f"{RUNS}_workflow"),
    "of two states": (Filter(states=("failed", "cancelled")), f"{RUNS}_created"),
    "a business key's": (Filter("order", ("failed",), "42"), f"{RUNS}_business_key"),
    "a tag's": (Filter("order", tags=(("customer", "7"),)), "PRIMARY KEY"),
    "of two tags": (Filter(tags=(("customer", "7"), ("shop", "1"))), "PRIMARY KEY"),
    "of a time": (Filter(created_from=5, created_until=9), f"{RUNS}_created"),
    "with an error": (Filter("order", error="timeout"), f"{RUNS}_error"),
    "with an input": (Filter("order", inputs=(("customer.id", "7"),)), f"{RUNS}_workflow"),
}


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, str(path))
    teach(connection)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, statement: tuple[str, list[Any]]) -> str:
    sql, parameters = statement
    return "; ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("after", [None, Cursor(7, 7)], ids=["first page", "next page"])
@pytest.mark.parametrize("which", PAGES)
def test_a_page_is_read_from_an_index_in_its_order(
    connection: sqlite3.Connection, which: str, after: Cursor | None, order: Any
) -> None:
    chosen, index = PAGES[which]

    steps = plan(connection, list_statement(chosen, limit=100, after=after, order=order))

    assert index in steps
    assert "TEMP B-TREE" not in steps  # it would read everything before it gives the first row
    assert after is None or "created_at<" in steps or "created_at>" in steps


def test_what_ended_of_late_is_found_without_looking_at_the_rest(connection: sqlite3.Connection) -> None:
    steps = plan(connection, list_statement(Filter(finished_from=5), limit=100))

    assert f"SEARCH run USING INDEX {RUNS}_finished" in steps


@pytest.mark.parametrize("by", ["state", "workflow"])
def test_counting_everything_reads_an_index_and_no_run(connection: sqlite3.Connection, by: Any) -> None:
    assert f"USING COVERING INDEX {RUNS}_{by}" in plan(connection, count_statement(Filter(), by))
    assert "USING COVERING INDEX" in plan(connection, count_statement(Filter()))
    assert "USING COVERING INDEX" in plan(connection, count_statement(Filter(states=("waiting",))))


def test_figures_read_indexes_and_a_bounded_sample(connection: sqlite3.Connection) -> None:
    plans = {sql: plan(connection, (sql, [1] * sql.count("?"))) for sql in STATEMENTS}

    assert not [sql for sql, steps in plans.items() if steps.startswith("SCAN") and "USING" not in steps]
    assert all("SCAN step" not in steps and "SCAN workflow_steps" not in steps for steps in plans.values())


def test_runs_of_an_older_database_are_found_by_their_tags(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, str(path), migrations=MIGRATIONS[:2])
    connection.executemany(
        "INSERT INTO workflow_executions (workflow, fingerprint, state, input, owner, adoptions, sequence, created_at,"
        " updated_at, finished_at, id, execution_id, tags) VALUES ('w', '', 'failed', '', 1, 0, 0, 5, 5, 6, ?, ?, ?)",
        [(1, "a", '{"n":1.0,"s":"x"}'), (2, "b", '{"$map":[[1,2]]}'), (3, "c", ""), (4, "d", None)],
    )
    migrate(connection, str(path))
    connection.close()

    with Reader(str(path)) as reader:
        assert [row.execution_id for row in reader.runs(Filter(tags=(("n", "1.0"), ("s", '"x"'))))] == ["a"]


# ---- reading alone


def test_a_reader_sees_what_an_engine_commits_and_leaves_no_trace(open_store: Any, rows: Any, path: Path) -> None:
    store = open_store()
    run = rows.run(store)
    with Reader(str(path)) as reader:
        store.commit(rows.batch(run))
        assert reader.runs() == [run]
    store.close()
    before = path.read_bytes()
    with Reader(str(path)) as reader:
        assert reader.count() == 1
        assert reader.snapshot(run.execution_id).execution == run  # type: ignore[union-attr]
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*-engine-*"))


def test_a_reader_makes_no_database_and_migrates_none(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no database"):
        Reader(str(path)).open()
    assert not path.exists()
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, str(path), migrations=MIGRATIONS[:1])
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooOld, match=r"schema version 1.*open it once with an engine"):
        Reader(str(path)).open()
    assert path.read_bytes() == before
    path.write_bytes(b"not a database, but long enough to look like one" * 20)
    with pytest.raises(StoreCorrupt):
        Reader(str(path)).open()


# ---- into inputs

INPUT = {"order": {"id": 7, "lines": [{"sku": "tea"}, {"sku": 'a"b.c'}], "paid": True, "note": None}, "a.b": 1.5}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order.id", 7),
        ("$.order.id", 7.0),
        ("order.lines[0].sku", "tea"),
        ('order.lines[1]."sku"', 'a"b.c'),
        ("order.lines[0]", {"sku": "tea"}),
        ("order.paid", True),
        ("order.note", None),
        ('"a.b"', 1.5),
        ("$", INPUT),
    ],
)
def test_a_path_leads_to_what_stands_there(path: str, value: Any) -> None:
    assert holds(encode(INPUT), encoded_parts(path), encode(value))


@pytest.mark.parametrize(
    ("path", "value"), [("order.paid", 1), ("order.id", "7"), ("order.lines[2]", None), ("order[0]", 7), ("no", None)]
)
def test_nothing_else_is_taken_for_it(path: str, value: Any) -> None:
    assert not holds(encode(INPUT), encoded_parts(path), encode(value))


def test_a_path_leads_through_tuples_and_mappings_as_callers_see_them() -> None:
    value = encode({"pair": (1, {"x": 2}), "odd": {1: "one", "two": 2}})

    assert holds(value, encoded_parts("pair[1].x"), "2")
    assert holds(value, encoded_parts("odd.two"), "2")


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a[", "a[x]", 'a"', "[-1]", "a]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        parts_of(path)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.integers())
def test_any_name_can_be_written_in_quotes(names: list[str], value: int) -> None:
    tree: Any = value
    for name in reversed(names):
        tree = {name: tree}
    path = ".".join('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)

    assert holds(encode(tree), encoded_parts(path), encode(value))
