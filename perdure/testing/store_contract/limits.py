"""How a store counts what limits bound: slots of runs, tokens of attempts."""

from __future__ import annotations

from typing import Any

from ...persistence.records import Batch, ExecutionRow, PoolRow, SlotAsk, SlotGivenBack, SlotHeld, TokenAsk
from ...persistence.store import Store
from .rows import NOW

__all__ = ["Limits"]


class Limits:
    """No more is given than there is, and what is given back is given on."""

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
