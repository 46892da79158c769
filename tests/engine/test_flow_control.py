"""Starts of one key that come in a burst are one run; where runs queue, those that matter more go first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Context, Engine, State, Workflow
from perdure.events import WorkflowStarted
from tests.engine.drive import photographs_of

index = Workflow("index", input=str).step("index", lambda ctx: f"indexed {ctx.input}")


@pytest.fixture
def search(lab: Engine) -> Engine:
    return lab.register(index)


# ---- debounce


def test_a_burst_of_starts_is_one_run_with_the_last_input(search: Engine, frozen: Any) -> None:
    runs = []
    for text in ("a", "ab", "abc"):
        runs.append(search.start(index, text, key="doc-1", debounce=10))
        search.advance(seconds=9)
    assert {run.id for run in runs} == {runs[0].id}
    assert runs[0].state is State.WAITING
    search.advance(seconds=1)

    assert runs[0].result() == "indexed abc"
    assert [run.input for run in search.list_executions()] == ["abc"]


def test_a_start_after_the_quiet_is_another_run(search: Engine) -> None:
    first = search.start(index, "a", key="doc-1", debounce=timedelta(seconds=10))
    search.advance(seconds=10)
    second = search.start(index, "b", key="doc-1", debounce=10)
    other = search.start(index, "c", key="doc-2", debounce=5)
    search.advance(seconds=10)

    assert [run.result() for run in (first, second, other)] == ["indexed a", "indexed b", "indexed c"]


def test_a_burst_that_a_restart_cuts_in_two_is_one_run(search: Engine) -> None:
    run = search.start(index, "a", key="doc-1", debounce=10)
    search.advance(seconds=5)
    search.start(index, "ab", key="doc-1", debounce=10)
    search.abandon()
    with search.reopen() as fresh:
        fresh.advance(seconds=5)
        assert fresh.start(index, "abc", key="doc-1", debounce=10).id == run.id
        fresh.advance(seconds=9)
        assert fresh.run(run.id).state is State.WAITING
        fresh.advance(seconds=1)

        assert fresh.run(run.id).result() == "indexed abc"


def test_a_burst_that_comes_through_several_engines_is_one_run(search: Engine) -> None:
    run = search.start(index, "a", key="doc-1", debounce=10)
    search.advance(seconds=5)
    with Engine(search.path, index, durability="normal") as other:
        assert other.start(index, "ab", key="doc-1", debounce=10).id == run.id
        search.settle()
    search.advance(seconds=9)
    assert run.state is State.WAITING
    search.advance(seconds=1)

    assert run.result() == "indexed ab"


@pytest.mark.on_a_file
def test_at_every_crash_the_input_and_the_time_are_of_one_start(search: Engine) -> None:
    with photographs_of(Path(search.path), lambda: None) as photographs:
        search.start(index, "a", key="doc-1", debounce=10)
        search.advance(seconds=5)
        search.start(index, "ab", key="doc-1", debounce=10)
    seen = []
    for number, (content, _, _) in enumerate(photographs):
        copy = Path(search.path).with_name(f"copy-{number}.db")
        for part, suffix in zip(content, ("", "-wal"), strict=True):
            Path(f"{copy}{suffix}").write_bytes(part)
        with Client(copy) as client:
            [execution] = client.list_executions()
            deadline = execution.waiting_for[0].deadline
            assert deadline is not None
            seen.append((execution.input, (deadline - execution.created_at).total_seconds()))

    assert set(seen) == {("a", 10), ("ab", 15)}


def test_a_deadline_for_the_whole_run_counts_from_when_it_may_begin(lab: Engine) -> None:
    patient = Workflow("patient", input=str, timeout=60).wait_for("go")
    lab.register(patient)
    run = lab.start(patient, "a", key="k", debounce=10)
    lab.advance(seconds=5)
    lab.start(patient, "b", key="k", debounce=10)
    lab.advance(seconds=69)
    assert run.state == "waiting"
    lab.advance(seconds=2)

    assert run.state == "failed"


def test_many_threads_that_start_at_once_are_one_run(search: Engine) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda text=str(n): ids.append(search.start(index, text, key="k", debounce=10).id))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    search.advance(seconds=10)

    assert len(set(ids)) == len(search.list_executions()) == 1
    assert search.run(ids[0]).state is State.COMPLETED


def test_a_run_that_was_cancelled_while_it_was_put_off_does_not_take_starts(search: Engine) -> None:
    first = search.start(index, "a", key="k", debounce=10)
    search.settle()
    first.cancel()
    search.settle()
    second = search.start(index, "b", key="k", debounce=10)
    search.advance(seconds=10)

    assert (first.state, second.result()) == (State.CANCELLED, "indexed b")


# ---- priority


class Turnstile:
    """A workflow whose first run holds the engine's only slot until it is told to go."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.flow = Workflow("pass", input=str).step("pass", self.enter)

    def enter(self, ctx: Context[str]) -> None:
        if ctx.input == "first":
            self.entered.set()
            self.go.wait()
        self.order.append(ctx.input)


@pytest.fixture
def turnstile(tmp_path: Path) -> Iterator[tuple[Turnstile, Engine]]:
    gate = Turnstile()
    parent = Workflow("parent", input=str).sub_workflow("pass", lambda ctx: f"child of {ctx.input}")
    with Engine(tmp_path / "gate.db", gate.flow, parent, concurrency=1, durability="normal") as engine:
        engine.start("pass", "first")
        gate.entered.wait()
        yield gate, engine
        gate.go.set()


def test_what_matters_more_goes_first_and_among_equals_what_came_first(turnstile: tuple[Turnstile, Engine]) -> None:
    gate, engine = turnstile
    for name, priority in [("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0), ("f", 9)]:
        engine.start("pass", name, priority=priority)
    gate.go.set()
    engine.settle()

    assert gate.order == ["first", "f", "b", "d", "a", "e", "c"]


def test_priority_survives_a_restart_and_goes_over_to_children(turnstile: tuple[Turnstile, Engine]) -> None:
    gate, engine = turnstile
    child_is_there = threading.Event()

    def hear(event: WorkflowStarted) -> None:
        if event.input == "child of urgent":
            child_is_there.set()

    engine.on(WorkflowStarted, hear)
    urgent = engine.start("parent", "urgent", priority=7)
    engine.start("pass", "plain")
    child_is_there.wait()
    [child] = [run for run in engine.list_executions("pass") if run.parent_id == urgent.id]

    assert child.priority == 7
    gate.go.set()
    engine.settle()
    assert gate.order == ["first", "child of urgent", "plain"]
    with Engine(engine.path) as other:
        found = other.get_execution(child.id)
        assert found is not None
        assert found.priority == 7
