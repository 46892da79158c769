"""Runs that are started faster than they can be done: memory is bounded, nothing is lost, and producers are slowed."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from perdure import Context, Engine, EngineBusy, Workflow
from perdure.actors.execution import ExecutionActor
from tests.patience import PATIENCE

ROOM = 20


class Gate:
    """A workflow of one step that stands still until it may go on."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.done: list[int] = []
        self.workflow = Workflow("w", input=int).step("work", self.work)

    def work(self, ctx: Context[int]) -> None:
        self.open.wait(PATIENCE)
        self.done.append(ctx.input)


def in_memory(engine: Engine) -> int:
    """Return how many runs of an engine there are as objects, however they are held."""
    core = engine._machine.core
    engine._machine.exclusively(gc.collect)  # a start is answered a moment before what follows from it is done
    return sum(isinstance(one, ExecutionActor) and one.core is core for one in gc.get_objects())


def die(engine: Engine, gate: Gate) -> None:
    """Have an engine's process die, as far as can be had without one, and what it had begun come to nothing."""
    engine.abandon()
    gate.open.set()
    for task in engine._machine.lanes._alive:
        task.join(PATIENCE)
    gate.open.clear()
    gate.done.clear()


def start_many(engine: Engine) -> None:
    for number in range(100):
        engine.start("w", number)


def test_a_producer_that_is_too_fast_costs_rows_and_no_memory(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=2, max_in_memory=ROOM)
    runs = [engine.start("w", number) for number in range(200)]
    assert in_memory(engine) <= ROOM
    assert engine.count_executions(state="running") == 200
    gate.open.set()
    for run in runs:
        run.result(PATIENCE)
    assert sorted(gate.done) == [*range(200)]


def test_runs_begin_in_the_order_in_which_they_were_started_though_most_of_them_are_only_rows(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM)
    runs = [engine.start("w", number) for number in range(100)]
    gate.open.set()
    runs[-1].result(PATIENCE)
    assert gate.done == [*range(100)]


def test_what_matters_more_does_not_wait_behind_the_backlog(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM)
    runs = [engine.start("w", number) for number in range(60)]
    engine.start("w", 1000, priority=1)
    engine._machine.exclusively(lambda: None)  # a start is answered a moment before what follows from it is done
    gate.open.set()
    runs[-1].result(PATIENCE)
    assert gate.done[:3] == [0, 1000, 1]


def test_a_crash_loses_none_of_the_runs_that_wait_for_room_and_takes_none_for_poison(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM)
    ids = [engine.start("w", number).id for number in range(100)]
    for _ in range(6):  # more deaths than a run may be there for that has begun
        die(engine, gate)
        engine = open_engine(concurrency=1, max_in_memory=ROOM)
    engine.register(gate.workflow)
    assert in_memory(engine) <= ROOM
    gate.open.set()
    for run in ids[ROOM:]:  # of the others, which had begun, nobody can tell which one kills
        engine.run(run).result(PATIENCE)
    assert [number for number in gate.done if number >= ROOM] == [*range(ROOM, 100)]


def test_a_signal_to_a_run_that_waits_for_room_is_kept_and_costs_no_memory(open_engine: Any) -> None:
    go = threading.Event()
    workflow = Workflow("w").step("work", lambda: go.wait(PATIENCE)).wait_for("more").step("end", lambda: "ended")
    engine = open_engine(workflow, concurrency=1, max_in_memory=ROOM)
    runs = [engine.start("w") for _ in range(60)]
    for run in runs:
        run.signal("more")
    assert in_memory(engine) <= ROOM
    go.set()
    assert {run.result(PATIENCE) for run in runs} == {"ended"}


def test_what_is_not_a_signal_reaches_a_run_that_waits_for_room_at_once(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM)
    runs = [engine.start("w", number) for number in range(60)]
    runs[50].cancel()
    assert runs[50].wait(PATIENCE).state == "cancelled"
    gate.open.set()
    runs[-1].result(PATIENCE)
    assert 50 not in gate.done


