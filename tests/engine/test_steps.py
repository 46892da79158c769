"""Steps: attempts and delays, time limits, schemas, results and errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import jsonschema  # type: ignore[import-untyped]
import marshmallow
import msgspec
import pydantic
import pytest

from perdure import Context, Engine, NonRetryable, Retry, RetryAfter, State, Workflow, WorkflowFailed
from perdure.testing import assert_events, record, restart
from perdure.testing.freezing import START


def failed(engine: Engine, workflow: Workflow[Any, Any], input: Any = None) -> WorkflowFailed:
    """Run a workflow that must fail."""
    run = engine.register(workflow).start(workflow.name, input)
    with pytest.raises(WorkflowFailed) as failure:
        run.result(timeout=10)
    return failure.value


def after(*delays: float) -> list[datetime]:
    """Return points in time, each so many seconds after the one before."""
    moments = [START]
    for delay in delays:
        moments.append(moments[-1] + timedelta(seconds=delay))
    return moments


class Flaky:
    """A handler that fails with each of the errors, then returns; knows when it was called, and for which attempt."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls: list[datetime] = []
        self.attempts: list[int] = []
        self.keys: set[str] = set()

    def __call__(self, ctx: Context[Any]) -> str:
        self.calls.append(datetime.now(UTC))
        self.attempts.append(ctx.attempt)
        self.keys.add(ctx.idempotency_key)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


NO_JITTER = Retry(attempts=4, initial=1, jitter=0)


# ---- attempts


def test_a_failed_attempt_is_repeated_after_a_delay_that_doubles(lab: Engine) -> None:
    flaky = Flaky(OSError(), OSError(), OSError())
    run = lab.register(Workflow("w").step("flaky", flaky, retry=NO_JITTER)).start("w")

    lab.advance(minutes=1)

    assert run.result(1) == "done"
    assert flaky.calls == after(1, 2, 4)
    assert flaky.attempts == [1, 2, 3, 4]
    assert len(flaky.keys) == 1, "the idempotency key is the same for every attempt"


def test_left_out_retry_means_three_attempts_half_a_second_apart_and_more(lab: Engine) -> None:
    flaky = Flaky(*[OSError("down")] * 9)
    run = lab.register(Workflow("w").step("flaky", flaky)).start("w")

    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="in step 'flaky': OSError: down"):
        run.result(1)
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

    assert run.result(1) == "done"
    assert flaky.calls == after(1, 5, 5, 5)


def test_retry_after_chooses_the_next_delay(lab: Engine) -> None:
    flaky = Flaky(RetryAfter(100), RetryAfter(timedelta(minutes=5)), RetryAfter(0))
    run = lab.register(Workflow("w").step("flaky", flaky, retry=4)).start("w")

    lab.advance(hours=1)

    assert run.result(1) == "done"
    assert flaky.calls == after(100, 300, 0)


def test_retry_after_uses_up_attempts_like_any_failure(lab: Engine) -> None:
    flaky = Flaky(*[RetryAfter(1, "too many requests")] * 5)
    run = lab.register(Workflow("w").step("flaky", flaky, retry=2)).start("w")

    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="RetryAfter: too many requests"):
        run.result(1)
    assert flaky.attempts == [1, 2]


def test_a_retry_after_that_makes_no_sense_is_a_failed_attempt_like_any_other(lab: Engine) -> None:
    def raises(ctx: Context[Any]) -> None:
        raise RetryAfter(float("nan"))

    run = lab.register(Workflow("w").step("raises", raises, retry=2)).start("w")
    lab.advance(minutes=1)

    with pytest.raises(WorkflowFailed, match="UsageError: retry after nan"):
        run.result(1)


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
        go_on.wait(10)
        return "done"

    lab.register(Workflow("w").step("slow", slow, retry=1)).start("w", id="run")
    assert begun.acquire(timeout=10)

    fresh = restart(lab)
    assert begun.acquire(timeout=10)
    go_on.set()

    assert fresh.run("run").result(10) == "done"
    step = fresh.run("run").wait(1).steps["slow"]
    assert (step.attempts, step.interruptions) == (2, 1)
    assert attempts == [1, 2]


def test_an_attempt_that_was_cut_short_fails_the_step_if_it_must_not_be_repeated(lab: Engine) -> None:
    begun, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def charge(ctx: Context[Any]) -> None:
        calls.append(ctx.attempt)
        begun.set()
        go_on.wait(10)

    lab.register(Workflow("w").step("charge", charge, on_interrupted="fail")).start("w", id="run")
    assert begun.wait(10)

    fresh = restart(lab)
    go_on.set()

    with pytest.raises(WorkflowFailed, match=r"'charge' was interrupted in attempt 1 and must not be repeated"):
        fresh.run("run").result(10)
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

    assert restart(lab).run("run").result(10) == "done"


