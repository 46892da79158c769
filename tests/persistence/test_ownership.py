"""One engine at a time drives a run; what a dead one leaves is taken over at once, and the dead can write no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from msgspec.structs import replace

from perdure.dsl.errors import OwnershipLost
from perdure.persistence.records import Batch, TimerRow

START = """
store = Store(sys.argv[1], durability="normal")
store.open()
runs = []
for state in sys.argv[2:]:
    number, nothing = store.new_id(), [None] * 7
    run = ExecutionRow(number, f"child-{len(runs)}", "order", None, "f", state, "{}", *nothing, 0, 0, 0, 1, 1, None)
    runs.append(run)
store.commit(Batch({run.id: run for run in runs}))
print(store.engine_id, flush=True)
"""


def start(child: Any, path: Path, *states: str, then: str = "input()") -> Any:
    return child(START + then, path, *states)


def test_the_runs_of_a_killed_process_are_taken_over_at_once(open_store: Any, path: Path, child: Any) -> None:
    store = open_store()
    dead = start(child, path, "running", "waiting", "compensating")
    engine = int(dead.line())
    assert store.take_over() == []
    dead.kill()
    assert store.take_over() == [engine]
    taken = store.unfinished({"running", "waiting", "compensating"})
    assert [(row.execution_id, row.owner, row.adoptions) for row in taken] == [
        ("child-0", store.engine_id, 1),
        ("child-1", store.engine_id, 0),
        ("child-2", store.engine_id, 1),
    ]
    assert store.take_over() == []
    assert not path.with_name(f"{path.name}-engine-{engine}").exists()


def test_runs_that_were_taken_over_can_be_written_read_and_fire(open_store: Any, rows: Any) -> None:
    former = open_store()
    run = rows.run(former, state="waiting")
    former.commit(rows.batch(run, facts={run.id: [rows.fact("gate", due_at=7)]}))
    heir = open_store()
    assert heir.due() == []
    assert heir.unfinished({"waiting"}) == []
    former.close()
    assert heir.take_over() == [former.engine_id]
    assert heir.due() == [TimerRow(7, run.id, "gate")]
    [taken] = heir.unfinished({"waiting"})
    assert taken == replace(run, owner=heir.engine_id)
    heir.commit(rows.batch(replace(taken, state="running")))
    assert heir.find(run.execution_id) == replace(taken, state="running")
    assert heir.snapshot(run.execution_id).execution.owner == heir.engine_id


def test_an_orderly_close_counts_as_no_adoption(open_store: Any, rows: Any) -> None:
    former = open_store()
    run = rows.run(former)
    former.commit(rows.batch(run))
    former.close()
    heir = open_store()
    heir.take_over()
    assert heir.find(run.execution_id).adoptions == 0


def test_a_run_that_is_handed_on_many_times_is_never_lost(open_store: Any, rows: Any, path: Path) -> None:
    first = open_store()
    run = rows.run(first, state="waiting")
    first.commit(rows.batch(run))
    first.close()
    for _ in range(5):
        heir = open_store()
        assert heir.take_over() == [first.engine_id]  # those between had nothing of their own to leave
        assert [row.id for row in heir.unfinished({"waiting"})] == [run.id]
        heir.close()
    last = open_store()
    last.take_over()
    last.commit(rows.batch(replace(run, state="completed", finished_at=9)))
    last.close()
    after = open_store()
    assert after.take_over() == []
    assert after._database.writer.execute("SELECT id FROM workflow_engines").fetchall() == [(after.engine_id,)]


def test_an_engine_that_was_taken_for_dead_can_write_nothing(open_store: Any, rows: Any) -> None:
    """Invariant: a driver that lost its right can write nothing."""
    store, heir = open_store(), open_store()
    run = rows.run(store)
    store.commit(rows.batch(run))
    store._membership.die()  # as when somebody removes the side file, or the file system drops its locks
    assert heir.take_over() == [store.engine_id]
    attempts: list[Callable[[], object]] = [
        lambda: store.commit(rows.batch(run)),
        lambda: store.commit(rows.batch(facts={run.id: [rows.fact()]})),
        lambda: store.commit(rows.batch(rows.run(store))),
        lambda: store.commit(rows.batch(rows.run(store, execution_id=run.execution_id))),  # a duplicate, if it could
        lambda: store.commit(Batch()),
        lambda: store.cleanup(older_than=2**60, states=frozenset({"completed"})),
        lambda: store.archive(older_than=2**60, states=frozenset({"completed"})),
    ]
    for attempt in attempts:
        with pytest.raises(OwnershipLost, match="taken over; nothing was written"):
            attempt()
    assert heir.load(run.id) == (replace(run, owner=heir.engine_id, adoptions=1), [], [])
    assert heir.count() == 1
    store.close()
    heir.commit(rows.batch(heir.find(run.execution_id)))


def test_a_stopped_process_is_not_dead(open_store: Any, path: Path, child: Any) -> None:
    store = open_store()
    stopped = start(child, path, "running")
    stopped.line()
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        assert store.take_over() == []
    finally:
        os.kill(stopped.pid, signal.SIGCONT)


def test_a_child_that_its_process_forked_does_not_keep_a_dead_engine_alive(
    open_store: Any, path: Path, child: Any
) -> None:
    store = open_store()
    fork = """
