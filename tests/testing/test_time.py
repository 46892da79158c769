"""Frozen time: settle, advance and next_deadline."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from perdure import Context, Engine, Retry, State, UsageError, WaitTimeout, Workflow, WouldDeadlock
from perdure.actors import clock
from perdure.events import TimerFired
from perdure.testing import assert_events, freeze, record, restart
from tests.patience import PATIENCE

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_approval_of_thirty_days_with_a_reminder_is_over_at_once(frozen_engine: Engine) -> None:
    reminded: list[datetime] = []
    approval = (
        Workflow("approval")
        .wait_for(
            "decided",
            timeout=timedelta(days=14),
            on_timeout=lambda w: w.step("remind", lambda: reminded.append(datetime.now(UTC))).wait_for(
                "decided late", timeout=timedelta(days=16)
            ),
        )
        .step("file", lambda: "filed")
    )
    run = frozen_engine.register(approval).start(approval)

    frozen_engine.advance(days=30)

    assert reminded == [START + timedelta(days=14)]
    assert run.state is State.FAILED


def test_a_timer_armed_while_settling_fires_in_the_same_settle(frozen_engine: Engine, freezer: Any) -> None:
    naps = Workflow("naps").sleep("one", 60).sleep("two", 0).sleep("three", 0).step("end", lambda: "up")
    run = frozen_engine.register(naps).start(naps)
    frozen_engine.settle()
    freezer.tick(60)

    frozen_engine.settle()

    assert run.result(timeout=PATIENCE) == "up"


def test_retries_happen_at_their_own_moments(frozen_engine: Engine) -> None:
    tried: list[float] = []

    def fail(ctx: Context[Any]) -> None:
        tried.append((datetime.now(UTC) - START).total_seconds())
        raise OSError

    flow = Workflow("flow").step("call", fail, retry=Retry(attempts=4, initial=1, jitter=0))
    run = frozen_engine.register(flow).start(flow)

    frozen_engine.advance(seconds=7)

    assert tried == [0, 1, 3, 7]
    assert run.state is State.FAILED


@pytest.mark.timeout(180)  # ten thousand runs, started, woken and ended, on whatever machine this is
def test_ten_thousand_timers_due_in_one_jump_fire_once_each_in_order(
    engine: Engine, freezer: Any, location: str, as_many: Callable[[int, int], int]
) -> None:
    many = as_many(2_000, 300) if "://" in location else 10_000
    fired: list[datetime] = []
    due: dict[str, datetime] = {}

    def note(event: TimerFired) -> None:
        fired.append(due[event.execution_id])

    engine.on(TimerFired, note)
    engine.register(Workflow("nap", input=datetime).sleep_until("nap", lambda ctx: ctx.input))
    moments = [START + timedelta(hours=1, seconds=number * 7919 % 10_007) for number in range(many)]
    due.update({engine.start("nap", moment).id: moment for moment in moments})
    engine.settle()
    assert fired == []

    freezer.tick(timedelta(days=1))
    engine.settle(timeout=150)

    assert fired == sorted(moments)


def test_a_jump_back_fires_nothing_twice(frozen_engine: Engine, freezer: Any) -> None:
    woken: list[datetime] = []
    nap = Workflow("nap").sleep("one", 60).step("woke", lambda: woken.append(datetime.now(UTC))).sleep("two", 60)
    run = frozen_engine.register(nap).start(nap)
    frozen_engine.advance(seconds=60)

    freezer.move_to(START)
    frozen_engine.settle()
    frozen_engine.advance(seconds=90)

    assert woken == [START + timedelta(seconds=60)]
    states = [run.state]
    frozen_engine.advance(seconds=30)
    assert [*states, run.state] == [State.WAITING, State.COMPLETED]


def test_a_handler_that_hangs_is_given_up_at_its_time_limit(frozen_engine: Engine) -> None:
    go = threading.Event()
    slow = Workflow("slow").step("hang", lambda: go.wait(PATIENCE), retry=1, timeout=15)
    recorder = record(frozen_engine)
    run = frozen_engine.register(slow).start(slow)

    frozen_engine.advance(seconds=15)

    assert run.state is State.FAILED
    assert_events(run, ..., "step:timeout hang", "step:failed hang", "workflow:failed")
    go.set()
    frozen_engine.settle()
    assert recorder.lines(run)[-1] in ("workflow:failed", "step:late hang")


def test_a_machine_that_stands_still_is_not_taken_for_a_handler_that_hangs(
    frozen_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()
    monotonic, looks = clock.monotonic, itertools.count()

    def standing_still() -> float:
        """Tell the time; during the first look at what is in flight, ten seconds pass in which nothing runs."""
        if threading.current_thread() is threading.main_thread() and next(looks) == 2:
            go.set()
        return monotonic() + 10 * go.is_set()

    def work() -> bool:
        begun.set()
        return go.wait(PATIENCE)

    run = frozen_engine.register(Workflow("w").step("work", work, timeout=15)).start("w")
    assert begun.wait(PATIENCE)
    monkeypatch.setattr(clock, "monotonic", standing_still)
    frozen_engine.advance(seconds=15, patience=5)

    assert (run.state, run.wait(0).steps["work"].attempts) == (State.COMPLETED, 1)


def test_a_handler_without_a_limit_that_blocks_is_told_of(engine: Engine) -> None:
    go = threading.Event()
    slow = Workflow("slow").step("hang", lambda: go.wait(PATIENCE))
    engine.register(slow).start(slow)

    with pytest.raises(WaitTimeout, match="still in flight"):
        engine.settle(timeout=0.01)
    go.set()
    engine.settle()


def test_time_is_moved_from_outside_only(frozen_engine: Engine) -> None:
    def handler(ctx: Context[Any]) -> str:
        with pytest.raises(WouldDeadlock):
            frozen_engine.advance(days=1)
        with pytest.raises(WouldDeadlock):
            frozen_engine.settle()
        return "refused"

    flow = Workflow("flow").step("step", handler)

    assert frozen_engine.register(flow).start(flow).result(timeout=PATIENCE) == "refused"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"days": -1}, "forward"),
        ({"fortnights": 1}, "timedelta"),
        ({"delta": timedelta(1), "days": 1}, "not both"),
    ],
)
def test_a_wrong_advance_says_what_is_wrong(frozen_engine: Engine, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        frozen_engine.advance(**arguments)


def test_real_time_cannot_be_moved(engine: Engine) -> None:
    with pytest.raises(UsageError, match="freeze"):
        engine.advance(days=1)


def test_time_in_a_zone_moves_as_far(engine: Engine) -> None:
    nap = Workflow("nap").sleep("nap", 3600).step("end", lambda: "up")
    engine.register(nap)
    with freeze_time("2026-01-01", tz_offset=-5):
        run = engine.start(nap)
        engine.advance(minutes=59)
        states = [run.state]
        engine.advance(minutes=1)
        assert [*states, run.state] == [State.WAITING, State.COMPLETED]
        engine.close()


def test_the_next_deadline_is_found_among_thousands_that_are_in_the_rows_only(engine: Engine, freezer: Any) -> None:
    engine.register(Workflow("nap", input=int).sleep_until("nap", lambda ctx: START + timedelta(seconds=ctx.input)))
    for second in range(1, 1203):
        engine.start("nap", second)
    engine.settle()

    engine = restart(engine)
    engine.advance(seconds=1201)

    assert engine.next_deadline() == START + timedelta(seconds=1202)
    engine.advance(seconds=1)
    assert engine.next_deadline() is None


def test_freeze_leaves_real_time_behind() -> None:
    with freeze("2030-01-01") as freezer:
        freezer.tick(1)
        assert dt.datetime.now(UTC) == datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)

    assert type(dt.datetime.now(UTC)) is not type(freezer()) or dt.datetime.now(UTC).year != 2030
    assert dt.datetime.__module__ == "datetime"


def test_waiting_in_frozen_time_for_a_run_that_nothing_can_wake_says_what_it_waits_for(frozen_engine: Engine) -> None:
    run = frozen_engine.register(Workflow("approval").wait_for("decided").map("end", lambda ctx: "filed")).start(
        "approval"
    )

    with pytest.raises(
        WouldDeadlock, match=r"waiting for decided, and time is frozen: .*engine\.signal.*engine\.advance"
    ):
        run.result()

    run.signal("decided")
    assert run.result() == "filed"


def test_waiting_in_frozen_time_for_a_sleep_says_how_long_it_lasts(frozen_engine: Engine) -> None:
    run = frozen_engine.register(Workflow("nap").sleep("nap", 60)).start("nap")

    with pytest.raises(WouldDeadlock, match=r"waiting for nap until 2026-01-01T00:01:00\+00:00 at most"):
        run.wait(until=["completed"])


def test_waiting_on_a_file_that_others_may_reach_is_given_up_too(tmp_path: Path, freezer: Any) -> None:
    with Engine(tmp_path / "runs.db", Workflow("approval").wait_for("decided")) as engine:
        run = engine.start("approval")

        with pytest.raises(WouldDeadlock, match="waiting for decided"):
            run.result()


def test_waiting_in_frozen_time_goes_on_while_another_thread_may_wake_the_run(frozen_engine: Engine) -> None:
    run = frozen_engine.register(Workflow("nap").sleep("nap", 60).map("end", lambda ctx: "up")).start("nap")
    frozen_engine.settle()
    looked = threading.Event()
    results: list[Any] = []

    def wait() -> None:
        try:
            results.append(run.result())
        except WouldDeadlock as error:
            results.append(error)
        looked.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not looked.wait(1)  # several times as long as it takes where nobody else is there

    frozen_engine.advance(minutes=1)

    waiter.join(PATIENCE)
    assert results == ["up"]


def test_waiting_in_frozen_time_goes_on_while_another_engine_is_at_work(frozen_engine: Engine) -> None:
    def decide() -> None:
        threading.Event().wait(0.6)  # real work, longer than the other engine has been at rest for
        run.signal("decided")

    run = frozen_engine.register(Workflow("approval").wait_for("decided").map("end", lambda ctx: "filed")).start(
        "approval"
    )
    with Engine(None, Workflow("clerk").step("decide", decide)) as other:
        other.start("clerk")

        assert run.result() == "filed"
