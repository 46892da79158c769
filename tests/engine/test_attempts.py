"""Attempts: how often, after which delay, and what a restart does to them."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from perdure import Context, Engine, NonRetryable, Retry, RetryAfter, State, Workflow, WorkflowFailed
from perdure.testing import restart
from tests.patience import PATIENCE

from .flaky import NO_JITTER, Flaky, after, failed


def test_a_failed_attempt_is_repeated_after_a_delay_that_doubles(lab: Engine) -> None:
    flaky = Flaky(OSError(), OSError(), OSError())
    run = lab.register(Workflow("w").step("flaky", flaky, retry=NO_JITTER)).start("w")

    lab.advance(minutes=1)

    assert run.result(PATIENCE) == "done"
    assert flaky.calls == after(1, 2, 4)
    assert flaky.attempts == [1, 2, 3, 4]
    assert len(flaky.keys) == 1, "the idempotency key is the same for every attempt"


def test_left_out_retry_means_three_attempts_half_a_second_apart_and_more(lab: Engine) -> None:
    flaky = Flaky(*[OSError("down")] * 9)
    run = lab.register(Workflow("w").step("flaky", flaky)).start("w")

    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="in step 'flaky': OSError: down"):
        run.result(PATIENCE)
    first, second = (later - earlier for earlier, later in zip(flaky.calls, flaky.calls[1:], strict=False))
    assert timedelta(seconds=0.5) <= first <= timedelta(seconds=0.75)
    assert timedelta(seconds=1) <= second <= timedelta(seconds=1.5)


def test_the_last_attempt_is_followed_by_no_delay(lab: Engine) -> None:
    flaky = Flaky(OSError())
    run = lab.register(Workflow("w").step("flaky", flaky, retry=1)).start("w")

    lab.settle()

    assert run.state is State.FAILED
    assert lab.next_deadline() is None


def test_a_delay_never_grows_beyond_its_maximum(lab: Engine) -> None:
    flaky = Flaky(*[OSError()] * 4)
    retry = Retry(attempts=5, initial=1, factor=10, maximum=timedelta(seconds=5), jitter=0)
    run = lab.register(Workflow("w").step("flaky", flaky, retry=retry)).start("w")

    lab.advance(minutes=1)

    assert run.result(PATIENCE) == "done"
    assert flaky.calls == after(1, 5, 5, 5)


def test_a_delay_of_nothing_stays_nothing_however_often_an_attempt_fails() -> None:
    retry = Retry(attempts=10_000, initial=0)

    assert {retry.delay(failures, 0.5) for failures in (1, 1000, 2000, 9999)} == {0}


def test_retry_after_chooses_the_next_delay(lab: Engine) -> None:
    flaky = Flaky(RetryAfter(100), RetryAfter(timedelta(minutes=5)), RetryAfter(0))
    run = lab.register(Workflow("w").step("flaky", flaky, retry=4)).start("w")

    lab.advance(hours=1)

    assert run.result(PATIENCE) == "done"
    assert flaky.calls == after(100, 300, 0)


def test_retry_after_uses_up_attempts_like_any_failure(lab: Engine) -> None:
    flaky = Flaky(*[RetryAfter(1, "too many requests")] * 5)
    run = lab.register(Workflow("w").step("flaky", flaky, retry=2)).start("w")

    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="RetryAfter: too many requests"):
        run.result(PATIENCE)
    assert flaky.attempts == [1, 2]


def test_a_retry_after_that_makes_no_sense_is_a_failed_attempt_like_any_other(lab: Engine) -> None:
    def raises(ctx: Context[Any]) -> None:
        raise RetryAfter(float("nan"))

    run = lab.register(Workflow("w").step("raises", raises, retry=2)).start("w")
    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="UsageError: retry after nan"):
        run.result(PATIENCE)


def test_non_retryable_fails_at_once(lab: Engine) -> None:
    flaky = Flaky(NonRetryable("no such card"))

    failure = failed(lab, Workflow("w").step("flaky", flaky, retry=9))

    assert (failure.step, str(failure.error)) == ("flaky", "perdure.NonRetryable: no such card")
    assert flaky.attempts == [1]


@pytest.mark.parametrize(
    ("retry", "errors", "attempts"),
    [
        (Retry(attempts=3, on=OSError), [OSError(), ConnectionError(), OSError()], 3),
        (Retry(attempts=3, on=OSError), [ValueError()], 1),
        (Retry(attempts=3, on=(OSError, ValueError)), [ValueError(), OSError(), OSError()], 3),
        (Retry(attempts=3, never_on=ValueError), [OSError(), ValueError()], 2),
        (Retry(attempts=3, on=OSError, never_on=FileNotFoundError), [FileNotFoundError()], 1),
    ],
)
def test_retry_says_which_errors_are_worth_another_attempt(
    retry: Retry, errors: list[Exception], attempts: int, lab: Engine
) -> None:
    flaky = Flaky(*errors)
    run = lab.register(Workflow("w").step("flaky", flaky, retry=retry)).start("w")

    lab.advance(minutes=5)

    assert run.state is State.FAILED
    assert len(flaky.attempts) == attempts


def test_the_attempts_and_the_time_of_the_next_one_survive_a_restart(lab: Engine, frozen: Any) -> None:
    flaky = Flaky(RetryAfter(100), OSError("down"), OSError("down"))
    lab.register(Workflow("w").step("flaky", flaky, retry=3)).start("w", id="run")
    lab.settle()
    frozen.tick(60)

    fresh = restart(lab)
    fresh.settle()
    assert flaky.calls == after()
    execution = fresh.get_execution("run")
    assert execution is not None
    assert (execution.state, execution.steps["flaky"].status) == (State.RUNNING, "retrying")
    fresh.advance(minutes=10)

    assert flaky.calls[:2] == after(100)
    assert flaky.attempts == [1, 2, 3]
    assert fresh.run("run").state is State.FAILED


def test_an_attempt_that_a_restart_cut_short_is_repeated_at_once_and_is_no_failure(lab: Engine) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    attempts: list[int] = []

    def slow(ctx: Context[Any]) -> str:
        attempts.append(ctx.attempt)
        begun.release()
        go_on.wait(PATIENCE)
        return "done"

    lab.register(Workflow("w").step("slow", slow, retry=1)).start("w", id="run")
    assert begun.acquire(timeout=PATIENCE)

    fresh = restart(lab)
    assert begun.acquire(timeout=PATIENCE)
    go_on.set()

    assert fresh.run("run").result(PATIENCE) == "done"
    step = fresh.run("run").wait(PATIENCE).steps["slow"]
    assert (step.attempts, step.interruptions) == (2, 1)
    assert attempts == [1, 2]


def test_an_attempt_that_was_cut_short_fails_the_step_if_it_must_not_be_repeated(lab: Engine) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def charge(ctx: Context[Any]) -> None:
        calls.append(ctx.attempt)
        begun.set()
        go_on.wait(PATIENCE)

    lab.register(Workflow("w").step("charge", charge, on_interrupted="fail")).start("w", id="run")
    assert begun.wait(PATIENCE)

    fresh = restart(lab)
    go_on.set()

    with pytest.raises(WorkflowFailed, match=r"'charge' was interrupted in attempt 1 and must not be repeated"):
        fresh.run("run").result(PATIENCE)
    assert calls == [1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_a_wish_to_end_the_process_is_no_failure_and_the_step_is_repeated_after_the_restart(
    error: BaseException, colour: str, lab: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    flaky = Flaky(error)

    async def awaited(ctx: Context[Any]) -> str:
        return flaky(ctx)

    handler: Any = flaky if colour == "def" else awaited
    lab.register(Workflow("w").step("flaky", handler, retry=1)).start("w", id="run")
    lab.settle()
    assert lab.run("run").state is State.RUNNING
    assert "left as interrupted" in caplog.text

    assert restart(lab).run("run").result(PATIENCE) == "done"


def test_the_idempotency_key_is_one_for_all_attempts_of_an_item_in_a_turn_and_another_for_every_other(
    lab: Engine,
) -> None:
    keys: list[str] = []

    def act(ctx: Context[Any]) -> None:
        keys.append(ctx.idempotency_key)
        if ctx.attempt == 1:
            raise ValueError

    workflow = Workflow("w").do_until(
        lambda _, turn: turn == 2, lambda w: w.for_each(lambda: ["a", "b"], "it", act, retry=2)
    )
    runs = [lab.register(workflow).start("w") for _ in range(2)]
    lab.advance(minutes=1)

    assert [run.state for run in runs] == ["completed"] * 2
    assert sorted(keys) == sorted(2 * list(dict.fromkeys(keys))), "two attempts with each"
    assert len(set(keys)) == 8, "two runs of two turns of two items"
