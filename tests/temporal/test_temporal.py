"""What Temporal brings of its own: cancellation, histories that grow too long, workers that go or come back changed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from perdure import (
    Context,
    DefinitionError,
    DuplicateExecution,
    EngineClosed,
    ExecutionFinished,
    ExecutionNotFound,
    Rate,
    Retry,
    Signal,
    State,
    UnknownSignal,
    WaitTimeout,
    Workflow,
    WorkflowCancelled,
    WorkflowFailed,
)
from tests.patience import PATIENCE

from .conftest import MakeEngine
from .replaying import replay

GO = Signal("go", int)


def nothing(ctx: Context[Any]) -> None:
    """Leave no mark."""


class Beacon:
    """Tells the test that a handler is there, and keeps what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.there = threading.Event()

    def note(self, what: str) -> Any:
        """Return a handler that notes that it ran."""

        def handler(ctx: Context[Any]) -> str:
            self.done.append(what)
            return what

        return handler

    async def stay(self, ctx: Context[Any]) -> None:
        """Wait to be cancelled."""
        self.there.set()
        await asyncio.Event().wait()


# ---- ends before the end


def test_cancelling_stops_the_handler_that_runs_and_undoes_what_was_done(temporal: MakeEngine) -> None:
    beacon = Beacon()
    work = (
        Workflow("work")
        .step("first", beacon.note("first"), compensate=beacon.note("undo"))
        .step("stay", beacon.stay)
        .step("never", beacon.note("never"))
    )
    engine = temporal(work, heartbeat=1.5)
    run = engine.start(work)
    assert beacon.there.wait(PATIENCE)

    run.cancel(reason="changed my mind")

    with pytest.raises(WorkflowCancelled, match="changed my mind"):
        run.result(PATIENCE)
    end = run.wait(PATIENCE)
    assert (end.state, end.rollback, beacon.done) == (State.CANCELLED, "complete", ["first", "undo"])
    replay(engine, [run.id])


def test_cancelling_may_leave_what_was_done_and_reaches_the_children(temporal: MakeEngine) -> None:
    beacon = Beacon()
    child = Workflow("child").step("inner", beacon.note("inner"), compensate=beacon.note("undo")).wait_for(GO)
    parent = (
        Workflow("parent").step("outer", beacon.note("outer"), compensate=beacon.note("kept")).sub_workflow("child")
    )
    engine = temporal(parent, child)
    run = engine.start(parent, id="parent-1")
    assert engine.run("parent-1").id == run.id

    run.cancel(compensate=False)

    assert run.wait(PATIENCE).rollback == "none"
    assert "kept" not in beacon.done


def test_a_completed_child_is_undone_when_its_parent_fails(temporal: MakeEngine) -> None:
    beacon = Beacon()

    def fail(ctx: Context[Any]) -> None:
        raise ValueError("no")

    leaf = Workflow("leaf").step("leaf", beacon.note("leaf"), compensate=beacon.note("undo leaf"))
    child = Workflow("child").sub_workflow("leaf").step("inner", beacon.note("inner"), compensate=beacon.note("undo"))
    more = Workflow("child:more").step("more", beacon.note("more"), compensate=beacon.note("undo more"))
    plain = Workflow("plain").step("plain", beacon.note("plain"))
    parent = Workflow("parent").sub_workflow("child").sub_workflow("child:more").sub_workflow("plain")
    engine = temporal(parent.step("fail", fail, retry=1), child, more, plain, leaf)

    end = engine.start(parent).wait(PATIENCE)

    assert (end.state, end.rollback) == (State.FAILED, "complete")
    assert beacon.done == ["leaf", "inner", "more", "plain", "undo more", "undo", "undo leaf"]
    undone = {each: end.steps[f"sub:{each}"].compensation for each in ("child", "child:more", "plain")}
    assert undone == {"child": "completed", "child:more": "completed", "plain": "completed"}
    replay(engine, [end.id])


def test_a_race_stops_the_strand_that_only_waits(temporal: MakeEngine) -> None:
    work = Workflow("work").parallel(
        lambda w: w.step("quick", lambda: "quick"), lambda w: w.wait_for(GO), lambda w: w.sleep("long", 3600), race=True
    )
    engine = temporal(work)

    end = engine.start(work).wait(PATIENCE)

    assert {name: step.status for name, step in end.steps.items()} == {
        "quick": "completed",
        "__waitFor:go": "cancelled",
        "long": "cancelled",
    }
    replay(engine, [end.id])


