"""Steps: what handlers are and see, results and errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from perdure import Context, Engine, NonRetryable, RetryAfter, Workflow
from tests.patience import PATIENCE

from .flaky import failed

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

    steps = run.wait(PATIENCE).steps

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

    assert run.result(PATIENCE) == [{"list": ["clean"]}, ["clean"]]
    assert given == {"list": ["clean"]}
    assert run.wait(PATIENCE).input == {"list": ["clean"]}


def test_none_is_a_result(lab: Engine) -> None:
    workflow = Workflow("w").step("nothing", lambda: None).step("look", lambda ctx: "nothing" in ctx.steps)

    run = lab.register(workflow).start("w")

    assert run.result(PATIENCE) is True
    assert run.wait(PATIENCE).steps["nothing"].status == "completed"


@dataclass
class Price:
    amount: int


def test_a_result_is_seen_as_it_was_stored(lab: Engine) -> None:
    def price() -> Price:
        return Price(7)

    workflow = Workflow("w").step("price", price).step("look", lambda ctx: type(ctx.steps["price"]).__name__)

    assert lab.register(workflow).start("w").result(PATIENCE) == "Price"


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


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda ctx: ctx["charge"], "ctx.steps['charge']"),
        (lambda ctx: ctx.get("charge"), "ctx.signals['charge']"),
        (lambda ctx: ctx[failed], "the function 'failed' is no step by itself: decorate it with @step"),
        (lambda ctx: ctx[None], "None is no step and no signal"),
        (lambda ctx: ctx.results(5), "5 is no step"),
        (lambda ctx: ctx.received(5), "5 is no step"),
        (lambda ctx: ctx.steps[5], "there is no 5 here; known: 'charge'"),
    ],
)
def test_a_context_that_is_asked_for_what_it_cannot_have_says_how_to_ask(
    ask: Callable[[Any], Any], says: str, lab: Engine
) -> None:
    failure = failed(lab, Workflow("w").step("charge", lambda: 1).step("ship", ask, retry=1))

    assert failure.error is not None
    assert says in failure.error.message


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


class Shapeless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise LookupError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=Shapeless):
    pass


class Soon(RetryAfter):
    def __init__(self) -> None:
        self.seconds = cast("Any", "soon")


class Final(NonRetryable):
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


@pytest.mark.parametrize(("error", "why"), [(Nameless(), "no name"), (Soon(), "soon")])
@pytest.mark.parametrize("colour", ["def", "async def"])
def test_an_exception_whose_class_is_broken_is_a_failed_attempt(
    error: BaseException, why: str, colour: str, lab: Engine
) -> None:
    def raises() -> None:
        raise error

    async def raises_too() -> None:
        raise error

    failure = failed(lab, Workflow("w").step("raises", raises if colour == "def" else raises_too))

    assert failure.error is not None
    assert why in failure.error.message
    assert failure.error.step == "raises"


def test_an_error_of_your_own_that_derives_from_ours_is_named_as_yours(lab: Engine) -> None:
    def raises() -> None:
        raise Final("enough")

    failure = failed(lab, Workflow("w").step("raises", raises))

    assert failure.error is not None
    assert failure.error.type == f"{__name__}.Final"


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
