"""No more runs are under way than a limit allows, whoever asks; the others stand in line, in order, on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Concurrency,
    Context,
    DefinitionError,
    Engine,
    EngineError,
    Event,
    Execution,
    Run,
    State,
    Workflow,
    WorkflowFailed,
)
from perdure.dsl.errors import StoreUnavailable
from perdure.dsl.facts import ErrorRecord
from perdure.events import WorkflowAdmitted, WorkflowQueued
from perdure.persistence.store import Store
from tests.engine.drive import photographs_of


def gated(**limits: Any) -> Workflow[str, Any]:
    """A workflow whose runs hold their slot until they are told to go."""
    return Workflow("gated", input=str, **limits).wait_for("go").step("work", lambda ctx: ctx.input)


def at_work(engine: Engine) -> list[str]:
    """Return the inputs of the runs that have got past the line, oldest first."""
    runs = engine.list_executions(state="waiting", order="oldest")
    return [str(run.input) for run in runs if run.waiting_for and run.waiting_for[0].event == "go"]


def in_line(engine: Engine) -> list[str]:
    """Return the inputs of the runs that stand in line, oldest first."""
    return [str(run.input) for run in engine.list_executions(order="oldest") if has_no_slot(run)]


def has_no_slot(run: Any) -> bool:
    return any(wait.limit is not None for wait in run.waiting_for)


def seen(engine: Engine, run: Run[Any]) -> Execution:
    """Return what a run looks like."""
    execution = engine.get_execution(run.id)
    assert execution is not None
    return execution


def let_go(engine: Engine, *names: str) -> list[str]:
    """End the runs at work one after the other; return the inputs in the order in which they got their slots."""
    order: list[str] = []
    while working := at_work(engine):
        order += [name for name in working if name not in order]
        first = next(run for run in engine.list_executions(state="waiting") if run.input == working[0])
        engine.signal(first.id, "go")
        engine.settle()
    return order


def begin(engine: Engine, names: str, *workflows: Workflow[Any, Any]) -> None:
    """Start a run of each of these names, and let everything happen."""
    engine.register(*workflows)
    for name in names:
        engine.start("gated", name)
    engine.settle()


@pytest.fixture
def told(lab: Engine) -> list[Event]:
    events: list[Event] = []
    lab.on_any(events.append)
    return events


# ---- slots


def test_no_more_runs_are_under_way_than_the_limit(lab: Engine) -> None:
    begin(lab, "abcd", gated(concurrency=2))
    assert (at_work(lab), in_line(lab)) == (["a", "b"], ["c", "d"])

    assert let_go(lab) == ["a", "b", "c", "d"]
    assert lab.count_executions(state="completed") == 4


def test_a_run_in_line_waits_for_its_limit_and_is_in_no_memory(lab: Engine, told: list[Event]) -> None:
    lab.register(gated(concurrency=1))
    lab.start("gated", "a")
    run = lab.start("gated", "b")
    lab.settle()
    execution = seen(lab, run)
    [wait] = execution.waiting_for

    assert (execution.state, wait.limit, wait.key, wait.event) == (State.WAITING, "gated", None, None)
    load = lab.stats().load
    assert load is not None
    assert load.runs == 0
    queued = [event for event in told if isinstance(event, WorkflowQueued)]
    assert [(event.execution_id, event.limit) for event in queued] == [(run.id, "gated")]


def test_a_run_that_gets_its_slot_says_how_long_it_has_waited(lab: Engine, told: list[Event]) -> None:
    lab.register(gated(concurrency=1))
    first, second = lab.start("gated", "a"), lab.start("gated", "b")
    lab.advance(seconds=90)
    first.signal("go")
    lab.settle()
    admitted = [event for event in told if isinstance(event, WorkflowAdmitted)]

    assert [(event.execution_id, event.waited) for event in admitted] == [(first.id, 0), (second.id, 90)]


def test_each_key_has_slots_of_its_own(lab: Engine) -> None:
    lab.register(gated(concurrency=Concurrency(key=lambda ctx: ctx.input[0], per_key=1)))
    for name in ("a1", "a2", "b1", "b2", "c1"):
        lab.start("gated", name)
    lab.settle()

    assert (at_work(lab), in_line(lab)) == (["a1", "b1", "c1"], ["a2", "b2"])


def test_the_keys_of_a_limit_take_turns_and_each_keeps_its_order(lab: Engine) -> None:
    lab.register(gated(concurrency=Concurrency(1, key=lambda ctx: ctx.input[0])))
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        lab.start("gated", name)
        lab.settle()

    assert let_go(lab) == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_new_keys_that_keep_coming_starve_no_key(lab: Engine) -> None:
    lab.register(gated(concurrency=Concurrency(1, key=lambda ctx: ctx.input)))
    for name in ("first", "patient", "patient"):
        lab.start("gated", name)
        lab.settle()
    order = []
    for number in range(6):
        lab.start("gated", f"new-{number}")
        lab.settle()
        [working] = at_work(lab)
        order.append(working)
        lab.signal(
            next(run.id for run in lab.list_executions("gated") if not has_no_slot(run) and not run.finished), "go"
        )
        lab.settle()

    assert order == ["first", "patient", "new-0", "patient", "new-1", "new-2"]


def test_a_key_may_be_a_path_into_the_input(lab: Engine) -> None:
    nested = Workflow("nested", input=dict, concurrency=Concurrency(key="customer.id", per_key=1)).wait_for("go")
    lab.register(nested)
    for customer in (1, 1, 2):
        lab.start(nested, {"customer": {"id": customer}})
    lab.settle()
    [waiting] = [run.waiting_for[0] for run in lab.list_executions() if has_no_slot(run)]

    assert (waiting.limit, waiting.key) == ("nested", "1")


def test_within_a_key_what_matters_more_goes_first(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    for name, priority in (("first", 0), ("report", -1), ("mail", 0), ("payment", 10)):
        lab.start("gated", name, priority=priority)
    lab.settle()

    assert let_go(lab) == ["first", "payment", "mail", "report"]


def test_workflows_may_share_their_slots(lab: Engine) -> None:
    one, other = (
        Workflow(name, input=str, concurrency=Concurrency(1, name="printer")).wait_for("go")
        for name in ("one", "other")
    )
    lab.register(one).register(other)
    first, second = lab.start(one, "a"), lab.start(other, "b")
    lab.settle()
    assert in_line(lab) == ["b"]
    first.signal("go")
    lab.settle()

    assert at_work(lab) == ["b"]
    assert second.state is State.WAITING


def test_a_run_holds_its_slot_until_it_was_undone(lab: Engine) -> None:
    undone: list[str] = []

    def fail() -> None:
        message = "no"
        raise RuntimeError(message)

    def undo(ctx: Context[str]) -> None:
        undone.append(ctx.input)
        assert in_line(lab) == ["b"]

    flow = (
        Workflow("undone", input=str, concurrency=1)
        .step("reserve", lambda: 1, compensate=undo, retry=1)
        .wait_for("go")
        .step("fail", fail, retry=1)
    )
    lab.register(flow)
    first, second = lab.start(flow, "a"), lab.start(flow, "b")
    lab.settle()
    first.signal("go")
    lab.settle()

    assert (first.state, undone, in_line(lab)) == (State.FAILED, ["a"], [])
    assert seen(lab, second).waiting_for[0].event == "go"


def test_a_sub_workflow_stands_in_the_line_of_its_own_workflow(lab: Engine) -> None:
    child = Workflow("child", input=str, concurrency=1).wait_for("go").step("end", lambda ctx: ctx.input)
    parent = Workflow("parent", input=str).sub_workflow("child", lambda ctx: ctx.input)
    lab.register(child).register(parent)
    runs = [lab.start(parent, name) for name in "ab"]
    lab.settle()
    assert len(in_line(lab)) == 1
    for _ in range(2):
        [working] = [run for run in lab.list_executions("child") if run.waiting_for and not has_no_slot(run)]
        lab.signal(working.id, "go")
        lab.settle()

    assert [run.state for run in runs] == [State.COMPLETED] * 2


def test_a_delayed_run_stands_in_line_when_its_time_has_come(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    delayed = lab.start("gated", "delayed", delay=60)
    lab.start("gated", "a")
    lab.settle()
    assert (at_work(lab), seen(lab, delayed).waiting_for[0].limit) == (["a"], None)
    lab.advance(seconds=60)

    assert in_line(lab) == ["delayed"]


def test_the_deadline_of_a_run_counts_from_when_it_gets_its_slot(lab: Engine) -> None:
    lab.register(gated(concurrency=1, timeout=100))
    first, second = lab.start("gated", "a"), lab.start("gated", "b")
    lab.advance(seconds=90)
    first.signal("go")
    lab.advance(seconds=99)
    assert second.state == "waiting"
    lab.advance(seconds=2)

    assert second.state is State.FAILED


# ---- steering those in line

STEERED: dict[str, tuple[Callable[[Any], object], State]] = {
    "cancel": (lambda run: run.cancel(), State.CANCELLED),
    "terminate": (lambda run: run.terminate(), State.CANCELLED),
}


@pytest.mark.parametrize("verb", STEERED)
def test_a_run_that_is_stopped_in_line_makes_room(lab: Engine, verb: str) -> None:
    steer, end = STEERED[verb]
    lab.register(gated(concurrency=1))
    first, second, third = (lab.start("gated", name) for name in "abc")
    lab.settle()
    steer(second)
    lab.settle()
    assert (second.state, in_line(lab)) == (end, ["c"])
    first.signal("go")
    lab.settle()

    assert at_work(lab) == ["c"]
    assert third.state is State.WAITING


@pytest.mark.parametrize("verb", STEERED)
def test_a_run_that_is_stopped_at_work_gives_its_slot_on(lab: Engine, verb: str) -> None:
    lab.register(gated(concurrency=1))
    first, _ = lab.start("gated", "a"), lab.start("gated", "b")
    lab.settle()
    STEERED[verb][0](first)
    lab.settle()

    assert (at_work(lab), in_line(lab)) == (["b"], [])


def test_a_run_that_is_paused_in_line_keeps_its_place(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    first, second, _ = (lab.start("gated", name) for name in "abc")
    lab.settle()
    second.pause()
    first.signal("go")
    lab.settle()
    assert (at_work(lab), in_line(lab)) == ([], ["c"])
    second.resume()
    lab.settle()

    assert at_work(lab) == ["b"]


def test_a_run_that_was_paused_before_it_asked_asks_when_it_is_resumed(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    run = lab.start("gated", "a", delay=10)
    run.pause()
    lab.advance(seconds=20)
    lab.start("gated", "b")
    lab.settle()
    run.resume()
    lab.settle()

    assert (at_work(lab), in_line(lab)) == (["b"], ["a"])


def test_nothing_of_a_run_in_line_can_be_skipped(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    lab.start("gated", "a")
    second = lab.start("gated", "b")
    lab.settle()
    with pytest.raises(EngineError, match="work"):
        second.skip("work", result="x", reason="no time")

    assert in_line(lab) == ["b"]


def test_a_run_in_line_takes_signals_for_later(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    first, second = lab.start("gated", "a"), lab.start("gated", "b")
    lab.settle()
    second.signal("go")
    lab.settle()
    assert in_line(lab) == ["b"]
    first.signal("go")
    lab.settle()

    assert second.result() == "b"


# ---- runs that come again


def failing(broken: list[bool]) -> Workflow[str, Any]:
    def work(ctx: Context[str]) -> str:
        if broken:
            message = "broken"
            raise RuntimeError(message)
        return ctx.input

    return Workflow("gated", input=str, concurrency=1).wait_for("go").step("work", work, retry=1).step("end", work)


def failed_run(engine: Engine) -> tuple[list[bool], Run[Any]]:
    """Return what breaks a workflow's runs as long as it is not empty, and a run that it has broken."""
    broken = [True]
    engine.register(failing(broken))
    failed = engine.start("gated", "a")
    failed.signal("go")
    engine.settle()
    return broken, failed


