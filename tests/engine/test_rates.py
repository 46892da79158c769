"""A step is attempted no more often than its rate allows, to the microsecond; what is too much waits for its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import Context, DefinitionError, Engine, Event, Rate, Retry, State, Workflow, step
from perdure.events import StepThrottled
from perdure.testing.freezing import START


class Calls(list[tuple[str, float]]):
    """A service that notes who called it, and when: in seconds since the time began."""

    def handle(self, ctx: Context[Any]) -> str:
        """Note the call."""
        self.append((str(ctx.input), (datetime.now(UTC) - START).total_seconds()))
        return str(ctx.input)

    @property
    def times(self) -> list[float]:
        """When the calls came."""
        return [at for _, at in self]

    def most_within(self, seconds: float) -> int:
        """Return the largest number of calls in any stretch of so many seconds, its end left out."""
        return max(sum(begin <= at < begin + seconds for at in self.times) for begin in self.times)


def calling(calls: Calls, rate: Rate, **options: Any) -> Workflow[str, Any]:
    return Workflow("calling", input=str).step("call", calls.handle, rate=rate, **options)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_attempts_begin_as_often_as_the_rate_says_and_no_sooner(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(6, per=60, burst=1)))
    for name in "abcd":
        lab.start("calling", name)
    lab.advance(minutes=5)

    assert calls == [("a", 0), ("b", 10), ("c", 20), ("d", 30)]


def test_a_bucket_that_was_left_alone_lets_a_burst_through(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(3, per=timedelta(seconds=30))))
    for number in range(7):
        lab.start("calling", str(number))
    lab.advance(seconds=100)
    for number in range(4):
        lab.start("calling", str(number))
    lab.advance(seconds=100)

    assert calls.times == [0, 0, 0, 10, 20, 30, 40, 100, 100, 100, 110]


def test_no_window_holds_more_than_the_burst_and_what_came_back_in_it(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(7, per=60, burst=4)))
    for number in range(40):
        lab.start("calling", str(number))
        lab.advance(seconds=number % 5)
    lab.advance(minutes=10)

    assert len(calls) == 40
    for seconds in (1, 30, 60, 120, 300):
        assert calls.most_within(seconds) <= 4 + 7 * seconds / 60


def test_each_key_has_a_bucket_of_its_own(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(1, per=10, key=lambda ctx: ctx.input)))
    for name in "aabba":
        lab.start("calling", name)
    lab.advance(minutes=1)

    assert sorted(calls) == [("a", 0), ("a", 10), ("a", 20), ("b", 0), ("b", 10)]


def test_steps_may_share_their_bucket(lab: Engine, calls: Calls) -> None:
    rate = Rate(1, per=10, name="api")
    one = Workflow("one", input=str).step("read", calls.handle, rate=rate).step("write", calls.handle, rate=rate)
    other = Workflow("other", input=str).step("ask", calls.handle, rate=rate)
    lab.register(one).register(other)
    lab.start(one, "one")
    lab.settle()
    lab.start(other, "other")
    lab.advance(minutes=1)

    assert [at for _, at in calls] == [0, 10, 20]


def test_steps_whose_names_begin_alike_have_buckets_of_their_own(lab: Engine, calls: Calls) -> None:
    rate = Rate(1, per=10)
    lab.register(
        Workflow("paying", input=list).for_each(
            lambda ctx: ctx.input,
            "each",
            block=lambda body: body.step("pay:visa", calls.handle, rate=rate).step("pay:amex", calls.handle, rate=rate),
        )
    )
    lab.start("paying", ["a"])
    lab.start("paying", ["b"])
    lab.advance(minutes=1)

    assert calls.times == [0, 0, 10, 10]


def test_a_step_object_keeps_its_rate_in_each_workflow(lab: Engine, calls: Calls) -> None:
    @step("call", rate=Rate(1, per=10))
    def call(ctx: Context[str]) -> str:
        return calls.handle(ctx)

    lab.register(Workflow("one", input=str).step(call)).register(Workflow("other", input=str).step(call))
    for name in ("one", "one", "other"):
        lab.start(name, name)
    lab.advance(minutes=1)

    assert sorted(calls) == [("one", 0), ("one", 10), ("other", 0)]


def test_every_attempt_takes_a_token(lab: Engine, calls: Calls) -> None:
    def fail(ctx: Context[str]) -> str:
        calls.handle(ctx)
        message = "not yet"
        raise RuntimeError(message)

    flow = Workflow("failing", input=str).step(
        "call", fail, rate=Rate(1, per=10), retry=Retry(attempts=3, initial=4, factor=1, jitter=0)
    )
    lab.register(flow)
    lab.start(flow, "a")
    lab.advance(seconds=5)
    lab.start(flow, "b")
    lab.advance(minutes=2)

    assert sorted(calls.times) == [0, 10, 20, 30, 40, 50]


def test_items_of_a_list_take_tokens_one_by_one(lab: Engine, calls: Calls) -> None:
    flow = Workflow("list", input=list).for_each(
        lambda ctx: ctx.input, "call", lambda ctx: calls.append((ctx.item, _now())), concurrency=5, rate=Rate(2, per=20)
    )
    lab.register(flow)
    lab.start(flow, ["a", "b", "c", "d"])
    lab.advance(minutes=2)

    assert calls.times == [0, 0, 10, 20]


def _now() -> float:
    return (datetime.now(UTC) - START).total_seconds()


def test_a_run_that_waits_for_its_token_is_on_disk_and_says_so(lab: Engine, calls: Calls) -> None:
    events: list[Event] = []
    lab.on_any(events.append)
    lab.register(calling(calls, Rate(1, per=60, key="name"), input_schema=None))
    lab.register(Workflow("named", input=dict).step("call", calls.handle, rate=Rate(1, per=60, key="name")))
    lab.start("named", {"name": "Ada"})
    lab.settle()  # keys are asked for on two threads: the second could come to its token first
    run = lab.start("named", {"name": "Ada"})
    lab.settle()
    execution = lab.get_execution(run.id)
    assert execution is not None
    [wait] = execution.waiting_for
    due = START + timedelta(seconds=60)

    assert (execution.state, execution.steps["call"].status) == (State.WAITING, "waiting")
    assert (wait.name, wait.limit, wait.key, wait.deadline) == ("call", "named.call", "Ada", due)
    [throttled] = [event for event in events if isinstance(event, StepThrottled)]
    assert (throttled.execution_id, throttled.limit, throttled.key, throttled.until) == (
        run.id,
        "named.call",
        "Ada",
        due,
    )
    load = lab.stats().load
    assert load is not None
    assert load.runs == 0


@pytest.mark.on_a_file
def test_who_waits_for_a_token_waits_on_after_a_restart(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(1, per=10)))
    for name in "abc":
        lab.start("calling", name)
    lab.advance(seconds=5)
    lab.abandon()
    with Engine(lab.path, calling(calls, Rate(1, per=10)), durability="normal") as fresh:
        fresh.start("calling", "d")
        fresh.advance(minutes=1)

    assert calls == [("a", 0), ("b", 10), ("c", 20), ("d", 30)]


@pytest.mark.on_a_file
def test_tokens_that_nobody_could_use_in_time_are_lost(lab: Engine, calls: Calls, frozen: Any) -> None:
    lab.register(calling(calls, Rate(1, per=10)))
    for name in "abcd":
        lab.start("calling", name)
    lab.settle()
    lab.abandon()
    frozen.move_to(START + timedelta(hours=1))
    with Engine(lab.path, calling(calls, Rate(1, per=10)), durability="normal") as fresh:
        fresh.advance(minutes=1)

    assert calls == [("a", 0), ("b", 3600), ("c", 3610), ("d", 3620)]


def test_what_was_paused_takes_another_token(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(1, per=10)))
    runs = [lab.start("calling", name) for name in "abc"]
    lab.settle()
    for run in runs[1:]:
        run.pause()
    lab.advance(seconds=100)
    for run in runs[1:]:
        run.resume()
    lab.advance(minutes=1)

    assert sorted(calls.times) == [0, 100, 110]


VERBS: dict[str, tuple[Callable[[Any], object], State, str]] = {
    "cancel": (lambda run: run.cancel(), State.CANCELLED, "waiting"),
    "terminate": (lambda run: run.terminate(), State.CANCELLED, "waiting"),
    "skip": (lambda run: run.skip("call", result="by hand", reason="in a hurry"), State.COMPLETED, "skipped"),
    "complete": (lambda run: run.complete_step("call", result="by hand"), State.COMPLETED, "completed"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_waits_for_its_token_is_steered_like_any_other(lab: Engine, calls: Calls, verb: str) -> None:
    steer, end, status = VERBS[verb]
    lab.register(calling(calls, Rate(1, per=10)))
    lab.start("calling", "a")
    run = lab.start("calling", "b")
    lab.settle()
    steer(run)
    lab.advance(minutes=1)
    execution = lab.get_execution(run.id)
    assert execution is not None

    assert (execution.state, execution.steps["call"].status) == (end, status)
    assert calls == [("a", 0)]


@pytest.mark.on_a_file
def test_a_rate_may_be_changed_or_taken_away_while_runs_wait(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(1, per=10, key=lambda _: "k")))
    for name in "abc":
        lab.start("calling", name)
    lab.settle()
    plain = Workflow("calling", input=str).step("call", calls.handle)
    assert all(found.goes_on for found in lab.check_upgrade(plain))
    lab.abandon()
    with Engine(lab.path, plain, durability="normal") as fresh:
        fresh.advance(minutes=1)

        assert fresh.count_executions(state="completed") == 3


@pytest.mark.on_a_file
def test_a_rate_that_is_new_counts_for_runs_that_are_under_way(lab: Engine, calls: Calls) -> None:
    lab.register(Workflow("calling", input=str).wait_for("go").step("call", calls.handle))
    runs = [lab.start("calling", name) for name in "ab"]
    lab.settle()
    lab.abandon()
    limited = Workflow("calling", input=str).wait_for("go").step("call", calls.handle, rate=Rate(1, per=10))
    with Engine(lab.path, limited, durability="normal") as fresh:
        for run in runs:
            fresh.signal(run.id, "go")
        fresh.advance(minutes=1)

    assert calls == [("a", 0), ("b", 10)]


def test_buckets_that_are_full_again_do_not_pile_up(lab: Engine, calls: Calls) -> None:
    lab.register(calling(calls, Rate(1, per=1, key=lambda ctx: ctx.input)))
    for number in range(30):
        lab.start("calling", str(number))
        lab.advance(seconds=2)
    kept = lab._machine.exclusively(
        lambda: lab._machine.store._database.consult(
            lambda connection: connection.execute("SELECT count(*) FROM workflow_buckets").fetchone()
        )
    )

    assert len(calls) == 30
    assert kept == (1,)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "zero": (lambda: Rate(0), "limit must be a whole number of at least 1"),
    "no time": (lambda: Rate(1, per=0), "per: 0 must be more than zero"),
    "no burst": (lambda: Rate(1, burst=0), "burst must be a whole number of at least 1"),
    "no rate": (lambda: step("a", rate=3)(lambda: 1), "rate must be a Rate"),  # type: ignore[call-overload]
    "greedy key": (lambda: step("a", rate=Rate(1, key=lambda a, b: a))(lambda: 1), "must take the context"),  # type: ignore[misc, arg-type]
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_rate_that_cannot_be_is_refused_where_it_is_said(wrong: str) -> None:
    say, why = WRONG[wrong]
    with pytest.raises(DefinitionError, match=why):
        say()
