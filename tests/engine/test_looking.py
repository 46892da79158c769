"""Whoever looks finds the runs asked for, page by page, and every attempt that was ever made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from perdure import AttemptRecord, Context, Engine, Execution, Load, Retry, RetryAfter, State, Workflow, look_at
from perdure.dsl.errors import ExecutionNotFound, StoreUnavailable, UsageError
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from perdure.testing.freezing import START


@dataclass(frozen=True)
class Parcel:
    """Something sent."""

    to: str
    grams: int


def fail_if_odd(ctx: Context[int]) -> int:
    if ctx.input % 2:
        raise ConnectionError('the depot "North" did not answer 100%')
    return ctx.input


plain = Workflow("plain", input=int).step("work", fail_if_odd, retry=1)
gated = Workflow("gated", input=Parcel).wait_for("go")


def ids(found: list[Execution]) -> list[str]:
    return [execution.id for execution in found]


@pytest.fixture
def busy(lab: Engine, frozen: Any) -> Engine:
    """Ten runs, a minute apart: p0 to p7 of which the odd ones failed, and g8 and g9, which wait."""
    lab.register(plain, gated)
    for number in range(8):
        lab.start(
            plain, number, id=f"p{number}", tags={"third": number % 3, "all": True}, business_key=f"k{number // 4}"
        )
        lab.settle()
        frozen.tick(60)
    for number in (8, 9):
        lab.start(gated, Parcel("Rome", number * 100), id=f"g{number}", tags={"third": number % 3})
        lab.settle()
        frozen.tick(60)
    return lab


def at(minute: float) -> Any:
    return START + timedelta(minutes=minute)


QUESTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "everything": ({}, ["g9", "g8", "p7", "p6", "p5", "p4", "p3", "p2", "p1", "p0"]),
    "a workflow": ({"workflow": "gated"}, ["g9", "g8"]),
    "a state": ({"state": "failed"}, ["p7", "p5", "p3", "p1"]),
    "two states": ({"state": [State.FAILED, "waiting"], "limit": 3}, ["g9", "g8", "p7"]),
    "a tag": ({"tags": {"third": 2}}, ["g8", "p5", "p2"]),
    "two tags": ({"tags": {"third": 2, "all": True}}, ["p5", "p2"]),
    "a tag and a state": ({"tags": {"third": 0}, "state": "completed"}, ["p6", "p0"]),
    "a business key": ({"business_key": "k1"}, ["p7", "p6", "p5", "p4"]),
    "a business key and a state": ({"business_key": "k1", "state": "completed"}, ["p6", "p4"]),
    "from a time": ({"created_after": at(7)}, ["g9", "g8", "p7"]),
    "until a time": ({"created_before": at(2), "order": "oldest"}, ["p0", "p1"]),
    "ended from a time": ({"finished_after": at(5)}, ["p7", "p6", "p5"]),
    "ended until a time": ({"finished_before": at(2)}, ["p1", "p0"]),
    "an error's text": ({"error": 'the DEPOT "north"'}, ["p7", "p5", "p3", "p1"]),
    "an error's type": ({"error": "connectionerror: the depot", "limit": 1}, ["p7"]),
    "a text that only looks like a pattern": ({"error": "depot%100_"}, []),
    "an input": ({"input": {"$": 3}}, ["p3"]),
    "a field of an input": ({"input": {"grams": 900, "to": "Rome"}}, ["g9"]),
    "what is not there": ({"input": {"to": "Oslo"}}, []),
}


@pytest.mark.parametrize("what", QUESTIONS)
def test_runs_are_found_by_what_is_known_of_them(busy: Engine, what: str) -> None:
    question, expected = QUESTIONS[what]

    assert ids(busy.list_executions(**question)) == expected
    with look_at(busy.path) as database:
        assert ids(database.list_executions(**question)) == expected
    question = {name: value for name, value in question.items() if name not in ("limit", "order")}
    assert busy.count_executions(**question) == len(busy.list_executions(**question))


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("question", [{}, {"tags": {"all": True}}, {"state": "failed"}, {"input": {"grams": 900}}])
def test_pages_hold_every_run_once_while_others_are_started(
    busy: Engine, frozen: Any, question: dict[str, Any], order: Any
) -> None:
    whole = ids(busy.list_executions(order=order, **question))
    seen, cursor = [], None
    while True:
        page = busy.list_executions(limit=3, after=cursor, order=order, **question)
        seen += ids(page)
        if order == "newest":
            busy.start(plain, 1, tags={"all": True})
            busy.settle()
            frozen.tick(1)
        if (cursor := page.cursor) is None:
            break

    assert seen == whole


def test_runs_are_counted_by_state_and_by_workflow(busy: Engine) -> None:
    assert busy.count_executions() == 10
    assert busy.count_executions(by="state") == {State.COMPLETED: 4, State.FAILED: 4, State.WAITING: 2}
    assert busy.count_executions(by="workflow", state="failed") == {"plain": 4}
    assert busy.count_executions("gated", by="state", tags={"third": 0}) == {State.WAITING: 1}


def test_tags_of_a_child_and_of_a_schedule_are_found_too(lab: Engine, frozen: Any) -> None:
    lab.register(Workflow("nightly").step("work", lambda: 1))
    lab.schedule("s", "nightly", every=60)
    lab.advance(seconds=120)

    assert len(lab.list_executions(tags={"schedule": "s"})) == 2


def test_what_is_removed_is_found_no_more_and_leaves_nothing_behind(busy: Engine, tmp_path: Path) -> None:
    assert busy.archive(states=["failed"]) + busy.cleanup() == 8
    assert ids(busy.list_executions(tags={"third": 0})) == ["g9"]
    assert busy.list_executions(business_key="k1") == []


# ---- histories


def told(history: list[AttemptRecord]) -> list[str]:
    return [f"{one.step} {one.attempt} {one.outcome}" for one in history]


def test_a_history_tells_every_attempt_with_its_error_and_times(lab: Engine) -> None:
    def flaky(ctx: Context[None]) -> str:
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return "done"

    retry = Retry(attempts=5, initial=10, jitter=0)
    lab.register(Workflow("flaky").step("first", lambda: 1).step("second", flaky, retry=retry).wait_for("go"))
    run = lab.start("flaky")
    lab.advance(seconds=60)

    history = lab.history(run.id)
    assert told(history) == [
        "first 1 completed",
        "second 1 failed",
        "second 2 failed",
        "second 3 completed",
        "__waitFor:go 1 waiting",
    ]
    _, one, two, three, gate = history
    assert [str(attempt.error) for attempt in (one, two)] == ["ValueError: attempt 1", "ValueError: attempt 2"]
    assert "flaky" in one.error.traceback if one.error is not None else False
    assert [(each.started_at, each.ended_at) for each in (one, two, three)] == [
        (START, START),
        (at(1 / 6), at(1 / 6)),
        (at(1 / 2), at(1 / 2)),
    ]
    assert (one.next_attempt_at, two.next_attempt_at, three.next_attempt_at) == (at(1 / 6), at(1 / 2), None)
    assert (three.result, gate.kind, gate.ended_at) == ("done", "wait_for", None)


def test_a_history_tells_of_a_step_that_failed_for_good_and_of_its_undoing(lab: Engine) -> None:
    def refuse() -> None:
        raise RuntimeError("no")

    flow = Workflow("undone").step("book", lambda: 1, compensate=lambda: None).step("pay", refuse, retry=2)
    lab.register(flow)
    run = lab.start(flow)
    lab.advance(seconds=60)

    history = lab.history(run.id)
    assert told(history) == ["book 1 completed", "pay 1 failed", "pay 2 failed", "book 1 completed"]
    assert [each.kind for each in history] == ["step", "step", "step", "compensation"]


def hanging(hold: threading.Event, entered: threading.Event, **options: Any) -> Workflow[Any, Any]:
    """One step whose first attempt hangs."""

    def hang(ctx: Context[Any]) -> None:
        if ctx.attempt == 1:
            entered.set()
            hold.wait()

    return Workflow("slow").step("slow", hang, **options)


def test_a_history_tells_of_time_limits(lab: Engine) -> None:
    hold, entered = threading.Event(), threading.Event()
    lab.register(hanging(hold, entered, timeout=5, retry=Retry(initial=20, jitter=0)))
    run = lab.start("slow")
    entered.wait()
    lab.advance(seconds=30)
    hold.set()

    history = lab.history(run.id)
    assert told(history) == ["slow 1 timed_out", "slow 2 completed"]
    assert [(each.started_at, each.ended_at) for each in history] == [(START, at(5 / 60)), (at(25 / 60), at(25 / 60))]


def test_a_history_tells_of_crashes(lab: Engine, frozen: Any) -> None:
    hold, entered = threading.Event(), threading.Event()
    lab.register(hanging(hold, entered))
    run = lab.start("slow")
    entered.wait()
    assert told(lab.history(run.id)) == ["slow 1 running"]
    lab.abandon()
    hold.set()
    frozen.tick(60)
    with lab.reopen() as fresh:
        fresh.settle()

        history = fresh.history(run.id)
        assert told(history) == ["slow 1 interrupted", "slow 2 completed"]
        assert [(each.started_at, each.ended_at) for each in history] == [(START, at(1)), (at(1), at(1))]


def test_a_history_tells_what_went_wrong_in_each_turn_of_a_loop_and_each_item(lab: Engine) -> None:
    calls: list[str] = []

    def fail_now_and_then(ctx: Context[Any]) -> int:
        calls.append("call")
        if len(calls) in (2, 5):
            raise ValueError("two")
        return 1

    at_once = Retry(initial=0)
    flow = (
        Workflow("turns")
        .do_until(lambda ctx, turn: turn >= 2, lambda body: body.step("work", fail_now_and_then, retry=at_once))
        .for_each(lambda ctx: [1, 2], "each", fail_now_and_then, retry=at_once)
    )
    lab.register(flow)
    run = lab.start(flow)
    lab.settle()

    history = lab.history(run.id)
    of_turn_two = [one for one in history if one.step == "work" and one.turn == (2,)]
    assert told(of_turn_two) == ["work 1 failed", "work 2 completed"]
    assert told([one for one in history if one.step == "each:1"]) == ["each:1 1 failed", "each:1 2 completed"]


@pytest.mark.parametrize("how", ["resolve", "retry"])
def test_a_history_tells_when_an_attempt_began_that_an_operator_has_asked_for(
    lab: Engine, frozen: Any, how: str
) -> None:
    def flaky(ctx: Context[None]) -> None:
        if ctx.attempt == 1:
            raise ValueError

    parked: Any = "park" if how == "resolve" else "fail"
    lab.register(Workflow("flaky").step("pay", flaky, retry=1, on_exhausted=parked))
    run = lab.start("flaky")
    lab.settle()
    frozen.tick(600)

    if how == "resolve":
        lab.resolve(run.id, "retry")
    else:
        lab.retry(run.id)

    lab.settle()
    history = lab.history(run.id)
    assert told(history) == ["pay 1 failed", "pay 2 completed"]
    assert [(each.started_at, each.ended_at) for each in history] == [(START, START), (at(10), at(10))]


def test_attempts_that_succeed_write_no_row(lab: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    commit = Store.commit

    def watched(self: Store, batch: Batch) -> None:
        kept.extend(batch.attempts)
        commit(self, batch)

    monkeypatch.setattr(Store, "commit", watched)
    lab.register(plain)
    lab.start(plain, 2).result()
    assert kept == []
    lab.start(plain, 1)
    lab.settle()
    assert len(kept) == 1


def test_the_history_of_nothing_is_an_error(lab: Engine, tmp_path: Path) -> None:
    with pytest.raises(ExecutionNotFound, match="nobody"):
        lab.history("nobody")
    with pytest.raises(StoreUnavailable, match="there is no database"), look_at(tmp_path / "none.db"):
        pass


@pytest.mark.on_a_file
def test_a_database_is_looked_at_by_its_path_and_by_nothing_else(lab: Engine) -> None:
    with look_at(Path(lab.path)) as database:
        assert database.count_executions() == 0
    for wrong in (None, ":memory:", 5, "mysql://host/runs"):
        with pytest.raises(UsageError, match=r"path|kept in"):
            look_at(cast("Any", wrong))


# ---- figures


def test_figures_tell_of_runs_rates_and_steps(lab: Engine, frozen: Any) -> None:
    lab.register(plain, gated)
    lab.start(plain, 2)
    lab.settle()
    frozen.tick(90)
    flow = Workflow("slow").for_each(lambda ctx: [1, 2, 3], "item", lambda ctx: ctx.item).step("flaky", fail_once())
    lab.register(flow)
    lab.start(flow)
    for number in (2, 3):
        lab.start(plain, number)
    lab.start(gated, Parcel("Rome", 1))
    lab.advance(seconds=30)

    stats = lab.stats()
    assert stats.executions == {State.COMPLETED: 3, State.FAILED: 1, State.WAITING: 1}
    assert (stats.running, stats.waiting, stats.overdue) == (0, 1, 0)
    assert (stats.started, stats.ended) == (4, {State.COMPLETED: 2, State.FAILED: 1})
    assert (stats.started_per_second, stats.ended_per_second) == (4 / 60, 3 / 60)
    assert {(one.workflow, one.step): (one.count, one.failed, one.retries) for one in stats.steps} == {
        ("plain", "work"): (3, 1, 0),
        ("slow", "flaky"): (1, 0, 1),
        ("slow", "item"): (3, 0, 0),
    }
    assert stats.steps[1].median == stats.steps[1].longest == timedelta(seconds=20)
    with look_at(lab.path) as database:
        assert database.stats().executions == stats.executions
        assert database.stats().load is None


def fail_once() -> Any:
    def flaky(ctx: Context[Any]) -> None:
        if ctx.attempt == 1:
            raise RetryAfter(20)

    return flaky


def test_figures_tell_what_is_under_way_and_what_queues(tmp_path: Path) -> None:
    hold, entered = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        entered.release()
        hold.wait()

    with Engine(tmp_path / "runs.db", Workflow("hang").step("hang", hang), concurrency=2) as engine:
        runs = [engine.start("hang") for _ in range(3)]
        entered.acquire()
        entered.acquire()
        load = engine.stats().load
        assert load is not None
        assert (load.runs, load.busy, load.handlers, load.queued) == (3, 2, 2, 1)
        hold.set()
        for run in runs:
            run.wait()
        engine.settle()
        assert engine.stats().load == Load(0, 0, 0, 0, 0, 0)