# ---- time limits


def test_a_handler_that_takes_too_long_has_failed_its_attempt(lab: Engine, frozen: Any) -> None:
    recorder = record(lab)
    begun, release, came_late = threading.Event(), threading.Event(), threading.Event()
    lab.on("step:late", lambda event: came_late.set())

    def slow(ctx: Context[Any]) -> str:
        if ctx.attempt == 1:
            begun.set()
            release.wait(10)
            return "late"
        return "in time"

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert begun.wait(10)

    frozen.tick(5)

    assert run.result(10) == "in time"
    release.set()
    assert came_late.wait(10)
    assert_events(
        run,
        *("workflow:started", "step:started slow", "step:timeout slow", "step:retry slow", "step:started slow"),
        *("step:completed slow", "workflow:completed", "step:late slow"),
    )
    assert [event.sequence for event in recorder.events(run)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run.wait(1).steps["slow"].result == "in time"


def test_a_time_limit_cancels_a_coroutine(lab: Engine, frozen: Any) -> None:
    begun = threading.Event()
    cancelled: list[int] = []

    async def slow(ctx: Context[Any]) -> str:
        if ctx.attempt == 2:
            return "in time"
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(ctx.attempt)
            raise
        raise AssertionError

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert begun.wait(10)

    frozen.tick(5)

    assert run.result(10) == "in time"
    assert cancelled == [1]


def test_a_cancelled_coroutine_that_tidies_up_for_long_does_not_harm_the_next_attempt(lab: Engine, frozen: Any) -> None:
    first, second, tidied = threading.Event(), threading.Event(), threading.Event()

    async def slow(ctx: Context[Any]) -> str:
        loop = asyncio.get_running_loop()
        if ctx.attempt == 1:
            try:
                first.set()
                await asyncio.Event().wait()
            finally:
                await loop.run_in_executor(None, second.wait, 10)
                loop.call_later(0, tidied.set)
        second.set()
        await loop.run_in_executor(None, tidied.wait, 10)
        return "second"

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=Retry(initial=0))).start("w")
    assert first.wait(10)

    frozen.tick(5)

    assert run.result(10) == "second"


def test_the_error_of_the_last_attempt_that_took_too_long_says_so(lab: Engine, frozen: Any) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        release.wait(10)

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=1)).start("w")
    assert begun.wait(10)
    frozen.tick(5)

    with pytest.raises(WorkflowFailed, match=r"perdure.StepTimeout: .*'slow'.* 5 s"):
        run.result(10)
    release.set()


def test_a_time_limit_of_zero_or_none_is_no_limit(lab: Engine) -> None:
    workflow = Workflow("w").step("zero", lambda: 0, timeout=0).step("none", lambda: 1, timeout=None)

    assert lab.register(workflow).start("w").result(10) == 1
    assert lab.next_deadline() is None


def test_a_late_result_of_one_turn_is_not_taken_for_that_of_the_next(lab: Engine, frozen: Any) -> None:
    first, late, second, finish, came_late = (threading.Event() for _ in range(5))
    lab.on("step:late", lambda event: came_late.set())

    def slow(ctx: Context[Any]) -> str:
        if (ctx.turn, ctx.attempt) == (1, 1):
            first.set()
            late.wait(10)
            return "late, of turn 1"
        if (ctx.turn, ctx.attempt) == (2, 1):
            second.set()
            finish.wait(10)
        return f"turn {ctx.turn}"

    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 2, lambda body: body.step("slow", slow, timeout=5, retry=Retry(initial=0))
    )
    run = lab.register(workflow).start("w")
    assert first.wait(10)
    frozen.tick(5)
    assert second.wait(10)

    late.set()
    assert came_late.wait(10)
    finish.set()

    assert run.result(10) == "turn 2"


def test_a_context_says_when_its_answer_is_no_longer_wanted(lab: Engine, frozen: Any) -> None:
    seen: list[bool] = []
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def slow(ctx: Context[Any]) -> None:
        seen.append(ctx.cancelled)
        begun.set()
        release.wait(10)
        seen.append(ctx.cancelled)
        done.set()

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=1)).start("w")
    assert begun.wait(10)
    frozen.tick(5)
    assert run.wait(10).state is State.FAILED
    release.set()
    assert done.wait(10)

    assert seen == [False, True]


# ---- what handlers are and see