def test_a_run_that_is_retried_stands_in_line_again(lab: Engine) -> None:
    broken, failed = failed_run(lab)
    other = lab.start("gated", "b")
    broken.clear()
    failed.retry()
    lab.settle()
    assert (failed.state, at_work(lab), in_line(lab)) == (State.WAITING, ["b"], ["a"])
    other.signal("go")
    lab.settle()

    assert failed.result() == "a"


def test_a_run_that_is_set_aside_gives_its_slot_on_and_stands_in_line_when_it_is_resumed(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    first, second = lab.start("gated", "a"), lab.start("gated", "b")
    lab.settle()
    supervisor = lab._machine.supervisor
    row = supervisor.core.store.find(first.id)
    assert row is not None
    lab._machine.exclusively(lambda: supervisor._set_aside(row.id, ErrorRecord("Poison", "it kills")))
    lab.settle()
    assert (first.state, at_work(lab)) == (State.QUARANTINED, ["b"])
    first.resume()
    lab.settle()
    assert in_line(lab) == ["a"]
    second.signal("go")
    first.signal("go")
    lab.settle()

    assert first.result() == "a"


@pytest.mark.on_a_file
def test_a_run_in_line_whose_definition_changed_meanwhile_is_set_aside_when_it_is_its_turn(lab: Engine) -> None:
    _, failed = failed_run(lab)
    holder = lab.start("gated", "b")
    failed.retry()
    lab.settle()
    assert in_line(lab) == ["a"]
    changed = Workflow("gated", input=str, concurrency=1).wait_for("go").step("other", lambda: 1)
    with restarted(lab, changed) as fresh:
        fresh.settle()
        fresh.terminate(holder.id)
        fresh.settle()

        assert fresh.run(failed.id).state is State.QUARANTINED
        assert fresh.stats().limits[0].held == 0


def test_a_step_of_a_failed_run_can_be_skipped_though_another_has_the_slot(lab: Engine) -> None:
    broken, failed = failed_run(lab)
    other = lab.start("gated", "b")
    broken.clear()
    failed.skip("work", result="by hand", reason="done by hand")
    lab.settle()
    assert in_line(lab) == ["a"]
    other.signal("go")
    lab.settle()

    assert (seen(lab, failed).steps["work"].result, failed.result()) == ("by hand", "a")


def test_a_fork_stands_in_line_too(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    first = lab.start("gated", "a")
    first.signal("go")
    lab.settle()
    lab.start("gated", "b")
    lab.settle()
    fork = lab.fork(first.id, at="work")
    lab.settle()
    assert [run.id for run in lab.list_executions() if has_no_slot(run)] == [fork.id]
    assert let_go(lab) == ["b"]

    assert fork.result() == "a"


def test_a_key_that_cannot_be_had_fails_the_run_and_is_asked_again_by_a_retry(lab: Engine) -> None:
    answers: list[Any] = [None, "k"]
    flow = Workflow("keyed", concurrency=Concurrency(1, key=lambda _: answers.pop(0))).step("work", lambda: "done")
    lab.register(flow)
    run = lab.start(flow)
    with pytest.raises(WorkflowFailed, match="the key of a limit must be a text or a whole number, got None"):
        run.result()
    run.retry()

    assert run.result() == "done"


# ---- what changes


def restarted(engine: Engine, *workflows: Workflow[Any, Any]) -> Engine:
    engine.abandon()
    return Engine(engine.path, *workflows, durability="normal")


@pytest.mark.on_a_file
def test_who_stands_in_line_stands_there_after_a_restart(lab: Engine) -> None:
    begin(lab, "abc", gated(concurrency=1))
    with restarted(lab, gated(concurrency=1)) as fresh:
        fresh.settle()
        assert (at_work(fresh), in_line(fresh)) == (["a"], ["b", "c"])

        assert let_go(fresh) == ["a", "b", "c"]


@pytest.mark.on_a_file
def test_a_slot_that_was_given_just_before_a_crash_is_had_after_it(lab: Engine) -> None:
    lab.register(gated(concurrency=1))
    first = lab.start("gated", "a")
    lab.start("gated", "b")
    lab.settle()
    with photographs_of(Path(lab.path), lambda: None) as photographs:
        first.signal("go")
        lab.settle()
    seen_at = []
    for number, (content, _, _) in enumerate(photographs):
        copy = Path(lab.path).with_name(f"copy-{number}.db")
        for part, suffix in zip(content, ("", "-wal"), strict=True):
            Path(f"{copy}{suffix}").write_bytes(part)
        with Engine(copy, gated(concurrency=1), durability="normal") as fresh:
            fresh.settle()
            seen_at.append((at_work(fresh), in_line(fresh)))

    assert len(seen_at) >= 3
    assert seen_at == [(["b"], [])] * len(seen_at)


@pytest.mark.on_a_file
@pytest.mark.parametrize(("limit", "working"), [(3, ["a", "b", "c"]), (1, ["a"]), (2, ["a", "b"])])
def test_a_limit_that_was_changed_counts_for_those_in_line(lab: Engine, limit: int, working: list[str]) -> None:
    begin(lab, "abcd", gated(concurrency=1))
    with restarted(lab, gated(concurrency=limit)) as fresh:
        fresh.settle()

        assert at_work(fresh) == working


@pytest.mark.on_a_file
def test_a_limit_that_is_registered_late_counts_for_those_in_line(lab: Engine) -> None:
    begin(lab, "abc", gated(concurrency=1))
    with restarted(lab) as fresh:
        fresh.settle()

        fresh.register(gated(concurrency=2))
        fresh.settle()

        assert (at_work(fresh), in_line(fresh)) == (["a", "b"], ["c"])


@pytest.mark.on_a_file
def test_a_slot_that_is_given_to_a_run_whose_sub_workflow_is_not_registered_is_had_when_it_is(lab: Engine) -> None:
    def parent(limit: int) -> Workflow[str, Any]:
        return gated(concurrency=limit).sub_workflow("child")

    child = Workflow("child").map("end", lambda ctx: "done")
    begin(lab, "ab", child, parent(1))
    with restarted(lab) as fresh:
        fresh.register(parent(2))
        fresh.settle()

        fresh.register(child)
        fresh.settle()

        assert (at_work(fresh), in_line(fresh)) == (["a", "b"], [])


@pytest.mark.on_a_file
def test_who_was_given_a_slot_hears_of_it_though_the_disk_could_not_be_read(
    lab: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lab, "ab", gated(concurrency=1))
    with restarted(lab, gated()) as fresh:  # without a limit, so that nothing else has it look again
        fresh.settle()
        given, troubles = Store.given_slots, [StoreUnavailable("the disk has failed")]

        def failing_once(self: Store) -> Any:
            if troubles:
                raise troubles.pop()
            return given(self)

        monkeypatch.setattr(Store, "given_slots", failing_once)
        fresh.signal(next(run.id for run in fresh.list_executions() if run.input == "a"), "go")
        fresh.settle()
        fresh.advance(seconds=1)

        assert troubles == []
        [second] = fresh.list_executions(state="waiting")
        assert "go" in [wait.event for wait in second.waiting_for]


@pytest.mark.on_a_file
def test_a_limit_that_was_lowered_takes_no_slot_away(lab: Engine) -> None:
    begin(lab, "abcd", gated(concurrency=3))
    with restarted(lab, gated(concurrency=1)) as fresh:
        fresh.settle()
        assert at_work(fresh) == ["a", "b", "c"]
        fresh.signal(next(run.id for run in fresh.list_executions() if run.input == "a"), "go")
        fresh.settle()

        assert (at_work(fresh), in_line(fresh)) == (["b", "c"], ["d"])


@pytest.mark.on_a_file
def test_a_limit_that_is_taken_away_lets_those_in_line_go_on(lab: Engine) -> None:
    begin(lab, "ab", gated(concurrency=1))
    assert all(found.goes_on for found in lab.check_upgrade(gated()))
    with restarted(lab, gated()) as fresh:
        fresh.settle()
        for run in fresh.list_executions():
            fresh.signal(run.id, "go")
        fresh.settle()

        assert fresh.count_executions(state="completed") == 2


@pytest.mark.on_a_file
def test_a_run_whose_limit_was_taken_away_leaves_the_line_when_it_goes_on(lab: Engine) -> None:
    begin(lab, "abc", gated(concurrency=1).wait_for("end"))
    with restarted(lab, gated().wait_for("end")) as fresh:
        fresh.settle()
        [second] = [run.id for run in fresh.list_executions() if run.input == "b"]
        fresh.signal(second, "go")
        fresh.settle()

        assert [wait.event for wait in seen(fresh, fresh.run(second)).waiting_for] == ["end"]
        assert in_line(fresh) == ["c"]
        [limit] = fresh.stats().limits
        assert (limit.held, limit.waiting) == (1, 1)


@pytest.mark.on_a_file
def test_a_run_that_began_without_a_limit_goes_on_without(lab: Engine) -> None:
    begin(lab, "ab", gated())
    with restarted(lab, gated(concurrency=1)) as fresh:
        fresh.start("gated", "c")
        fresh.start("gated", "d")
        fresh.settle()

        assert (at_work(fresh), in_line(fresh)) == (["a", "b", "c"], ["d"])


def test_two_definitions_that_differ_in_their_limit_are_the_same_graph(lab: Engine) -> None:
    difference = lab.diff(gated(), gated(concurrency=Concurrency(2, key="customer")))

    assert difference.same_graph
    assert str(difference) == (
        "changed: concurrency.is_singleton: nothing → False\n"
        "changed: concurrency.limit: nothing → 2\n"
        "changed: concurrency.question.path: nothing → customer"
    )


def test_the_figures_tell_how_far_a_limit_is_used(lab: Engine) -> None:
    begin(lab, "aab", gated(concurrency=Concurrency(2, key=lambda ctx: ctx.input, per_key=1)))
    [limit] = lab.stats().limits

    assert (limit.name, limit.limit, limit.per_key, limit.held, limit.waiting, limit.keys) == ("gated", 2, 1, 2, 1, 2)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "nothing": (Concurrency, "give it a limit, a per_key, or both"),
    "zero": (lambda: Workflow("w", concurrency=0), "concurrency must be a whole number of at least 1, got 0"),
    "no key": (lambda: Concurrency(per_key=1), "per_key needs a key"),
    "odd key": (lambda: Concurrency(1, key="a..b"), "no path into an input"),
    "key that is none": (lambda: Concurrency(1, key=3), "key must be a path"),  # type: ignore[arg-type]
    "greedy key": (lambda: Workflow("w", concurrency=Concurrency(1, key=lambda a, b: a)), "must take the context"),  # type: ignore[misc, arg-type]
    "empty name": (lambda: Concurrency(1, name=""), "name must be a text"),
    "in a body": (
        lambda: Workflow("w").parallel(Workflow("part", concurrency=1).step("a", lambda: 1)),
        "has a limit of concurrency, which is for runs of its own",
    ),
    "two": (lambda: Workflow("w", concurrency=1, singleton=True), "leave concurrency out"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_limit_that_cannot_be_is_refused_where_it_is_said(wrong: str) -> None:
    say, why = WRONG[wrong]
    with pytest.raises(DefinitionError, match=why):
        say()
