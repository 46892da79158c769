"""A start means one run: by id, by key, for as long as the key is kept; and a signal may come with it."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Context,
    DuplicateExecution,
    Engine,
    ExecutionFinished,
    Signal,
    State,
    UnknownSignal,
    Workflow,
    look_at,
)
from tests.engine.drive import photographs_of
from tests.patience import PATIENCE

go = Signal("go", int)
gated = Workflow("gated", input=int).step("note", lambda ctx: ctx.input).wait_for(go).step("end", lambda ctx: ctx[go])
quick = Workflow("quick", input=int).step("work", lambda ctx: ctx.input)


@pytest.fixture
def desk(lab: Engine) -> Engine:
    return lab.register(gated, quick)


# ---- keys


def test_a_key_gives_the_same_run_for_ever(desk: Engine, frozen: Any) -> None:
    first = desk.start(quick, 1, key="k")
    assert first.result() == 1
    frozen.tick(timedelta(days=400))

    assert desk.start(quick, 2, key="k").id == first.id
    with pytest.raises(DuplicateExecution, match="idempotency key 'k'"):
        desk.start(quick, 2, key="k", if_exists="reject")


def test_a_run_that_has_ended_gives_its_key_to_the_next(desk: Engine) -> None:
    first = desk.start(quick, 1, key="k")
    first.result()
    second = desk.start(quick, 2, key="k", if_exists="replace_if_finished")

    assert second.id != first.id
    assert second.result() == 2
    assert desk.start(quick, 3, key="k").id == second.id
    assert first.result() == 1


def test_a_run_that_has_not_ended_keeps_its_key_and_its_id(desk: Engine) -> None:
    run = desk.start(gated, 1, id="g", key="k")
    desk.settle()

    assert desk.start(gated, 2, key="k", if_exists="replace_if_finished").id == run.id
    assert desk.start(gated, 2, id="g", if_exists="replace_if_finished").id == run.id
    assert desk.count_executions() == 1


def test_a_key_is_free_again_when_its_time_is_up_whatever_its_run_does(desk: Engine, frozen: Any) -> None:
    first = desk.start(gated, 1, key="k", key_ttl=60)
    desk.settle()
    frozen.tick(59)
    assert desk.start(gated, 2, key="k").id == first.id
    frozen.tick(1)
    second = desk.start(gated, 2, key="k", key_ttl=timedelta(hours=1), if_exists="reject")

    assert second.id != first.id
    assert desk.start(gated, 3, key="k").id == second.id
    first.signal(go, 7)
    assert first.result() == 7


def test_keys_and_their_times_survive_a_restart(desk: Engine, frozen: Any) -> None:
    first = desk.start(gated, 1, key="k", key_ttl=60)
    desk.settle()
    desk.close()
    with desk.reopen() as fresh:
        assert fresh.start(gated, 1, key="k").id == first.id
        frozen.tick(60)
        second = fresh.start(gated, 2, key="k")
        assert second.id != first.id
        fresh.run(first.id).signal(go, 1)
        fresh.settle()
        assert fresh.start(gated, 2, key="k").id == second.id


def test_a_run_that_has_ended_gives_its_id_to_the_next_and_goes_to_the_archive(desk: Engine) -> None:
    first = desk.start(quick, 1, id="same", key="k", tags={"a": 1})
    assert first.result() == 1
    second = desk.start(quick, 2, id="same", key="k", if_exists="replace_if_finished")

    assert second.result() == 2
    assert desk.get_archived_count() == 1
    assert [run.input for run in desk.list_executions()] == [2]
    assert desk.list_executions(tags={"a": 1}) == []


def test_of_many_who_replace_at_once_one_starts(desk: Engine) -> None:
    desk.start(gated, 1, key="k", id="first").signal(go, 1)
    desk.settle()
    ids: list[str] = []

    def start() -> None:
        ids.append(desk.start(gated, 2, key="k", if_exists="replace_if_finished").id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == 1
    assert "first" not in ids
    assert desk.count_executions() == 2


def test_an_id_of_another_workflow_is_never_replaced(desk: Engine) -> None:
    desk.start(quick, 1, id="same").result()

    with pytest.raises(DuplicateExecution, match="of workflow 'quick'"):
        desk.start(gated, 1, id="same", if_exists="replace_if_finished")


# ---- signal_with_start


def test_a_signal_starts_the_run_that_is_to_take_it(desk: Engine) -> None:
    run = desk.signal_with_start(gated, 5, go, 7, id="g")

    assert run.result() == 7
    assert desk.get_execution("g").steps["note"].result == 5  # type: ignore[union-attr]


def test_a_signal_goes_to_the_run_that_is_there(desk: Engine) -> None:
    first = desk.start(gated, 5, key="k")
    desk.settle()
    second = desk.signal_with_start(gated, 6, go, 8, key="k")

    assert second.id == first.id
    assert first.result() == 8


def test_a_signal_starts_anew_where_the_run_has_ended_unless_told_not_to(desk: Engine) -> None:
    first = desk.signal_with_start(gated, 5, go, 7, key="k")
    first.result()
    with pytest.raises(ExecutionFinished):
        desk.signal_with_start(gated, 5, go, 8, key="k", if_exists="return")
    with pytest.raises(DuplicateExecution):
        desk.signal_with_start(gated, 5, go, 8, key="k", if_exists="reject")

    second = desk.signal_with_start(gated, 5, "go", 8, key="k")
    assert (second.result(), first.result()) == (8, 7)


def test_a_repeated_signal_is_dropped_by_its_key(desk: Engine) -> None:
    twice = Workflow("twice", input=int).wait_for("go").wait_for("go")
    desk.register(twice)
    run = desk.signal_with_start(twice, 1, "go", None, id="t", signal_key="s-1")
    for _ in range(2):
        desk.signal_with_start(twice, 1, "go", None, id="t", signal_key="s-1")
    desk.settle()

    assert run.state is State.WAITING


def test_a_signal_reaches_the_run_of_another_engine(desk: Engine) -> None:
    first = desk.start(gated, 5, key="k")
    desk.settle()
    with Engine(desk.path, gated, durability="normal") as other:
        second = other.signal_with_start(gated, 6, go, 8, key="k")

        assert second.id == first.id
        desk.settle()
        assert first.result() == 8


def test_a_signal_that_no_gate_waits_for_starts_nothing(desk: Engine) -> None:
    with pytest.raises(UnknownSignal, match="did you mean 'go'"):
        desk.signal_with_start(gated, 5, "goo", 7, id="g")
    assert desk.list_executions() == []


@pytest.mark.on_a_file
def test_a_run_and_the_signal_that_came_with_it_are_on_disk_together_or_not_at_all(desk: Engine) -> None:
    from pathlib import Path

    with photographs_of(Path(desk.path), lambda: None) as photographs:
        desk.signal_with_start(gated, 5, go, 7, id="g")
        desk.settle()
    first = photographs[0][0]
    copy = Path(desk.path).with_name("copy.db")
    for content, suffix in zip(first, ("", "-wal"), strict=True):
        Path(f"{copy}{suffix}").write_bytes(content)

    with look_at(str(copy)) as database:
        execution = database.get_execution("g")
        assert execution is not None
        assert execution._stored.signals[0].event == "go"


def test_a_handler_may_start_and_signal_in_one_call(lab: Engine) -> None:
    def collect(ctx: Context[int]) -> str:
        return lab.signal_with_start(gated, ctx.input, go, ctx.input, key="basket").id

    lab.register(gated, Workflow("collect", input=int).step("collect", collect))
    first = lab.start("collect", 1).result()
    lab.settle()
    second = lab.start("collect", 2).result()

    assert first != second  # the first basket was full before the second came
    lab.settle()
    assert lab.run(second).result() == 2


def test_a_database_may_be_named_by_bytes(tmp_path: Path) -> None:
    path: Any = os.fsencode(tmp_path / "runs.db")

    with Engine(path, Workflow("w").step("a", lambda: 1)) as engine:
        assert engine.start("w").result(PATIENCE) == 1
        assert engine.path == str(tmp_path / "runs.db")