def test_a_workflow_that_takes_too_long_as_a_whole_is_undone_and_fails(temporal: MakeEngine) -> None:
    def done_within(seconds: float) -> list[str]:
        beacon = Beacon()
        work = (
            Workflow("work", timeout=seconds).step("a", beacon.note("a"), compensate=beacon.note("undo")).wait_for(GO)
        )
        with pytest.raises(WorkflowFailed, match=rf"did not end within {seconds} s"):
            temporal(work).start(work).result(PATIENCE)
        return beacon.done

    longer = (0.2, 2, 20)  # until there is something to undo by then
    assert any(done_within(seconds) == ["a", "undo"] for seconds in longer)


# ---- attempts


def test_the_next_attempt_finds_the_checkpoint_of_the_one_before(temporal: MakeEngine) -> None:
    def count(ctx: Context[Any]) -> list[Any]:
        found = ctx.checkpointed
        ctx.progress(ctx.attempt)
        if ctx.attempt < 3:
            ctx.checkpoint([ctx.attempt, found])
            raise ConnectionError("not yet")
        return [found, ctx.cancelled]

    work = Workflow("work").step("count", count, retry=Retry(attempts=3, initial=0))
    end = temporal(work).start(work).wait(PATIENCE)

    assert end.result == [[2, [1, None]], False]
    assert end.steps["count"].attempts == 3


def test_only_errors_that_the_policy_allows_are_tried_again(temporal: MakeEngine) -> None:
    def refuse(ctx: Context[Any]) -> None:
        raise KeyError("no such account")

    work = Workflow("work").step("pay", refuse, retry=Retry(attempts=5, initial=0, on=ConnectionError))
    end = temporal(work).start(work).wait(PATIENCE)

    assert end.error is not None
    assert (end.error.type, end.error.step, end.steps["pay"].attempts) == ("KeyError", "pay", 1)
    assert "refuse" in end.error.traceback


def test_whatever_a_handler_raises_is_an_attempt_that_failed(temporal: MakeEngine) -> None:
    def leave(ctx: Context[Any]) -> None:
        raise SystemExit(3)

    async def stop(ctx: Context[Any]) -> None:
        raise asyncio.CancelledError

    def iterate(ctx: Context[Any]) -> None:
        raise StopIteration

    async def leave_the_loop(ctx: Context[Any]) -> None:
        raise KeyboardInterrupt

    works = {
        handler.__name__: Workflow(handler.__name__).step("go", handler, retry=1)
        for handler in (leave, stop, iterate, leave_the_loop)
    }
    engine = temporal(*works.values())

    ends = {name: engine.start(work).wait(PATIENCE) for name, work in works.items()}

    assert {name: end.error.type for name, end in ends.items() if end.error} == {
        "leave": "perdure.StepInterrupted",
        "stop": "asyncio.exceptions.CancelledError",
        "iterate": "StopIteration",
        "leave_the_loop": "perdure.StepInterrupted",
    }


# ---- histories


def test_a_loop_continues_as_new_before_its_history_is_too_long(temporal: MakeEngine) -> None:
    def turn(ctx: Context[int]) -> int:
        return (ctx.steps.get("turn") or 0) + 1

    work = (
        Workflow("loop", input=int)
        .step("before", lambda: "kept", compensate=nothing)
        .do_until(lambda ctx: ctx.steps["turn"] >= ctx.input, lambda w: w.step("turn", turn), max_iterations=100)
        .wait_for(GO)
        .step("after", lambda ctx: [ctx.steps["before"], ctx.steps["turn"], ctx[GO]])
    )
    engine = temporal(work, most_events=60)
    run = engine.start(work, 25)
    first = engine._do(engine._client.get_workflow_handle(run.id).describe()).run_id
    run.signal(GO, 7)

    assert run.result(PATIENCE) == ["kept", 25, 7]
    last = engine._do(engine._client.get_workflow_handle(run.id).describe())
    assert last.run_id != first
    assert last.history_length < 100
    replay(engine, [run.id])


