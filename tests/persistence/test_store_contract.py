"""What every store must do, asked of each kind that there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perdure.dsl.errors import DuplicateRow, OwnershipLost
from perdure.dsl.facts import Fact
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from perdure.testing.store_contract import StoreContract

FACTORIES: dict[str, Callable[[Path], Store]] = {
    "full": lambda folder: Store(str(folder / "full.db"), durability="full"),
    "normal": lambda folder: Store(str(folder / "normal.db"), durability="normal"),
    "private": lambda _: Store(None),
}


class TestStore(StoreContract):
    """The suite that ships."""

    @pytest.fixture(params=[*FACTORIES, "postgres"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        """An open store of each kind."""
        if request.param == "postgres":
            store = Store(request.getfixturevalue("postgres_url"))
        else:
            store = FACTORIES[request.param](tmp_path)
        store.open()
        yield store
        store.close()

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    def test_a_run_that_goes_takes_its_facts_and_signals_along(self, store: Store, runs: list[Any], verb: str) -> None:
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL) == 3
        counts = "SELECT (SELECT count(*) FROM workflow_steps), (SELECT count(*) FROM workflow_signals)"
        assert store._database.consult(lambda connection: connection.execute(counts).fetchone()) == (2, 1)

    def test_an_archived_run_keeps_all_its_facts_and_signals_readably(self, store: Store, runs: list[Any]) -> None:
        assert store.archive(older_than=11, states=self.FINAL, archived_at=99) == 1
        archived = "SELECT execution_id, steps, signals, archived_at FROM workflow_executions_archive"
        [(run, steps, signals, at)] = store._database.consult(
            lambda connection: connection.execute(archived).fetchall()
        )
        assert (run, at) == (runs[0].execution_id, 99)
        assert [(step["key"], step["value"]) for step in json.loads(steps)] == [("a", 1), ("b", {"$set": [1]})]
        assert [(signal["event"], signal["payload"]) for signal in json.loads(signals)] == [("paid", None)]


operations = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from(["", "k", "j"]), st.booleans()), max_size=12
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_a_store_agrees_with_a_dictionary(rows: Any, operations: list[tuple[int, int, str, bool]]) -> None:
    """Commits of several rows, some of which must be refused whole, against the plainest model there is."""
    store = Store(None)
    store.open()
    try:
        base = [rows.run(store) for _ in range(5)]
        model: dict[int, Any] = {}
        facts: dict[tuple[int, str], Fact] = {}
        for turn, (first, second, key, finish) in enumerate(operations):
            batch = Batch()
            for place in {first, second}:
                known = model.get(base[place].id, replace(base[place], idempotency_key=key or None))
                batch.executions[known.id] = replace(known, sequence=turn, finished_at=turn if finish else None)
                batch.facts[known.id, key] = rows.fact(key, value=str(turn))
            keys = [
                row.idempotency_key for row in {**model, **batch.executions}.values() if row.idempotency_key is not None
            ]
            if len(keys) != len(set(keys)):
                with pytest.raises(DuplicateRow):
                    store.commit(batch)
                continue
            store.commit(batch)
            model |= batch.executions
            facts |= batch.facts
        for run in base:
            stored = store.load(run.id)
            assert (stored.execution if stored else None) == model.get(run.id)
            if stored:
                assert {(run.id, fact.key): fact for fact in stored.facts} == {
                    place: fact for place, fact in facts.items() if place[0] == run.id
                }
    finally:
        store.close()


def test_a_run_that_another_engine_drives_cannot_be_written(open_store: Any, rows: Any) -> None:
    mine, theirs = open_store(), open_store()
    run, other = rows.run(theirs), rows.run(mine)
    theirs.commit(rows.batch(run))
    with pytest.raises(OwnershipLost, match="belong to another engine; nothing was written"):
        mine.commit(rows.batch(other, replace(run, state="waiting")))
    assert mine.load(run.id).execution == run
    assert mine.load(other.id) is None