def test_a_handler_may_be_anything_that_can_be_called(lab: Engine) -> None:
    class Handlers:
        def __call__(self, ctx: Context[Any]) -> str:
            return "instance"

        def method(self, ctx: Context[Any]) -> str:
            return "method"

    async def coroutine() -> str:
        return "coroutine"

    def returns_coroutine(ctx: Context[Any]) -> Any:
        return coroutine()

    handlers: dict[str, Any] = {
        "instance": Handlers(),
        "method": Handlers().method,
        "nothing": lambda: "nothing",
        "coroutine": coroutine,
        "returns": returns_coroutine,
        "default": lambda ctx=None: "default",
    }
    workflow: Any = Workflow("w")
    for name, handler in handlers.items():
        workflow.step(name, handler)
    run = lab.register(workflow).start("w")

    steps = run.wait(10).steps

    assert {name: step.result for name, step in steps.items()} == {
        "instance": "instance",
        "method": "method",
        "nothing": "nothing",
        "coroutine": "coroutine",
        "returns": "coroutine",
        "default": "default",
    }


def test_what_a_handler_does_to_its_input_or_to_results_reaches_nobody_else(lab: Engine) -> None:
    def spoil(ctx: Context[Any]) -> dict[str, Any]:
        ctx.input["list"].append("spoilt")
        ctx.steps["first"].append("spoilt")
        return {"input": ctx.input, "first": ctx.steps["first"]}

    workflow = (
        Workflow("w")
        .step("first", lambda: ["clean"])
        .step("spoil", spoil)
        .step("look", lambda ctx: [ctx.input, ctx.steps["first"]])
    )
    given = {"list": ["clean"]}

    run = lab.register(workflow).start("w", given)

    assert run.result(10) == [{"list": ["clean"]}, ["clean"]]
    assert given == {"list": ["clean"]}
    assert run.wait(1).input == {"list": ["clean"]}


def test_none_is_a_result(lab: Engine) -> None:
    workflow = Workflow("w").step("nothing", lambda: None).step("look", lambda ctx: "nothing" in ctx.steps)

    run = lab.register(workflow).start("w")

    assert run.result(10) is True
    assert run.wait(1).steps["nothing"].status == "completed"


@dataclass
class Price:
    amount: int


def test_a_result_is_seen_as_it_was_stored(lab: Engine) -> None:
    def price() -> Price:
        return Price(7)

    workflow = Workflow("w").step("price", price).step("look", lambda ctx: type(ctx.steps["price"]).__name__)

    assert lab.register(workflow).start("w").result(10) == "Price"


