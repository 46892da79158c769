"""Limits are those of the database: no more runs are at work in all engines together, and no death loses a slot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Context, Engine, Rate, State, Workflow
from perdure.testing import close_cleanly, freeze
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE


def gated(**limits: Any) -> Workflow[str, Any]:
    return Workflow("gated", input=str, **limits).wait_for("go").step("work", lambda ctx: ctx.input)


@pytest.fixture(params=["a file", "a server"])
def database(request: pytest.FixtureRequest, path: Path) -> str:
    """Where runs are kept: what opens it."""
    return str(path) if request.param == "a file" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Engine]]:
    """Opens engines of this process."""
    engines: list[Engine] = []

    def open_one(*workflows: Workflow[Any, Any]) -> Engine:
        engines.append(Engine(path, *workflows, durability="normal", queue_name=unique_name()))
        return engines[-1]

    yield open_one
    for engine in engines:
        close_cleanly(engine)


def test_a_slot_that_one_engine_frees_is_given_to_a_run_of_another(opened: Callable[..., Engine]) -> None:
    one, other = opened(gated(concurrency=1)), opened(gated(concurrency=1))
    first = one.start("gated", "a")
    one.settle()
    second = other.start("gated", "b")
    other.settle()
    second.signal("go")
    other.settle()
    assert second.state is State.WAITING
    first.signal("go")

    assert second.result(timeout=PATIENCE) == "b"


def test_runs_of_several_engines_take_their_turns_in_order(opened: Callable[..., Engine]) -> None:
    engines = [opened(gated(concurrency=1)) for _ in range(3)]
    runs = []
    for number in range(9):
        engine = engines[number % 3]
        runs.append(engine.start("gated", str(number)))
        engine.settle()
    for run in runs:
        run.signal("go")
    results = [run.result(timeout=PATIENCE) for run in runs]
    ends = sorted(engines[0].list_executions(), key=lambda run: (run.finished_at, run.created_at))

    assert results == [str(number) for number in range(9)]
    assert [run.input for run in ends] == results


def test_the_slot_of_an_engine_that_dies_goes_on_with_its_run(opened: Callable[..., Engine]) -> None:
    one, other = opened(gated(concurrency=1)), opened(gated(concurrency=1))
    first = one.start("gated", "a")
    one.settle()
    second = other.start("gated", "b")
    other.settle()
    one.abandon()
    second.signal("go")
    other.settle()
    assert other.run(second.id).state is State.WAITING
    other.signal(first.id, "go")

    assert second.result(timeout=PATIENCE) == "b"


@pytest.mark.parametrize("leave", [Engine.close, Engine.abandon])
def test_those_in_line_of_an_engine_that_leaves_keep_their_places(
    opened: Callable[..., Engine], leave: Callable[[Engine], None]
) -> None:
    one, other = opened(gated(concurrency=1)), opened(gated(concurrency=1))
    first = other.start("gated", "a")
    other.settle()
    second = one.start("gated", "b")
    one.settle()
    third = other.start("gated", "c")
    leave(one)
    for run in (second, third):
        other.signal(run.id, "go")
    other.signal(first.id, "go")
    results = [other.run(run.id).result(timeout=PATIENCE) for run in (first, second, third)]
    ends = sorted(other.list_executions(), key=lambda run: (run.finished_at, run.created_at))

    assert [run.input for run in ends] == results == ["a", "b", "c"]


def test_a_rate_is_that_of_all_engines_together(path: Path) -> None:
    times: list[float] = []

    def call(_: Context[Any]) -> None:
        times.append((datetime.now(UTC) - begin).total_seconds())

    calling = Workflow("calling").step("call", call, rate=Rate(1, per=10, burst=2))
    with freeze() as clock:
        begin = datetime.now(UTC)
        with (
            Engine(path, calling, durability="normal", queue_name=unique_name()) as one,
            Engine(path, calling, durability="normal", queue_name=unique_name()) as other,
        ):
            for engine in (one, other, one, other, one):
                engine.start(calling)
                engine.settle()
            for seconds in range(0, 40, 5):
                clock.move_to(begin + timedelta(seconds=seconds))
                one.settle()
                other.settle()

    assert times == [0, 0, 10, 20, 30]


# ---- in processes of their own, some of which die


RUNS = 24


def test_limits_hold_while_engines_die_and_every_run_has_its_turn(
    spawn: Any, database: str, tmp_path: Path, held: Callable[[], None]
) -> None:
    workers = [spawn(database, tmp_path, script="limits_worker.py") for _ in range(2)]
    names = [f"{'aab'[number % 3]}-{number}" for number in range(RUNS)]
    try:
        for number, worker in enumerate(workers):
            worker.hear("open")
            worker.ask(*names[number::2], answer="started")
        while not {"place all 2", "place key-a 0", "place key-b 0"} <= ledger(tmp_path):
            threading.Event().wait(0.01)  # until every place is taken, in whatever process
        replace_one(workers, spawn, database, tmp_path)  # in the middle of what it does
        held()
        with Client(database, durability="normal") as client:
            client.run(names[0]).wait(timeout=120)
            replace_one(workers, spawn, database, tmp_path)
            ends = {name: client.run(name).wait(timeout=120).state for name in names}
    finally:
        for worker in workers:
            worker.kill()

    assert set(ends.values()) == {State.COMPLETED}
    assert [line for line in ledger(tmp_path) if line.startswith("exceeded")] == []


def replace_one(workers: list[Any], spawn: Any, database: str, folder: Path) -> None:
    """Kill the oldest engine; another one is open by then."""
    workers.append(spawn(database, folder, script="limits_worker.py"))
    workers[-1].hear("open")
    workers.pop(0).kill()


def ledger(folder: Path) -> set[str]:
    """Return what was noted so far."""
    file = folder / "ledger"
    return set(file.read_text().splitlines()) if file.exists() else set()
