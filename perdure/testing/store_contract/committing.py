"""What a store does with a commit: it keeps the whole of it, or refuses the whole of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from ...dsl.errors import DuplicateRow, StoreError
from ...dsl.facts import ErrorRecord, FactKind, FactStatus
from ...persistence.looking import Filter
from ...persistence.records import Batch, Stored
from ...persistence.store import Store

__all__ = ["Committing"]


class Committing:
    """What was committed is there as it was; of what is refused, nothing is."""

    # keeping

    def test_what_was_committed_is_loaded_as_it_was(self, store: Store, rows: Any) -> None:
        error = ErrorRecord("ValueError", "no\nmoney", "charge", "Traceback …", (ErrorRecord("KeyError", "'x'"),))
        run = rows.run(
            store,
            version="2",
            state="failed",
            input='{"a":1}',
            result="3",
            error=error,
            rollback="partial",
            idempotency_key="k",
            tags='{"t":1}',
            parent_id=7,
            parent_key="sub:x",
            adoptions=2,
            sequence=9,
            finished_at=rows.now + 1,
        )
        facts = [
            rows.fact("a", order=1),
            rows.fact("b@2.1", kind=FactKind.GATE, status=FactStatus.WAITING, turn=(2, 1), order=2, due_at=rows.now),
            rows.fact(
                "c", status=FactStatus.FAILED, order=3, attempts=3, interruptions=1, value=None, error=error, sequence=4
            ),
        ]
        signals = [rows.signal(store, run.id, dedup_key="d"), rows.signal(store, run.id, payload='"x"', taken_by="b")]
        store.commit(rows.batch(run, facts={run.id: facts}, signals=signals))
        stored = store.load(run.id)
        assert stored == (run, facts, signals)
        assert store.snapshot(run.execution_id) == stored
        assert store.find(run.execution_id) == run
        assert store.find_key("order", "k") == run
        assert store.children(7) == [run]

    def test_a_later_row_replaces_the_earlier_one(self, store: Store, rows: Any) -> None:
        run = rows.run(store)
        signal = rows.signal(store, run.id)
        store.commit(rows.batch(run, facts={run.id: [rows.fact(value="1")]}, signals=[signal]))
        done = replace(
            run, state="completed", result="2", finished_at=rows.now + 5, updated_at=rows.now + 5, sequence=8
        )
        taken = signal._replace(taken_by="gate")
        store.commit(rows.batch(done, facts={run.id: [rows.fact(value="2")]}, signals=[taken]))
        assert store.load(run.id) == (done, [rows.fact(value="2")], [taken])

    def test_what_a_run_was_started_with_never_changes(self, store: Store, rows: Any) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run))
        store.commit(rows.batch(replace(run, execution_id="other", input="9", created_at=0, state="waiting")))
        assert store.load(run.id) == (replace(run, state="waiting"), [], [])

    def test_an_empty_batch_is_no_harm(self, store: Store) -> None:
        store.commit(Batch())
        assert store.count() == 0

    @pytest.mark.parametrize("size", [1, 2, 3, 63, 64, 65, 127, 200])
    def test_a_batch_of_any_size_is_written_whole(self, store: Store, rows: Any, size: int) -> None:
        runs = [rows.run(store) for _ in range(size)]
        signals = [rows.signal(store, run.id) for run in runs]
        store.commit(rows.batch(*runs, facts={run.id: [rows.fact(str(run.id))] for run in runs}, signals=signals))
        assert store.count() == size
        for run, signal in zip(runs, signals, strict=True):
            assert store.load(run.id) == (run, [rows.fact(str(run.id))], [signal])

    def test_a_run_belongs_to_the_engine_that_wrote_it(self, store: Store, rows: Any) -> None:
        run = rows.run(store, owner=0)
        store.commit(rows.batch(run))
        assert store.load(run.id).execution.owner == store.engine_id  # type: ignore[union-attr]

    def test_numbers_ascend_and_are_given_once(self, store: Store) -> None:
        given_by_threads: list[int] = []
        threads = [
            threading.Thread(target=lambda: given_by_threads.extend(store.new_id() for _ in range(500)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(given_by_threads)) == 2000
        assert store.new_id() > max(given_by_threads)

    def test_commits_may_come_from_different_threads(self, store: Store, rows: Any) -> None:
        run = rows.run(store)
        thread = threading.Thread(target=lambda: store.commit(rows.batch(run)))
        thread.start()
        thread.join()
        assert store.find(run.execution_id) == run

    @pytest.mark.parametrize("text", ["a'b\"; DROP TABLE", "ü\n\u2028", "", "\U0001f600" * 2000])
    def test_text_of_any_sort_is_data(self, store: Store, rows: Any, text: str) -> None:
        run = rows.run(store, execution_id=text, workflow=text, idempotency_key=text, tags=text)
        fact = rows.fact(text, value=text, error=ErrorRecord(text, text, text, text))
        signal = rows.signal(store, run.id, event=text, payload=text, dedup_key=text)
        store.commit(rows.batch(run, facts={run.id: [fact]}, signals=[signal]))
        assert store.snapshot(text) == (run, [fact], [signal])
        assert [one.execution for one in store.snapshots(Filter(workflow=text))] == [run]

    def test_a_text_with_a_nul_is_data_or_refused_as_a_whole(self, store: Store, rows: Any) -> None:
        run = rows.run(store, idempotency_key="\x00", tags="\x00")
        try:
            store.commit(rows.batch(run))
        except StoreError:
            assert store.snapshot(run.execution_id) is None
        else:
            assert store.snapshot(run.execution_id) == Stored(run, [], [])

    def test_an_error_whose_text_cannot_be_encoded_is_stored_readably(self, store: Store, rows: Any) -> None:
        run = rows.run(store, error=ErrorRecord("E", "bad \udc80", causes=(ErrorRecord("F", "\ud800"),)))
        store.commit(rows.batch(run))
        expected = ErrorRecord("E", "bad \\udc80", causes=(ErrorRecord("F", "\\ud800"),))
        assert store.find(run.execution_id) == replace(run, error=expected)

    # refusing

    @pytest.fixture
    def other(self, store: Store, rows: Any) -> Any:
        """A run that stands in the same batch as one that is refused."""
        return rows.run(store)

    def test_an_execution_id_is_given_once(self, store: Store, rows: Any, other: Any) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run))
        with pytest.raises(DuplicateRow, match="an execution with this id exists already; nothing was written"):
            store.commit(
                rows.batch(other, rows.run(store, execution_id=run.execution_id), facts={other.id: [rows.fact()]})
            )
        assert store.load(other.id) is None
        assert store.count() == 1

    def test_an_idempotency_key_is_used_once_in_a_workflow(self, store: Store, rows: Any, other: Any) -> None:
        store.commit(
            rows.batch(rows.run(store, idempotency_key="k"), rows.run(store, workflow="x", idempotency_key="k"))
        )
        with pytest.raises(DuplicateRow, match="started with this key already"):
            store.commit(rows.batch(other, rows.run(store, idempotency_key="k")))
        assert store.load(other.id) is None

    def test_a_signal_key_is_used_once_in_a_run(self, store: Store, rows: Any, other: Any) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run, signals=[rows.signal(store, run.id, dedup_key="k")]))
        store.commit(rows.batch(rows.run(store), signals=[rows.signal(store, run.id + 1, dedup_key="k")]))
        with pytest.raises(DuplicateRow, match="a signal with this key"):
            store.commit(rows.batch(other, signals=[rows.signal(store, run.id, dedup_key="k")]))
        assert store.load(other.id) is None

    @pytest.mark.parametrize("changes", [{"sequence": 2**63}, {"workflow": "\ud800"}])
    def test_what_cannot_be_bound_is_a_store_error_and_writes_nothing(
        self, store: Store, rows: Any, other: Any, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(StoreError, match="nothing was written"):
            store.commit(rows.batch(other, rows.run(store, **changes)))
        assert store.count() == 0
        store.commit(rows.batch(other))
        assert store.count() == 1