@pytest.mark.parametrize(
    ("result", "path", "type_name"),
    [
        (lambda: {"lines": [1, {"lock": threading.Lock()}]}, "$.lines[1].lock", "lock"),
        (lambda: (one for one in "ab"), "$", "generator"),
        (lambda: {"file": object()}, "$.file", "object"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_the_step_and_says_where_in_it(
    result: Callable[[], Any], path: str, type_name: str, lab: Engine
) -> None:
    calls = []

    def handler() -> Any:
        calls.append(1)
        return result()

    failure = failed(lab, Workflow("w").step("make", handler, retry=5))

    assert failure.error is not None
    assert failure.error.type == "perdure.NotStorable"
    for part in ("'make'", path, type_name):
        assert part in failure.error.message
    assert len(calls) == 1, "trying again would not help"


def test_a_result_with_a_cycle_is_not_storable(lab: Engine) -> None:
    def cycle() -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return loop

    assert "NotStorable" in str(failed(lab, Workflow("w").step("make", cycle)))


# ---- errors


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Unpicklable(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"code {code}, {reason}")
        self.lock = threading.Lock()


class Base(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "type_name", "message"),
    [
        (ValueError("bad"), "ValueError", "bad"),
        (KeyError("missing"), "KeyError", "'missing'"),
        (Base("base"), "Base", "base"),
        (GeneratorExit(), "GeneratorExit", ""),
        (StopIteration(5), "StopIteration", "5"),
        (Unprintable(), "Unprintable", "<str() of the exception raised RuntimeError>"),
        (Unpicklable(3, reason="odd"), "Unpicklable", "code 3, odd"),
        (ExceptionGroup("several", [ValueError("one")]), "ExceptionGroup", "several (1 sub-exception)"),
        (RecursionError("deep"), "RecursionError", "deep"),
        (MemoryError(), "MemoryError", ""),
        (UnicodeDecodeError("utf8", b"\xff", 0, 1, "odd"), "UnicodeDecodeError", "'utf8' codec can't decode"),
        (ValueError("\ud800 lone surrogate"), "ValueError", "lone surrogate"),
        (ValueError("x" * 100_000), "ValueError", "xxx"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_whatever_a_handler_raises_is_a_failed_attempt_kept_as_text(
    error: BaseException, type_name: str, message: str, colour: str, lab: Engine
) -> None:
    def raises() -> None:
        raise error

    async def raises_too() -> None:
        raise error

    handler: Any = raises if colour == "def" else raises_too
    if colour == "async def" and isinstance(error, (StopIteration, GeneratorExit)):
        pytest.skip("Python itself does not let these out of a coroutine")

    failure = failed(lab, Workflow("w").step("raises", handler, retry=1))

    assert failure.error is not None
    assert failure.error.type.rpartition(".")[2] == type_name
    assert message in failure.error.message
    assert failure.error.step == "raises"
    assert "raise error" in failure.error.traceback or isinstance(error, Unprintable)


def test_a_coroutine_that_is_cancelled_by_its_own_doing_has_failed(lab: Engine) -> None:
    async def gives_up() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    failure = failed(lab, Workflow("w").step("gives up", gives_up, retry=1))

    assert failure.error is not None
    assert "CancelledError" in failure.error.type


def test_an_error_names_its_cause_and_the_line_that_raised_it(lab: Engine) -> None:
    def raises(ctx: Context[Any]) -> None:
        try:
            ctx.input["missing"]
        except KeyError as error:
            msg = "no price"
            raise ValueError(msg) from error

    failure = failed(lab, Workflow("w").step("raises", raises, retry=1), {})

    assert failure.error is not None
    assert "KeyError: 'missing'" in failure.error.traceback
    assert "raise ValueError(msg) from error" in failure.error.traceback


# ---- schemas


class Parser:
    @staticmethod
    def parse(value: Any) -> int:
        return int(value)


class Model(pydantic.BaseModel):
    number: int


class Struct(msgspec.Struct):
    number: int


@attrs.define
class Attrs:
    number: int


class Marshmallow(marshmallow.Schema):
    number = marshmallow.fields.Integer(required=True)


def positive(value: int) -> int | None:
    if value < 0:
        msg = f"{value} is negative"
        raise ValueError(msg)
    return None


NUMBER = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}

SCHEMAS: dict[str, tuple[Any, Any, Any, Any]] = {
    "an object with parse": (Parser(), "7", 7, "seven"),
    "a pydantic model": (Model, {"number": "7"}, Model(number=7), {"number": "x"}),
    "a pydantic adapter": (pydantic.TypeAdapter(list[int]), ["1"], [1], ["x"]),
    "a msgspec type": (Struct, {"number": 7}, Struct(7), {"number": "x"}),
    "a dataclass": (Price, {"amount": 7}, Price(7), {"amount": "x"}),
    "an attrs class": (Attrs, {"number": 7}, Attrs(7), {"number": "x"}),
    "a generic type": (dict[str, int], {"a": 1}, {"a": 1}, {"a": "x"}),
    "a plain type": (int, 7, 7, "x"),
    "a marshmallow schema": (Marshmallow(), {"number": "7"}, {"number": 7}, {"number": "x"}),
    "a jsonschema validator": (jsonschema.Draft202012Validator(NUMBER), {"number": 7}, {"number": 7}, {"number": "x"}),
    "a callable that only asserts": (positive, 7, 7, -7),
    "a callable that changes": (lambda value: value * 2, 7, 14, None),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_input_schema_decides_what_the_handler_sees(kind: str, lab: Engine) -> None:
    schema, given, seen, wrong = SCHEMAS[kind]
    inputs = []
    calls = []

    def look(ctx: Context[Any]) -> None:
        calls.append(1)
        inputs.append(ctx.input)

    workflow = Workflow("w").step("look", look, input_schema=schema, retry=5)

    lab.register(workflow).start("w", given).result(10)
    failure = failed(lab, workflow, wrong)

    assert inputs == [seen]
    assert failure.error is not None
    assert failure.error.type == "perdure.SchemaError"
    assert "the input of step 'look' does not fit its input_schema" in failure.error.message
    assert len(calls) == 1, "an input that does not fit never reaches the handler, and is not tried again"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_output_schema_decides_what_is_stored_and_a_misfit_is_a_failed_attempt(kind: str, lab: Engine) -> None:
    schema, given, seen, wrong = SCHEMAS[kind]
    answers = [wrong, given]

    def answer() -> Any:
        return answers.pop(0)

    workflow = (
        Workflow("w")
        .step("answer", answer, output_schema=schema, retry=NO_JITTER)
        .step("look", lambda ctx: repr(ctx.steps))
    )
    run = lab.register(workflow).start("w")
    lab.advance(seconds=5)

    execution = run.wait(10)
    assert execution.error is None
    assert execution.steps["answer"].attempts == 2
    assert execution.steps["answer"].result == seen
    assert execution.result == repr({"answer": seen})
