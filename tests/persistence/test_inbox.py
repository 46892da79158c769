"""A message in the inbox counts once, and what a dead or strange engine left is found by whoever can use it."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.dsl.errors import DuplicateRow, ExecutionNotFound, OwnershipLost
from perdure.persistence.inbox import Begun, Whereabouts
from perdure.persistence.records import Batch, InboxRow


def message(execution_id: str = "run", **changes: Any) -> InboxRow:
    return InboxRow(0, "signal", execution_id, None, None, None, "{}", 5)._replace(**changes)


def start(execution_id: str, key: str | None = None) -> InboxRow:
    return message(execution_id, kind="start", workflow="order", idempotency_key=key)


def test_of_two_engines_that_take_a_message_one_writes(open_store: Any, rows: Any) -> None:
    """Invariant: a message is acted on once."""
    one, other = open_store(), open_store()
    number = one.inbox.send(message())
    batches = [rows.batch(rows.run(store)) for store in (one, other)]
    for batch in batches:
        batch.consumed.append(number)
    one.commit(batches[0])
    with pytest.raises(DuplicateRow, match="another engine has taken a message"):
        other.commit(batches[1])
    assert one.count() == 1
    assert one.inbox.page(0, 10) == []


def test_a_number_that_was_consumed_never_comes_again(open_store: Any) -> None:
    store = open_store()
    first = store.inbox.send(message())
    store.commit(Batch(consumed=[first]))
    assert store.inbox.send(message()) > first


def test_messages_are_read_in_the_order_in_which_they_came(open_store: Any) -> None:
    store = open_store()
    numbers = [store.inbox.send(message(run)) for run in ("a", "b", "a", "a")]
    assert [row.id for row in store.inbox.page(0, 3)] == numbers[:3]
    assert [row.id for row in store.inbox.page(numbers[2], 3)] == numbers[3:]
    assert [row.id for row in store.inbox.until(numbers[2])] == [numbers[0], numbers[2]]
    assert [row.id for row in store.inbox.of_run("b")] == [numbers[1]]
    assert store.inbox.until(99) == []


def test_a_message_can_be_refused_for_the_state_of_its_run(open_store: Any, rows: Any) -> None:
    store = open_store()
    run = rows.run(store, state="waiting")
    store.commit(rows.batch(run))
    seen: list[str | None] = []

    def check(state: str | None) -> None:
        seen.append(state)
        if state is None:
            raise ExecutionNotFound("nobody")

    store.inbox.send(message(run.execution_id), check)
    with pytest.raises(ExecutionNotFound):
        store.inbox.send(message("nobody"), check)
    store.inbox.send_start(start("to-be"))
    store.inbox.send(message("to-be"), check)
    assert seen == ["waiting", None]
    assert len(store.inbox.page(0, 10)) == 3


def test_a_start_is_kept_once_for_its_id_and_key(open_store: Any, rows: Any) -> None:
    store = open_store()
    run = rows.run(store, execution_id="old", workflow="order", idempotency_key="k0", state="failed", finished_at=1)
    store.commit(rows.batch(run))
    assert isinstance(store.inbox.send_start(start("new", "k1")), int)
    assert store.inbox.send_start(start("new")) == Begun("new", "order")
    assert store.inbox.send_start(start("newer", "k1")) == Begun("new", "order")
    assert store.inbox.send_start(start("newer", "k0")) == Begun("old", "order")
    assert store.inbox.send_start(start("old")) == Begun("old", "order")
    assert isinstance(store.inbox.send_start(start("old", "k0"), replace=True), int)
    assert store.inbox.has_start("old")
    found = store.inbox.start_of("new")
    assert found is not None
    assert found.idempotency_key == "k1"


def test_it_is_known_who_drives_a_run(open_store: Any, rows: Any) -> None:
    one, other = open_store(), open_store()
    run = rows.run(one, state="waiting")
    one.commit(rows.batch(run))
    assert other.inbox.living() == [one.engine_id, other.engine_id]
    assert other.inbox.whereabouts([run.execution_id, "nobody"]) == [
        Whereabouts(run.execution_id, "waiting", one.engine_id)
    ]
    one.close()
    assert other.inbox.whereabouts([run.execution_id]) == [Whereabouts(run.execution_id, "waiting", None)]
    other.take_over()
    assert other.inbox.whereabouts([run.execution_id])[0].driver == other.engine_id


def test_runs_are_handed_over_with_their_children(open_store: Any, rows: Any) -> None:
    one, other = open_store(), open_store()
    parent = rows.run(one, workflow="order", state="waiting")
    done = rows.run(one, workflow="box", state="completed", finished_at=3, parent_id=parent.id, parent_key="sub:a")
    child = rows.run(one, workflow="box", state="running", parent_id=parent.id, parent_key="sub:b")
    stays = rows.run(one, workflow="box", state="running")
    one.commit(rows.batch(parent, done, child, stays))
    assert sorted(one.hand_over("order", None, other.engine_id)) == sorted([parent.id, done.id, child.id])
    assert {row.id for row in other.unfinished({"waiting", "running"})} == {parent.id, child.id}
    assert {row.id for row in one.unfinished({"waiting", "running"})} == {stays.id}
    with pytest.raises(OwnershipLost, match="belong to another engine"):
        one.commit(rows.batch(child))
    other.commit(rows.batch(child))


def test_nothing_is_handed_over_to_the_dead(open_store: Any, rows: Any) -> None:
    one, other = open_store(), open_store()
    run = rows.run(one, workflow="order")
    one.commit(rows.batch(run))
    other.close()
    assert one.hand_over("order", None, other.engine_id) == []
    assert [row.id for row in one.unfinished({"running"})] == [run.id]


def test_an_engine_that_was_taken_over_joins_anew_and_owns_nothing(open_store: Any, rows: Any) -> None:
    store, heir = open_store(), open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    assert not store.rejoin(), "nobody has taken it over"
    former = store.engine_id
    store._membership.die()
    heir.take_over()
    assert store.rejoin()
    assert store.engine_id not in (former, heir.engine_id)
    assert store.unfinished({"running"}) == []
    with pytest.raises(OwnershipLost):
        store.commit(rows.batch(run))
    store.commit(rows.batch(rows.run(store)))
    assert heir.take_over() == [], "it holds a lock of its own"