def test_a_run_keeps_the_graph_it_began_with_when_its_workflow_has_changed(temporal: MakeEngine) -> None:
    beacon = Beacon()
    old = Workflow("work").step("a", beacon.note("a")).wait_for(GO).step("b", beacon.note("b"))
    new = (
        Workflow("work")
        .step("zero", beacon.note("zero"))
        .step("a", beacon.note("a"))
        .wait_for(GO)
        .step("b", beacon.note("new b"))
        .step("c", beacon.note("c"))
    )
    first = temporal(old, task_queue="changing")
    run = first.start(old, id="changing")
    wait_for(run, State.WAITING)
    first.close()

    second = temporal(new, task_queue="changing")
    second.signal("changing", GO, 1)

    assert second.run("changing").wait(PATIENCE).result == "new b"
    assert second.start(new).id != "changing"
    assert beacon.done[:2] == ["a", "new b"]
    replay(second, ["changing"])


def test_code_that_the_workers_know_no_longer_fails_the_run_by_name(temporal: MakeEngine) -> None:
    old = Workflow("work").wait_for(GO).step("gone", nothing)
    new = Workflow("work").wait_for(GO).step("other", nothing)
    first = temporal(old, task_queue="gone")
    run = first.start(old, id="gone")
    wait_for(run, State.WAITING)
    first.close()

    second = temporal(new, task_queue="gone")
    second.signal("gone", "go", 1)

    with pytest.raises(WorkflowFailed, match="the handler of gone in workflow 'work' is not known to this worker"):
        second.run("gone").result(PATIENCE)


def wait_for(run: Any, state: State) -> None:
    """Wait until a run is said to be in a state: there is nothing that would tell of it."""
    while run.state is not state:
        pass


# ---- the face


def test_the_face_tells_what_is_wrong(temporal: MakeEngine) -> None:
    work = Workflow("work").wait_for(GO)
    other = Workflow("other").wait_for(GO)
    engine = temporal(work, other)
    run = engine.start(work, id="w", tags={"who": "Ada"})

    assert engine.start(work, id="w").id == run.id, "the same id is the same run"
    with pytest.raises(DuplicateExecution, match="of workflow 'work'"):
        engine.start(other, id="w")
    assert engine.get_execution("nobody") is None
    with pytest.raises(ExecutionNotFound):
        engine.run("nobody")
    with pytest.raises(ExecutionNotFound):
        engine.signal("nobody", GO, 1)
    with pytest.raises(UnknownSignal, match="did you mean 'go'"):
        run.signal("goo", 1)
    with pytest.raises(WaitTimeout):
        run.wait(0.01)
    run.signal(GO, 1, key="once")
    assert run.result(PATIENCE) == 1
    with pytest.raises(ExecutionFinished):
        run.signal(GO, 2)
    shown = engine.get_execution("w")
    assert shown is not None
    assert (shown.tags, dict(shown.signals), shown.workflow_name) == ({"who": "Ada"}, {"go": 1}, "work")
    engine.close()
    with pytest.raises(EngineClosed):
        engine.start(work)


def test_a_handler_may_start_runs_if_it_has_a_thread_of_its_own(temporal: MakeEngine) -> None:
    inner = Workflow("inner").step("one", lambda: 1)

    def start(ctx: Context[Any]) -> int:
        return engine.start(inner).result(PATIENCE)

    async def start_on_the_loop(ctx: Context[Any]) -> int:
        return engine.start(inner).result(PATIENCE)

    outer = Workflow("outer").step("start", start)
    wrong = Workflow("wrong").step("start", start_on_the_loop, retry=1)
    engine = temporal(inner, outer, wrong)

    assert engine.start(outer).result(PATIENCE) == 1
    with pytest.raises(WorkflowFailed, match=r"WouldDeadlock.*use a def handler"):
        engine.start(wrong).result(PATIENCE)


def test_what_only_a_database_has_is_refused(temporal: MakeEngine) -> None:
    for work, why in (
        (Workflow("work").step("a", nothing, transactional=True), "transactional=True needs the engine's own database"),
        (Workflow("work").step("a", nothing, rate=Rate(1, per=1)), "its rate is counted in an engine's database"),
        (Workflow("work").step("a", nothing, on_exhausted="park"), "no operator's inbox"),
        (Workflow("work").step("a", nothing, on_interrupted="park"), "no operator's inbox"),
    ):
        with pytest.raises(DefinitionError, match=f"'a' of workflow 'work' cannot run on Temporal: .*{why}"):
            temporal(work)

    with pytest.raises(DefinitionError, match="workflow 'work' cannot run on Temporal: its concurrency is counted"):
        temporal(Workflow("work", concurrency=1).step("a", nothing))


def test_without_the_sdk_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['temporalio'] = None; import perdure.temporal"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.splitlines()[-1].endswith('perdure.temporal needs an extra: pip install "perdure[temporal]"')
