"""What a store does with runs that have ended, when they are to go."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ...dsl.errors import UsageError
from ...persistence.store import Store

__all__ = ["Retiring"]


class Retiring:
    """Only finished runs go, whole."""

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
