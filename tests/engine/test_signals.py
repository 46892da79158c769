"""Signals: a durable mailbox, gates with and without a deadline, keys, types, and what is refused."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import (
    Context,
    Engine,
    ExecutionFinished,
    InvalidPayload,
    Run,
    Signal,
    State,
    UnknownSignal,
    Workflow,
    WorkflowFailed,
)
from perdure.actors.tray import pack
from perdure.dsl.messages import Signalled
from perdure.persistence.codec import encode
from perdure.testing import assert_events, record, restart
from perdure.testing.freezing import START
from tests.patience import PATIENCE


def gate(**options: Any) -> Workflow[Any, Any]:
    return Workflow("w").wait_for("go", **options).step("look", lambda ctx: dict(ctx.signals))


def waiting(engine: Engine, workflow: Workflow[Any, Any]) -> Run[Any]:
    run = engine.register(workflow).start("w", id="run")
    engine.settle()
    assert run.state is State.WAITING
    return run


# ---- the mailbox


def test_a_gate_opens_with_the_signal_of_its_name_and_the_payload_is_seen_from_then_on(lab: Engine) -> None:
    run = waiting(lab, gate())

    run.signal("go", {"by": "anna"})

    assert run.result(PATIENCE) == {"go": {"by": "anna"}}
    assert run.wait(PATIENCE).signals == {"go": {"by": "anna"}}


def test_a_signal_that_comes_early_is_kept_for_its_gate(lab: Engine) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    workflow = Workflow("w").step("slow", slow).wait_for("go").step("look", lambda ctx: ctx.signals["go"])
    run = lab.register(workflow).start("w")
    assert begun.wait(PATIENCE)

    run.signal("go", "early")
    go_on.set()

    assert run.result(PATIENCE) == "early"


def test_a_signal_to_a_run_whose_start_is_put_off_is_kept(lab: Engine) -> None:
    run = lab.register(gate()).start("w", delay=60)
    run.signal("go", "early")

    lab.advance(minutes=1)

    assert run.result(PATIENCE) == {"go": "early"}


def test_two_gates_of_one_name_take_two_signals_in_the_order_they_came(lab: Engine) -> None:
    workflow = (
        Workflow("w")
        .wait_for("go")
        .step("one", lambda ctx: ctx.signals["go"])
        .wait_for("go")
        .step("two", lambda ctx: [ctx.steps["one"], ctx.signals["go"]])
    )
    run = waiting(lab, workflow)

    run.signal("go", 1)
    run.signal("go", 2)
    run_two = lab.start("w")
    lab.settle()
    run_two.signal("go", 3)
    lab.settle()
    assert run_two.state is State.WAITING
    run_two.signal("go", 4)

    assert run.result(PATIENCE) == [1, 2]
    assert run_two.result(PATIENCE) == [3, 4]


def test_gates_in_strands_take_one_signal_each(lab: Engine) -> None:
    workflow = Workflow("w").parallel(
        lambda strand: strand.wait_for("go").step("left", lambda ctx: ctx.signals["go"]),
        lambda strand: strand.wait_for("go").step("right", lambda ctx: ctx.signals["go"]),
    )
    run = waiting(lab, workflow)

    run.signal("go", 1)
    lab.settle()
    assert run.state is State.WAITING
    run.signal("go", 2)

    steps = run.wait(PATIENCE).steps
    assert sorted([steps["left"].result, steps["right"].result]) == [1, 2]


def test_a_signal_for_one_gate_does_not_open_another(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_for("go").wait_for("stop"))

    run.signal("stop")
    lab.settle()
    assert [wait.event for wait in run.wait(PATIENCE, until="waiting").waiting_for] == ["go"]
    run.signal("go")

    assert run.wait(PATIENCE).state is State.COMPLETED


def test_a_missing_payload_is_none_and_opens_the_gate(lab: Engine) -> None:
    run = waiting(lab, gate())

    run.signal("go")

    assert run.result(PATIENCE) == {"go": None}


def test_signals_survive_a_restart_in_their_order(lab: Engine) -> None:
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 5,
        lambda body: body.wait_for("hold").wait_for("go").step("seen", lambda ctx: ctx.signals["go"]),
    )
    seen: list[int] = []
    waiting(lab, workflow)
    for number in range(5):
        lab.signal("run", "go", number)

    engine = restart(lab)
    for _ in range(5):
        engine.signal("run", "hold")
        engine.settle()
        execution = engine.get_execution("run")
        assert execution is not None
        seen.append(execution.steps["seen"].result)

    assert seen == [0, 1, 2, 3, 4]


def test_a_signal_wakes_a_run_whose_engine_was_restarted(lab: Engine) -> None:
    waiting(lab, gate())

    engine = restart(lab)
    engine.signal("run", "go", 1)

    assert engine.run("run").result(PATIENCE) == {"go": 1}


def test_a_signal_to_a_run_whose_workflow_is_not_registered_is_kept_for_it(lab: Engine, tmp_path: Any) -> None:
    waiting(lab, gate())
    lab.close()

    with Engine(lab.path) as engine:
        engine.signal("run", "go", 1)
        assert engine.run("run").state is State.RUNNING  # it has something to do, once somebody can do it
        engine.register(gate())
        assert engine.run("run").result(PATIENCE) == {"go": 1}


def test_a_storm_of_signals_loses_none(lab: Engine) -> None:
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 200, lambda body: body.wait_for("go"), max_iterations=200
    )
    run = waiting(lab, workflow)

    def send(numbers: range) -> None:
        for number in numbers:
            run.signal("go", number)

    threads = [threading.Thread(target=send, args=(range(25),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert run.wait(PATIENCE).state is State.COMPLETED


# ---- keys


def test_a_signal_with_a_key_counts_once(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_for("go").wait_for("go").step("look", lambda ctx: ctx.signals["go"]))

    run.signal("go", 1, key="a")
    run.signal("go", 2, key="a")
    lab.settle()
    assert run.state is State.WAITING
    run.signal("go", 3, key="b")

    assert run.result(PATIENCE) == 3


def test_a_key_is_remembered_across_a_restart_and_after_its_signal_was_taken(lab: Engine) -> None:
    waiting(lab, Workflow("w").wait_for("go").wait_for("go"))
    lab.signal("run", "go", 1, key="a")

    engine = restart(lab)
    engine.signal("run", "go", 2, key="a")
    engine.settle()

    assert engine.run("run").state is State.WAITING


def test_a_repeated_key_is_dropped_without_an_error_even_after_the_run_has_ended(lab: Engine) -> None:
    run = waiting(lab, gate())
    run.signal("go", 1, key="a")
    run.result(PATIENCE)

    run.signal("go", 1, key="a")

    with pytest.raises(ExecutionFinished):
        run.signal("go", 1, key="another")


def test_one_key_may_be_used_for_signals_to_different_runs(lab: Engine) -> None:
    lab.register(gate())
    runs = [lab.start("w") for _ in range(2)]

    for run in runs:
        run.signal("go", 1, key="a")

    assert [run.result(PATIENCE) for run in runs] == [{"go": 1}, {"go": 1}]


# ---- what is refused


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_finished_run_takes_no_signal_and_is_not_brought_back_to_life(end: str, lab: Engine) -> None:
    def act(ctx: Context[Any]) -> None:
        if end == "failed":
            raise ValueError

    run = waiting(lab, Workflow("w").wait_for("go").step("act", act, retry=1))
    if end == "cancelled":
        run.cancel()
    else:
        run.signal("go")
    assert run.wait(PATIENCE).state == end

    with pytest.raises(ExecutionFinished, match=f"'run' is {end}"):
        run.signal("go")

    assert run.state == end
    assert len(run.wait(PATIENCE).signals) == (0 if end == "cancelled" else 1)


def test_a_run_that_is_being_undone_takes_no_signal(lab: Engine) -> None:
    undoing, go_on = threading.Event(), threading.Event()

    def undo() -> None:
        undoing.set()
        go_on.wait(PATIENCE)

    workflow = Workflow("w").step("act", lambda: 1, compensate=undo).wait_for("go")
    run = waiting(lab, workflow)
    run.cancel()
    assert undoing.wait(PATIENCE)

    with pytest.raises(ExecutionFinished, match="'run' is compensating"):
        run.signal("go")

    go_on.set()
    assert run.wait(PATIENCE).state is State.CANCELLED


def test_a_name_that_no_gate_waits_for_is_refused_unless_told_to_be_lenient(lab: Engine) -> None:
    run = waiting(lab, gate())

    with pytest.raises(UnknownSignal, match="never waits for 'gone'; did you mean 'go'"):
        run.signal("gone")
    run.signal("gone", strict=False)
    lab.settle()

    assert run.state is State.WAITING


# ---- types


@dataclass
class Approval:
    by: str
    at: datetime


APPROVAL = Signal("go", Approval)


def test_a_typed_signal_is_given_to_handlers_as_its_type(lab: Engine) -> None:
    def look(ctx: Context[Any]) -> str:
        return f"{type(ctx[APPROVAL]).__name__} by {ctx[APPROVAL].by}"

    run = waiting(lab, Workflow("w").wait_for(APPROVAL).step("look", look))

    run.signal(APPROVAL, Approval("anna", START))

    assert run.result(PATIENCE) == "Approval by anna"


def test_a_payload_of_plain_values_is_turned_into_the_declared_type(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_for(APPROVAL).step("look", lambda ctx: ctx[APPROVAL].at.isoformat()))

    run.signal("go", {"by": "anna", "at": "2026-03-01T10:00:00+00:00"})

    assert run.result(PATIENCE) == "2026-03-01T10:00:00+00:00"


def test_a_payload_is_checked_by_the_version_that_the_run_began_with(lab: Engine) -> None:
    old = Workflow("versioned", version="1").wait_for(Signal("go", int)).map("got", lambda ctx: ctx.signals["go"])
    new = Workflow("versioned", version="2").wait_for(Signal("go", str)).map("got", lambda ctx: ctx.signals["go"])
    lab.register(old, new)
    run = lab.start(old)

    with pytest.raises(InvalidPayload):
        run.signal("go", "text")
    run.signal("go", 3)

    assert run.result(PATIENCE) == 3
    assert lab.signal_with_start(old, None, "go", 4, id="other").result(PATIENCE) == 4


@pytest.mark.parametrize("signal", [Signal("go", str), Signal("go")])
def test_another_signal_of_the_same_name_is_checked_by_the_gates_own_type(lab: Engine, signal: Signal[Any]) -> None:
    flow = Workflow("w").wait_for(Signal("go", int)).map("got", lambda ctx: ctx.signals["go"])
    run = waiting(lab, flow)

    with pytest.raises(InvalidPayload):
        run.signal(signal, "text")
    with pytest.raises(InvalidPayload):
        lab.signal_where(signal, "text", workflow="w")
    with pytest.raises(InvalidPayload):
        lab.signal_with_start(flow, None, signal, "text", id=run.id)
    run.signal(signal, 3)

    assert run.result(PATIENCE) == 3


@pytest.mark.parametrize("payload", [{"by": "anna"}, {"by": 5, "at": START}, "anna", None])
def test_a_payload_that_does_not_fit_is_refused_and_the_gate_stays_shut(payload: Any, lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_for(APPROVAL))

    with pytest.raises(InvalidPayload, match="the payload of signal 'go'"):
        run.signal("go", payload)

    assert run.state is State.WAITING
    assert run.wait(PATIENCE, until="waiting").signals == {}


def test_a_name_with_two_types_is_checked_by_the_type_of_its_own_workflow(lab: Engine) -> None:
    lab.register(Workflow("numbers").wait_for(Signal("go", int)), Workflow("texts").wait_for(Signal("go", str)))
    numbers, texts = lab.start("numbers"), lab.start("texts")

    with pytest.raises(InvalidPayload):
        numbers.signal("go", "a text")
    with pytest.raises(InvalidPayload):
        texts.signal("go", 5)
    numbers.signal("go", 5)
    texts.signal("go", "a text")

    assert (numbers.wait(PATIENCE).state, texts.wait(PATIENCE).state) == (State.COMPLETED, State.COMPLETED)


# ---- deadlines


def test_a_gate_whose_deadline_passes_fails_the_run_and_says_so(lab: Engine) -> None:
    record(lab)
    undone: list[str] = []
    workflow = Workflow("w").step("act", lambda: 1, compensate=lambda: undone.append("act")).wait_for("go", timeout=60)
    run = waiting(lab, workflow)
    assert run.wait(PATIENCE, until="waiting").waiting_for[0].deadline == START + timedelta(seconds=60)

    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match=r"SignalTimeout: signal 'go' timed out after 60 s"):
        run.result(PATIENCE)
    assert undone == ["act"]
    error = run.wait(PATIENCE).steps["__waitFor:go"].error
    assert error is not None
    assert error.type == "perdure.SignalTimeout"
    assert_events(run, ..., "signal:timeout go", "workflow:compensating", ..., "workflow:failed")


def test_on_timeout_is_taken_instead_of_failing(lab: Engine) -> None:
    workflow = (
        Workflow("w")
        .wait_for("go", timeout=60, on_timeout=lambda late: late.step("remind", lambda: "reminded"))
        .step("look", lambda ctx: [dict(ctx.steps), dict(ctx.signals)])
    )
    late, early = waiting(lab, workflow), lab.start("w")
    early.signal("go", 1)

    lab.advance(minutes=1)

    assert late.result(PATIENCE) == [{"remind": "reminded"}, {}]
    assert early.result(PATIENCE) == [{}, {"go": 1}]


def test_on_timeout_may_name_a_path_of_the_branch_that_follows(lab: Engine) -> None:
    asked = []

    def decide(ctx: Context[Any]) -> str:
        asked.append(ctx.execution_id)
        return str(ctx.signals["go"])

    workflow = (
        Workflow("w")
        .wait_for("go", timeout=60, on_timeout="late")
        .branch(decide)
        .path("yes", lambda yes: yes.step("do", lambda: "done"))
        .path("late", lambda late: late.wait_for("sorry").step("excuse", lambda: "excused"))
    )
    late, early = waiting(lab, workflow), lab.start("w")
    early.signal("go", "yes")
    lab.advance(minutes=1)

    engine = restart(lab)
    engine.signal(late.id, "sorry")

    assert engine.run(late.id).result(PATIENCE) == "excused"
    assert engine.run(early.id).result(PATIENCE) == "done"
    assert asked == [early.id], "a selector is not asked where the gate has led the way"
    engine.close()


def test_an_empty_on_timeout_just_goes_on(lab: Engine) -> None:
    run = waiting(lab, gate(timeout=60, on_timeout=lambda late: None))

    lab.advance(minutes=1)

    assert run.result(PATIENCE) == {}


def test_a_deadline_of_zero_has_passed_already_but_for_a_signal_that_is_there(lab: Engine) -> None:
    workflow = Workflow("w").wait_for("hold").wait_for("go", timeout=0).step("look", lambda ctx: ctx.signals["go"])
    late, early = waiting(lab, workflow), lab.start("w")
    early.signal("go", "there")
    for run in (late, early):
        run.signal("hold")

    assert early.result(PATIENCE) == "there"
    with pytest.raises(WorkflowFailed, match="timed out after 0 s"):
        late.result(PATIENCE)


def test_a_gate_without_a_deadline_waits_for_ever(lab: Engine) -> None:
    run = waiting(lab, gate())

    lab.advance(days=400)

    assert run.state is State.WAITING
    assert lab.next_deadline() is None


def test_a_signal_at_the_very_deadline_wins(lab: Engine, frozen: Any, unnoticed: Any) -> None:
    run = waiting(lab, gate(timeout=60))
    with unnoticed():
        frozen.tick(60)
        run.signal("go", "just in time")

    assert run.result(PATIENCE) == {"go": "just in time"}


def test_a_signal_from_elsewhere_that_came_in_time_wins_though_the_alarm_rings_before_the_inbox_is_read(
    lab: Engine, frozen: Any, unnoticed: Any
) -> None:
    run = waiting(lab, gate(timeout=60))
    machine = lab._machine
    with unnoticed():
        row = pack("run", Signalled("go", encode("in time")))
        assert row is not None
        machine.store.inbox.send(row)
        frozen.tick(3600)

        def ring_and_look() -> None:
            machine._ring()
            machine.supervisor.take_up()

        machine.exclusively(ring_and_look)

    assert run.result(PATIENCE) == {"go": "in time"}


def test_a_signal_after_the_deadline_loses_though_the_deadline_was_not_noticed_yet(
    lab: Engine, frozen: Any, unnoticed: Any
) -> None:
    recorder = record(lab)
    run = waiting(lab, gate(timeout=60))
    with unnoticed():
        frozen.tick(timedelta(seconds=60, microseconds=1))
        run.signal("go", "too late")

    with pytest.raises(WorkflowFailed, match="timed out"):
        run.result(PATIENCE)
    assert recorder.lines(run).count("signal:timeout go") == 1
    assert run.wait(PATIENCE).signals == {}


def test_a_late_signal_is_kept_for_the_next_gate_of_its_name(lab: Engine, frozen: Any, unnoticed: Any) -> None:
    workflow = (
        Workflow("w")
        .wait_for("go", timeout=60, on_timeout=lambda late: None)
        .wait_for("go")
        .step("look", lambda ctx: ctx.signals["go"])
    )
    run = waiting(lab, workflow)
    with unnoticed():
        frozen.tick(61)
        run.signal("go", "for the second")

    assert run.result(PATIENCE) == "for the second"


def test_the_time_an_engine_is_down_counts(lab: Engine, frozen: Any) -> None:
    waiting(lab, gate(timeout=60))
    lab.close()
    frozen.tick(61)

    engine = lab.reopen()
    try:
        engine.settle()
        assert engine.run("run").state is State.FAILED
    finally:
        engine.close()


def test_a_signal_sent_before_the_deadline_opens_the_gate_though_the_engine_died_at_once(
    lab: Engine, frozen: Any
) -> None:
    waiting(lab, gate(timeout=60))
    frozen.tick(59)
    lab.signal("run", "go", 1)

    engine = restart(lab)
    frozen.tick(10)

    assert engine.run("run").result(PATIENCE) == {"go": 1}


def test_a_run_shows_what_it_waits_for(lab: Engine) -> None:
    workflow = Workflow("w").parallel(
        lambda strand: strand.wait_for("go", timeout=60),
        lambda strand: strand.for_each(lambda: [1, 2], "each", block=lambda item: item.wait_for("item:7")),
        lambda strand: strand.sleep("nap", 30),
    )
    told: list[Any] = []
    lab.on("workflow:waiting", lambda event: told.append(event.waiting_for))
    before = waiting(lab, workflow).wait(PATIENCE, until="waiting").waiting_for
    after = restart(lab).run("run").wait(PATIENCE, until="waiting").waiting_for

    for waits in (before, after, *told):
        assert {(wait.name, wait.event, wait.deadline) for wait in waits} == {
            ("__waitFor:go", "go", START + timedelta(seconds=60)),
            ("__waitFor:item:7:0", "item:7", None),
            ("nap", None, START + timedelta(seconds=30)),
        }
        assert {wait.since for wait in waits} == {START}


def test_signals_are_told_of_in_order_with_what_follows(lab: Engine) -> None:
    recorder = record(lab)
    run = waiting(lab, gate())

    run.signal("go", {"by": "anna"})
    run.result(PATIENCE)

    assert_events(
        run,
        *("workflow:started", "workflow:waiting", "signal:received go", "workflow:resumed"),
        *("step:started look", "step:completed look", "workflow:completed"),
    )
    received = next(event for event in recorder.events(run) if event.type == "signal:received")
    assert (received.payload, received.at.tzinfo) == ({"by": "anna"}, UTC)  # type: ignore[attr-defined]