def test_handlers_that_wait_for_runs_that_have_no_room_get_it_for_them(open_engine: Any) -> None:
    def work(ctx: Context[int]) -> int:
        return 1 + (engine.start("w", ctx.input - 1).result(PATIENCE) if ctx.input else 0)

    engine = open_engine(Workflow("w", input=int).step("work", work), concurrency=1, max_in_memory=1)
    assert engine.start("w", 12).result(PATIENCE) == 13


def test_children_that_have_no_room_come_to_their_end(open_engine: Any) -> None:
    child = Workflow("child").step("work", lambda: 1)
    parent = Workflow("parent").sub_workflow("child").step("end", lambda ctx: ctx.steps["sub:child"])
    engine = open_engine(child, parent, concurrency=1, max_in_memory=1)
    runs = [engine.start("parent") for _ in range(30)]
    assert [run.result(PATIENCE) for run in runs] == [{"work": 1}] * 30


def test_a_start_waits_while_too_many_runs_have_yet_to_begin(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM, max_backlog=5)
    backlog = engine._machine.supervisor.backlog
    while backlog.size < 5:
        engine.start("w", 0)
    waiting = threading.Event()
    waits = backlog.wait_for_less

    def wait_for_less(most: int, seconds: float) -> bool:
        waiting.set()
        return bool(waits(most, seconds))

    backlog.wait_for_less = wait_for_less
    started = []
    producer = threading.Thread(target=lambda: started.append(engine.start("w", 1)))
    producer.start()
    assert waiting.wait(PATIENCE)
    assert not started
    gate.open.set()
    producer.join(PATIENCE)
    started[0].result(PATIENCE)
    assert gate.done[-1] == 1


def test_a_start_that_may_not_wait_is_refused_and_starts_nothing(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM, max_backlog=5, start_timeout=0)
    with pytest.raises(EngineBusy, match="runs wait for room to begin, and this engine allows for 5") as refused:
        start_many(engine)
    assert refused.value.behind >= 5
    count = engine.count_executions()
    with pytest.raises(EngineBusy):
        engine.start("w", 0)
    assert engine.count_executions() == count
    gate.open.set()


def test_how_many_have_yet_to_begin_is_known_after_a_restart(open_engine: Any) -> None:
    gate = Gate()
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM)
    start_many(engine)
    die(engine, gate)
    engine = open_engine(gate.workflow, concurrency=1, max_in_memory=ROOM, max_backlog=50, start_timeout=0)
    with pytest.raises(EngineBusy):
        engine.start("w", 100)
    gate.open.set()


def test_a_handler_and_a_listener_may_always_start_runs(open_engine: Any) -> None:
    gate = Gate()
    started: list[Any] = []
    many = Workflow("many").step("start", lambda: start_many(engine))
    engine: Engine = open_engine(gate.workflow, many, concurrency=2, max_in_memory=4, max_backlog=1, start_timeout=0)

    def start_one_more(event: Any) -> None:
        if not started:
            started.append(engine.start("w", 100))

    engine.on("workflow:completed", start_one_more)
    engine.start("many").result(PATIENCE)
    gate.open.set()
    started[0].result(PATIENCE)
    engine.settle(timeout=PATIENCE)  # two at once: the last to begin need not be the last to end
    assert sorted(gate.done) == [*range(101)]


def test_runs_that_wait_cost_a_restart_neither_memory_nor_threads(open_engine: Any) -> None:
    gate = Workflow("gate").wait_for("go")
    engine = open_engine(gate)
    ids = [engine.start("gate").id for _ in range(200)]
    engine.settle()
    engine.close()
    engine = open_engine(gate)
    assert in_memory(engine) == 0
    assert threads_of(engine) <= {"bell", "core"}
    engine.signal(ids[100], "go", "on")
    assert engine.run(ids[100]).result(PATIENCE) == "on"
    assert engine.count_executions(state="waiting") == 199


def threads_of(engine: Engine) -> set[str]:
    names = [thread.name for thread in threading.enumerate()]
    return {name.removeprefix(f"{engine.name}-") for name in names if name.startswith(f"{engine.name}-")}
