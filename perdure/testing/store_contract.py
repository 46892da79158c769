"""What every store must do, as a suite that proves a store of your own.

Needs pytest. Derive a class whose name begins with ``Test`` and give it the fixture ``store``::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path / "runs.db")
            store.open()
            yield store
            store.close()
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from ..dsl.errors import DuplicateRow, StoreError, UsageError
from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus
from ..persistence.looking import Cursor, Filter
from ..persistence.records import (
    AttemptRow,
    Batch,
    ExecutionRow,
    PoolRow,
    SignalRow,
    SlotAsk,
    SlotGivenBack,
    SlotHeld,
    Stored,
    TagRow,
    TimerRow,
    TokenAsk,
)
from ..persistence.store import Store

__all__ = ["Rows", "StoreContract"]

NOW = 1_790_000_000_000_000
"""An instant, in microseconds."""


class Rows:
    """Makes rows that differ from the ordinary in what a test says."""

    now = NOW

    def run(self, store: Store, **changes: Any) -> ExecutionRow:
        """A running run of a new id."""
        number = store.new_id()
        row = ExecutionRow(
            id=number,
            execution_id=f"order-{number}",
            workflow="order",
            version=None,
            fingerprint="f",
            state="running",
            input="{}",
            result=None,
            error=None,
            rollback=None,
            idempotency_key=None,
            tags=None,
            parent_id=None,
            parent_key=None,
            owner=store.engine_id,
            adoptions=0,
            sequence=0,
            created_at=NOW,
            updated_at=NOW,
            finished_at=None,
        )
        return replace(row, **changes)

    def fact(self, key: str = "charge", **changes: Any) -> Fact:
        """A completed step."""
        return replace(
            Fact(key, FactKind.STEP, FactStatus.COMPLETED, value="1", started_at=NOW, completed_at=NOW), **changes
        )

    def signal(self, store: Store, run: int, **changes: Any) -> SignalRow:
        """A signal that waits in the mailbox."""
        return SignalRow(store.new_id(), run, "paid", "null", NOW)._replace(**changes)

    def batch(self, *runs: ExecutionRow, facts: dict[int, list[Fact]] | None = None, signals: Any = ()) -> Batch:
        """What one commit writes."""
        return Batch(
            {row.id: row for row in runs},
            {(run, fact.key): fact for run, of_run in (facts or {}).items() for fact in of_run},
            {signal.id: signal for signal in signals},
        )


class StoreContract:
    """The suite; every test is given an open, empty store."""

    @pytest.fixture
    def rows(self) -> Rows:
        """Give the builder of rows."""
        return Rows()

    # committing

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

    # reading

    def test_what_is_not_there_is_none(self, store: Store) -> None:
        assert store.load(1) is None
        assert store.find("x") is None
        assert store.find_key("order", "x") is None
        assert store.snapshot("x") is None
        assert store.children(1) == []
        assert store.due() == []

    def test_lists_are_newest_first_filtered_and_paged(self, store: Store, rows: Any) -> None:
        runs = [
            rows.run(
                store, created_at=rows.now - place, workflow="ab"[place % 2], state=("running", "waiting")[place // 3]
            )
            for place in range(6)
        ]
        store.commit(rows.batch(*runs))
        assert [one.execution for one in store.snapshots()] == runs
        assert store.snapshots() == [store.snapshot(run.execution_id) for run in runs]
        assert [one.execution for one in store.snapshots(limit=2, offset=1)] == runs[1:3]
        assert store.runs(Filter("a")) == runs[::2]
        assert store.runs(Filter(states=("waiting",))) == runs[3:]
        assert store.runs(Filter("a", ("waiting",))) == [runs[4]]
        assert store.runs(after=Cursor(runs[1].created_at, runs[1].id), limit=2) == runs[2:4]
        assert store.runs(after=Cursor(runs[4].created_at, runs[4].id), limit=2, order="oldest") == [runs[3], runs[2]]
        assert (store.count(), store.count(Filter("a")), store.count(Filter(states=("waiting",)))) == (6, 3, 3)
        assert store.counts("state") == {"running": 3, "waiting": 3}
        assert store.counts("workflow", Filter(states=("waiting",))) == {"a": 1, "b": 2}

    def test_runs_are_found_by_what_they_were_started_with(self, store: Store, rows: Any) -> None:
        runs = [
            rows.run(store, created_at=rows.now + place, business_key=f"k{place % 2}", input=f'{{"a":[{place}]}}')
            for place in range(4)
        ]
        tags = tuple(
            TagRow("even", "true" if run.input in ('{"a":[0]}', '{"a":[2]}') else "false", run.created_at, run.id)
            for run in runs
        )
        store.commit(Batch({run.id: run for run in runs}, tags=tags))
        assert store.runs(Filter(business_key="k1")) == [runs[3], runs[1]]
        assert store.runs(Filter(tags=(tags[0][:2],)), order="oldest") == [runs[0], runs[2]]
        assert store.runs(Filter(inputs=(("a[0]", "2"),))) == [runs[2]]
        assert store.count(Filter(created_from=runs[1].created_at, created_until=runs[3].created_at)) == 2

    def test_attempts_that_failed_are_kept_with_their_run(self, store: Store, rows: Any) -> None:
        run, other = rows.run(store), rows.run(store)
        error = ErrorRecord("E", "boom", "charge", "trace", (ErrorRecord("C", "cause"),))
        attempts = [
            AttemptRow(1, 1, "charge", (), "failed", error, rows.now, rows.now + 1, rows.now + 5),
            AttemptRow(1, 2, "charge", (), "interrupted", None, None, rows.now + 7, None),
            AttemptRow(2, 1, "ship@2.1", (2, 1), "timed_out", error, rows.now, rows.now + 9, None),
        ]
        store.commit(Batch({row.id: row for row in (run, other)}, attempts=tuple((run.id, row) for row in attempts)))
        assert store.snapshot_with_attempts(run.execution_id) == (store.snapshot(run.execution_id), attempts)
        assert store.snapshot_with_attempts(other.execution_id) == (store.snapshot(other.execution_id), [])

    def test_unfinished_runs_come_by_state_in_pages_by_id(self, store: Store, rows: Any) -> None:
        states = ["running", "waiting", "compensating", "running", "quarantined"]
        runs = [rows.run(store, state=state) for state in states]
        done = rows.run(store, state="completed", finished_at=rows.now)
        store.commit(rows.batch(*runs, done))
        assert store.unfinished({"running", "compensating"}) == [runs[0], runs[2], runs[3]]
        assert store.unfinished({"running", "compensating"}, limit=2) == [runs[0], runs[2]]
        assert store.unfinished({"running", "compensating"}, after=runs[2].id) == [runs[3]]
        assert store.unfinished({"completed"}) == []
        assert store.count_driven({"running", "compensating"}) == 3
        assert store.count_driven({"running", "compensating"}, after=runs[0].id) == 2

    def test_the_outcome_of_an_attempt_can_be_looked_up(self, store: Store, rows: Any) -> None:
        run = rows.run(store)
        open_ = rows.fact("open", status=FactStatus.RUNNING, value=None, completed_at=None, attempts=1)
        store.commit(rows.batch(run, facts={run.id: [rows.fact("charge", attempts=2), open_]}))
        assert store.has_recorded(run.id, "charge", 2)
        assert not store.has_recorded(run.id, "charge", 1)
        assert not store.has_recorded(run.id, "open", 1)
        assert not store.has_recorded(run.id, "other", 1)

    def test_timers_come_in_order_of_due_time_and_in_pages(self, store: Store, rows: Any) -> None:
        runs = [rows.run(store, state="waiting") for _ in range(3)]
        facts = {
            runs[0].id: [rows.fact("b", due_at=20), rows.fact("a", due_at=20), rows.fact("none")],
            runs[1].id: [rows.fact("a", due_at=10)],
            runs[2].id: [rows.fact("a", due_at=30)],
        }
        store.commit(rows.batch(*runs, facts=facts))
        timers = [
            TimerRow(10, runs[1].id, "a"),
            TimerRow(20, runs[0].id, "a"),
            TimerRow(20, runs[0].id, "b"),
            TimerRow(30, runs[2].id, "a"),
        ]
        assert store.due() == timers
        assert store.due(20) == timers[:3]
        assert store.due(9) == []
        assert store.due(limit=2) == timers[:2]
        assert store.due(after=timers[1]) == timers[2:]
        assert store.due(25, after=timers[1], limit=1) == [timers[2]]

    def test_a_settled_timer_is_due_no_more(self, store: Store, rows: Any) -> None:
        run = rows.run(store, state="waiting")
        store.commit(rows.batch(run, facts={run.id: [rows.fact("a", due_at=10), rows.fact("b", due_at=11)]}))
        store.commit(rows.batch(facts={run.id: [rows.fact("a", due_at=None)]}))
        assert store.due() == [TimerRow(11, run.id, "b")]
        store.commit(rows.batch(replace(run, state="completed", finished_at=rows.now)))
        assert store.due() == []

    def test_reading_works_from_any_thread_while_another_commits(self, store: Store, rows: Any) -> None:
        run = rows.run(store)
        store.commit(rows.batch(run, facts={run.id: [rows.fact("n", value="0")]}))
        torn: list[Any] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                stored = store.snapshot(run.execution_id)
                if stored is None or str(stored.execution.sequence) != stored.facts[0].value:
                    torn.append(stored)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for turn in range(60):
            store.commit(rows.batch(replace(run, sequence=turn), facts={run.id: [rows.fact("n", value=str(turn))]}))
        stop.set()
        for thread in threads:
            thread.join()
        assert torn == []

    # retiring

    FINAL = frozenset({"completed", "failed", "cancelled"})

    @pytest.fixture
    def runs(self, store: Store, rows: Any) -> list[Any]:
        """Three finished runs, oldest first, and one that is not."""
        finished = [
            rows.run(store, state=state, finished_at=at)
            for at, state in ((10, "completed"), (20, "failed"), (30, "completed"))
        ]
        runs = [*finished, rows.run(store)]
        store.commit(
            rows.batch(
                *runs,
                facts={run.id: [rows.fact("a"), rows.fact("b", value='{"$set":[1]}', order=1)] for run in runs},
                signals=[rows.signal(store, run.id) for run in runs],
            )
        )
        return runs

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    def test_only_finished_runs_older_than_the_instant_go(self, store: Store, runs: list[Any], verb: str) -> None:
        assert getattr(store, verb)(older_than=20, states=self.FINAL) == 1
        assert getattr(store, verb)(older_than=2**60, states=frozenset({"failed"})) == 1
        assert [store.load(run.id) is None for run in runs] == [True, True, False, False]
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL) == 1
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL) == 0
        assert store.count() == 1
        assert store.archived_count() == (3 if verb == "archive" else 0)

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    def test_a_call_takes_the_oldest_up_to_its_limit(self, store: Store, runs: list[Any], verb: str) -> None:
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL, limit=2) == 2
        assert [store.load(run.id) is None for run in runs] == [True, True, False, False]

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    def test_a_run_stays_while_its_parent_may_have_to_undo_it(self, store: Store, rows: Any, verb: str) -> None:
        parent = rows.run(store)
        inner = rows.run(store, state="completed", finished_at=5, parent_id=parent.id)
        store.commit(rows.batch(parent, inner))
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL) == 0
        store.commit(rows.batch(replace(parent, state="completed", finished_at=6)))
        assert getattr(store, verb)(older_than=2**60, states=self.FINAL) == 2

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    @pytest.mark.parametrize("state", ["running", "waiting", "compensating", "quarantined", "nonsense"])
    def test_an_unfinished_state_is_refused(self, store: Store, verb: str, state: str) -> None:
        with pytest.raises(UsageError, match=state):
            getattr(store, verb)(older_than=2**60, states=frozenset({"completed", state}))

    @pytest.mark.parametrize("verb", ["cleanup", "archive"])
    def test_a_later_run_of_the_same_id_sees_no_old_fact(
        self, store: Store, rows: Any, runs: list[Any], verb: str
    ) -> None:
        old = runs[0]
        getattr(store, verb)(older_than=2**60, states=self.FINAL)
        again = rows.run(store, execution_id=old.execution_id)
        store.commit(rows.batch(again))
        assert store.snapshot(old.execution_id) == (again, [], [])
        assert store.load(old.id) is None

    # limits

    def ask(self, run: ExecutionRow, pool: PoolRow, key: str = "", **changes: Any) -> SlotAsk:
        """A question for a slot."""
        return SlotAsk(pool, run.id, key, changes.get("priority", 0), changes.get("since", NOW + run.id))

    def commit_with(self, store: Store, batch: Batch, slots: tuple[SlotAsk, ...]) -> None:
        """Commit rows of runs, with the slots that they ask for."""
        batch.slots = slots
        store.commit(batch)

    def slots_of(self, store: Store) -> list[int]:
        """The runs that were given a slot and have not said that they know."""
        return [run for run, _ in store.given_slots()]

    def test_slots_are_given_in_order_and_given_on_in_the_commit_that_frees_them(self, store: Store, rows: Any) -> None:
        pool = PoolRow("press", 2, None)
        runs = [rows.run(store) for _ in range(4)]
        asks = tuple(self.ask(run, pool) for run in runs)
        self.commit_with(store, rows.batch(*runs), asks)
        assert [ask.given for ask in asks] == [True, True, False, False]
        assert store.given_slots() == [(run.id, store.engine_id) for run in runs[:2]]
        store.commit(Batch(slots=(SlotHeld("press", runs[0].id), SlotGivenBack("press", runs[1].id))))
        assert self.slots_of(store) == [runs[2].id]

    def test_who_asks_again_for_a_slot_keeps_its_place(self, store: Store, rows: Any) -> None:
        pool = PoolRow("press", 1, None)
        runs = [rows.run(store) for _ in range(3)]
        self.commit_with(store, rows.batch(*runs), tuple(self.ask(run, pool) for run in runs))
        again = tuple(self.ask(run, pool, since=0) for run in reversed(runs))
        store.commit(Batch(slots=again))
        assert [ask.given for ask in again] == [False, False, True]
        store.commit(Batch(slots=(SlotGivenBack("press", runs[0].id),)))
        assert self.slots_of(store) == [runs[1].id]

    def test_keys_take_turns_and_none_has_more_than_its_own_limit(self, store: Store, rows: Any) -> None:
        pool = PoolRow("press", 3, 2)
        runs = [rows.run(store) for _ in range(6)]
        asks = tuple(self.ask(run, pool, key) for run, key in zip(runs, "aaaabc", strict=True))
        self.commit_with(store, rows.batch(*runs), asks)
        assert [ask.given for ask in asks] == [True, False, False, False, True, True]
        store.commit(Batch(slots=(SlotGivenBack("press", runs[4].id), SlotHeld("press", runs[5].id))))
        assert self.slots_of(store) == [runs[0].id, runs[1].id]
        store.commit(Batch(slots=(SlotGivenBack("press", runs[5].id),)))
        assert self.slots_of(store) == [runs[0].id, runs[1].id], "a third of the same key"

    def test_a_limit_that_is_raised_or_lowered_counts_for_what_comes(self, store: Store, rows: Any) -> None:
        runs = [rows.run(store) for _ in range(4)]
        self.commit_with(store, rows.batch(*runs), tuple(self.ask(run, PoolRow("press", 1, None)) for run in runs))
        store.commit(Batch(slots=(PoolRow("press", 3, None),)))
        assert self.slots_of(store) == [run.id for run in runs[:3]]
        store.commit(Batch(slots=(PoolRow("press", 1, None), SlotGivenBack("press", runs[0].id))))
        assert self.slots_of(store) == [run.id for run in runs[1:3]]
        [pool] = store.figures(since=0, now=NOW).pools
        assert (pool.name, pool.limit, pool.per_key, pool.held, pool.waiting, pool.keys) == ("press", 1, None, 2, 1, 1)

    def test_a_run_that_leaves_the_line_is_forgotten(self, store: Store, rows: Any) -> None:
        pool = PoolRow("press", 1, None)
        runs = [rows.run(store) for _ in range(3)]
        self.commit_with(store, rows.batch(*runs), tuple(self.ask(run, pool, str(run.id)) for run in runs))
        leaving = (runs[1], runs[0], runs[0])
        store.commit(Batch(slots=tuple(SlotGivenBack("press", run.id) for run in leaving)))
        assert self.slots_of(store) == [runs[2].id]
        assert [(pool.held, pool.waiting, pool.keys) for pool in store.figures(since=0, now=NOW).pools] == [(1, 0, 1)]

    def test_a_run_that_ends_in_the_commit_in_which_it_asks_has_no_slot(self, store: Store, rows: Any) -> None:
        pool = PoolRow("press", 1, None)
        runs = [rows.run(store) for _ in range(2)]
        asks = [self.ask(run, pool) for run in runs]
        batch = rows.batch(*runs)
        batch.slots = (asks[0], SlotGivenBack("press", runs[0].id), asks[1])
        store.commit(batch)
        assert [ask.given for ask in asks] == [False, True]

    def test_tokens_come_back_one_by_one(self, store: Store) -> None:
        def take(now: int, key: str = "") -> int:
            ask = TokenAsk("api", key, interval=10, most=3, now=now)
            store.commit(Batch(tokens=(ask,)))
            return ask.due

        assert [take(1000) for _ in range(5)] == [1000, 1000, 1000, 1010, 1020]
        assert take(1000, "other") == 1000
        assert [take(1100) for _ in range(4)] == [1100, 1100, 1100, 1110]
        assert take(1115) == 1120

    # life

    def test_closing_twice_is_harmless(self, store: Store) -> None:
        store.close()
        store.close()

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        for call in (lambda: store.commit(Batch()), store.count, lambda: store.load(1), store.take_over):
            with pytest.raises(StoreError, match="is not open"):
                call()
