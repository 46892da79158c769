"""What a store finds, by what it is asked."""

from __future__ import annotations

import threading
from typing import Any

from msgspec.structs import replace

from ...dsl.facts import ErrorRecord, FactStatus
from ...persistence.looking import Cursor, Filter
from ...persistence.records import AttemptRow, Batch, TagRow, TimerRow
from ...persistence.store import Store

__all__ = ["Reading"]


class Reading:
    """What is on disk is found, in order, in pages, and from any thread."""

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