ready, done = os.pipe()
process = os.fork()
if process == 0:
    os.write(done, b"x")
    os.read(0, 1)
    os._exit(0)
os.read(ready, 1)
print(process, flush=True)
input()
"""
    dead = start(child, path, "running", then=fork)
    engine, orphan = int(dead.line()), int(dead.line())
    os.kill(dead.pid, signal.SIGKILL)
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert store.take_over() == [engine]
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_of_two_heirs_one_gets_the_runs(open_store: Any, path: Path, child: Any) -> None:
    heirs = [open_store(), open_store()]
    dead = start(child, path, "running")
    dead.line()
    dead.kill()
    taken = [heir.take_over() for heir in heirs]
    assert sorted(map(len, taken)) == [0, 1]
    assert sorted(len(heir.unfinished({"running"})) for heir in heirs) == [0, 1]


def test_of_two_heirs_that_saw_the_same_closed_engine_one_gets_its_runs(open_store: Any, rows: Any) -> None:
    former, heir, late = open_store(), open_store(), open_store()
    run = rows.run(former)
    former.commit(rows.batch(run))
    former.close()
    seen = late._database.consult(late._membership.find_dead)
    assert heir.take_over() == [former.engine_id]
    assert late._database.write(lambda connection: late._membership.take_over(connection, seen)) == []
    assert late.take_over() == []
    assert [row.id for row in heir.unfinished({"running"})] == [run.id]
    assert late.unfinished({"running"}) == []


def test_numbers_of_dead_engines_are_never_given_again(open_store: Any, rows: Any) -> None:
    numbers = []
    for _ in range(3):
        store = open_store()
        numbers.append(store.new_id())
        store.close()
    assert numbers == sorted(set(numbers))
    assert len({number >> 32 for number in numbers}) == 3


def test_frozen_time_makes_nobody_look_dead(open_store: Any, rows: Any) -> None:
    store, other = open_store(), open_store()
    with freeze_time("2001-01-01") as frozen:
        store.commit(rows.batch(rows.run(store)))
        frozen.move_to("2101-01-01")
        assert other.take_over() == []
        store.commit(rows.batch(rows.run(store)))


def test_a_finished_run_of_a_forgotten_engine_can_be_revived_by_another(open_store: Any, rows: Any) -> None:
    former = open_store()
    run = rows.run(former, state="failed", finished_at=5)
    former.commit(rows.batch(run))
    former.close()
    heir = open_store()
    heir.take_over()
    heir.commit(rows.batch(replace(run, state="running", finished_at=None)))
    assert heir.unfinished({"running"}) == [replace(run, state="running", finished_at=None, owner=heir.engine_id)]


def test_a_group_is_on_disk_whole_or_not_at_all_when_the_process_is_killed(
    open_store: Any, path: Path, child: Any
) -> None:
    """Each commit raises a number in fifty rows; whenever the process is killed, all rows agree."""
    store = open_store()
    loop = """
from perdure.dsl.facts import *
from msgspec.structs import replace
import itertools
for turn in itertools.count(1):
    batch = Batch({run.id: replace(run, sequence=turn) for run in runs})
    batch.facts = {(run.id, "n"): Fact("n", FactKind.STEP, FactStatus.COMPLETED, value=str(turn)) for run in runs}
    store.commit(batch)
    print(turn, flush=True)
"""
    for turns in (1, 4, 9):
        writer = start(child, path, *["running"] * 50, then=loop)
        engine = int(writer.line())
        acknowledged = [int(writer.line()) for _ in range(turns)]
        writer.kill()
        assert store.take_over() == [engine]
        stored = [store.load(row.id) for row in store.unfinished({"running"})]
        seen = {one.execution.sequence for one in stored} | {int(one.facts[0].value) for one in stored}
        assert len(stored) == 50
        assert len(seen) == 1
        assert seen.pop() >= acknowledged[-1]
        store.commit(
            Batch({one.execution.id: replace(one.execution, state="completed", finished_at=1) for one in stored})
        )
        assert store.cleanup(older_than=2, states=frozenset({"completed"})) == 50
