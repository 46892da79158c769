"""A wrong word in a definition is refused where it is said, and the refusal says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest

from perdure import (
    Compensation,
    DefinitionError,
    Retry,
    RetryAfter,
    Signal,
    UsageError,
    Workflow,
    step,
)

from .wrongs import PAST_A_YEAR, act, check, flow, wrong


def generator(ctx: object) -> Iterator[int]:
    yield 1


async def async_generator(ctx: object) -> Any:
    yield 1


async def pay(ctx: object) -> int:
    return 1


def itself() -> Any:
    workflow = flow().step("a", act)
    return workflow.do_until(act, workflow)


def frozen() -> Any:
    workflow = flow().step("a", act)
    workflow.definition()
    return workflow


NAMES = {
    "an empty name": ("", "not empty"),
    "a blank name": ("  ", "not empty"),
    "a number": (5, "not empty"),
    "None": (None, "not empty"),
    "a name of 300 characters": ("x" * 300, "300 characters; at most 200"),
    "a name with a line feed": ("a\nb", "cannot be printed"),
    "a name with a NUL": ("a\0b", "cannot be printed"),
    "a name that begins with __": ("__item", "reserved: names may not begin with '__'"),
    "a name that begins with sub:": ("sub:pay", "reserved"),
    "a name that ends like a turn": ("poll@2", "reserved: names may not end like a loop's turn"),
}

NAMED: dict[str, Callable[[Any], Any]] = {
    "workflow": Workflow,
    "version": lambda name: Workflow("w", version=name),
    "step": lambda name: flow().step(name, act),
    "map": lambda name: flow().map(name, act),
    "signal": lambda name: flow().wait_for(name),
    "for_each": lambda name: flow().for_each(list, name, act),
    "sleep": lambda name: flow().sleep(name, 1),
    "sleep_until": lambda name: flow().sleep_until(name, datetime(2030, 1, 1, tzinfo=UTC)),
    "sub-workflow": lambda name: flow().sub_workflow(name),
    "as_": lambda name: flow().sub_workflow("child", as_=name),
    "path": lambda name: flow().branch(act).path(name, step("x")(act)),
    "branch": lambda name: flow().branch(act, name=name),
    "do_until": lambda name: flow().do_until(act, lambda body: body.step("a", act), name=name),
    "do_while": lambda name: flow().do_while(act, lambda body: body.step("a", act), name=name),
}

HANDLERS: dict[str, tuple[Any, str]] = {
    "a number": (5, "expected a function, got 5"),
    "a function of two arguments": (lambda a, b: 1, "must take the context or nothing"),
    "a generator": (generator, "is a generator function"),
    "an async generator": (async_generator, "is a generator function"),
    "a part of a generator": (partial(generator, 1), "'generator' is a generator function"),
    "a part of a function": (partial(lambda a, b, c: 1, 1), "must take the context or nothing"),
}

HANDLED: dict[str, Callable[[Any], Any]] = {
    "step 'a'": lambda handler: flow().step("a", handler),
    "step 'a': compensate": lambda handler: flow().step("a", act, compensate=handler),
    "map 'a'": lambda handler: flow().map("a", handler),
    "branch": lambda handler: flow().branch(handler),
    "for_each 'a': items": lambda handler: flow().for_each(handler, "a", act),
    "sleep_until 'a'": lambda handler: flow().sleep_until("a", handler),
    "sub_workflow 'a': mapper": lambda handler: flow().sub_workflow("a", handler),
}

BUILDING = {
    "step without a handler": wrong(lambda _: flow().step("a"), DefinitionError, "'a'", "expected a function"),
    "a for_each without a name": wrong(
        lambda _: flow().for_each(list, act, act),
        DefinitionError,
        "for_each",
        "the function 'act': the name comes first",
    ),
    "a step that was called": wrong(
        lambda _: flow().step("a", None), DefinitionError, "'a'", "was it called? Give the function itself"
    ),
    "a function without a name": wrong(
        lambda _: flow().step(act), DefinitionError, "'w'", "a step needs a name: .step('act', act)", "@step"
    ),
    "a lambda without a name": wrong(
        lambda _: flow().step(lambda: 1), DefinitionError, "a step needs a name: .step('name', <lambda>)"
    ),
    "a handler that asks the builder for its input": wrong(
        lambda _: flow().parallel(lambda ctx: ctx.input), DefinitionError, "parallel", "'input'", "w.step("
    ),
    "a block that takes two builders": wrong(
        lambda _: flow().parallel(partial(lambda a, b, c: None, 1)), DefinitionError, "does not take one argument"
    ),
    "a part of a handler as a block": wrong(
        lambda _: flow().parallel(partial(lambda a, b: 1, 1)), DefinitionError, "is a handler, not a block", "w.step("
    ),
    "a step object with options": wrong(
        lambda _: flow().step(step("a")(act), retry=3), DefinitionError, "'a'", "@step"
    ),
    "retry=0": wrong(lambda _: flow().step("a", act, retry=0), DefinitionError, "'a'", "retry", "at least 1", "0"),
    "retry=True": wrong(lambda _: flow().step("a", act, retry=True), DefinitionError, "'a'", "retry", "True"),
    "retry='3'": wrong(lambda _: flow().step("a", act, retry="3"), DefinitionError, "'a'", "retry", "'3'"),
    "timeout=-1": wrong(lambda _: flow().step("a", act, timeout=-1), DefinitionError, "'a'", "timeout", "-1"),
    "timeout in milliseconds": wrong(
        lambda _: flow().step("a", act, timeout=PAST_A_YEAR), DefinitionError, "'a'", "timeout", "milliseconds"
    ),
    "timeout='5'": wrong(lambda _: flow().step("a", act, timeout="5"), DefinitionError, "'a'", "timeout", "'5'"),
    "on_interrupted='park'": wrong(
        lambda _: flow().step("a", act, on_interrupted="halt"), DefinitionError, "'a'", "on_interrupted", "'repeat'"
    ),
    "an input_schema that is none": wrong(
        lambda _: flow().step("a", act, input_schema=5), DefinitionError, "'a'", "input_schema", "5", "parse"
    ),
    "an output_schema that is none": wrong(
        lambda _: flow().step("a", act, output_schema=5), DefinitionError, "'a'", "output_schema", "5"
    ),
    "compensate_on_failure without compensate": wrong(
        lambda _: flow().step("a", act, compensate_on_failure=True), DefinitionError, "'a'", "compensate"
    ),
    "@step(compensate_on_failure=True) without an undo": wrong(
        lambda _: flow().step(step(compensate_on_failure=True)(act)), DefinitionError, "'act'", "compensate"
    ),
    "a compensation of two arguments": wrong(
        lambda _: flow().step("a", act, compensate=Compensation(lambda a, b: 1)), DefinitionError, "'a'", "compensate"
    ),
    "@step on a number": wrong(lambda _: step()(cast("Any", 5)), DefinitionError, "function", "5"),
    "@step(retry=0)": wrong(lambda _: step(retry=0)(act), DefinitionError, "'act'", "retry"),
    "@step('')": wrong(lambda _: step("")(act), DefinitionError, "step", "not empty"),
    "compensate twice": wrong(
        lambda _: step("a", compensate=act)(act).compensate(act), DefinitionError, "'a'", "already"
    ),
    "compensate with a number": wrong(
        lambda _: step("a")(act).compensate(cast("Any", 5)), DefinitionError, "'a'", "compensate", "5"
    ),
    "path without a branch": wrong(
        lambda _: flow().path("a", step("x")(act)), DefinitionError, "'w'", "path 'a'", ".branch"
    ),
    "otherwise without a branch": wrong(
        lambda _: flow().otherwise(step("x")(act)), DefinitionError, "otherwise", ".branch"
    ),
    "a path twice": wrong(
        lambda _: flow().branch(act).path("a", step("x")(act)).path("a", step("y")(act)),
        DefinitionError,
        "'a'",
        "already",
    ),
    "otherwise twice": wrong(
        lambda _: flow().branch(act).otherwise(step("x")(act)).otherwise(step("y")(act)), DefinitionError, "already"
    ),
    "a branch without paths": wrong(
        lambda _: flow().branch(act).step("a", act), DefinitionError, "branch without paths", ".path(label, block)"
    ),
    "a branch without paths at the end": wrong(
        lambda _: flow().step("a", act).branch(act).definition(), DefinitionError, "branch without paths"
    ),
    "an empty parallel": wrong(lambda _: flow().parallel(), DefinitionError, "parallel", "at least one"),
    "an empty parallel block": wrong(lambda _: flow().parallel(lambda w: w), DefinitionError, "parallel", "empty"),
    "a block that is a number": wrong(
        lambda _: flow().parallel(5, 6), DefinitionError, "parallel", "expected a builder function", "5"
    ),
    "a handler in place of a block": wrong(
        lambda _: flow().branch(act).path("a", lambda ctx: 5), DefinitionError, "path 'a'", "is a handler", "w.step("
    ),
    "an async handler in place of a block": wrong(
        lambda _: flow().parallel(pay), DefinitionError, "parallel", "'pay' is a handler", "w.step("
    ),
    "a block that takes nothing": wrong(
        lambda _: flow().branch(act).otherwise(act), DefinitionError, "otherwise", "'act'", "one argument", "w.step("
    ),
    "an empty loop": wrong(lambda _: flow().do_until(act, lambda w: w), DefinitionError, "do_until", "empty"),
    "a loop inside itself": wrong(lambda _: itself(), DefinitionError, "itself"),
    "max_iterations=0": wrong(
        lambda _: flow().do_while(act, step("a")(act), max_iterations=0), DefinitionError, "max_iterations", "at least"
    ),
    "max_iterations='9'": wrong(
        lambda _: flow().for_each(list, "a", act, max_iterations="9"), DefinitionError, "max_iterations", "'9'"
    ),
    "a condition of three arguments": wrong(
        lambda _: flow().do_until(lambda a, b, c: True, step("a")(act)), DefinitionError, "do_until", "condition"
    ),
    "concurrency=0 of a for_each": wrong(
        lambda _: flow().for_each(list, "a", act, concurrency=0), DefinitionError, "'a'", "concurrency", "at least 1"
    ),
    "a for_each with neither handler nor block": wrong(
        lambda _: flow().for_each(list, "a"), DefinitionError, "'a'", "expected a function"
    ),
    "a for_each with both": wrong(
        lambda _: flow().for_each(list, "a", act, block=step("b")(act)), DefinitionError, "'a'", "not both"
    ),
    "wait_for(timeout=-1)": wrong(lambda _: flow().wait_for("a", timeout=-1), DefinitionError, "'a'", "timeout"),
    "wait_for(timeout in milliseconds)": wrong(
        lambda _: flow().wait_for("a", timeout=PAST_A_YEAR), DefinitionError, "'a'", "milliseconds"
    ),
    "on_timeout names a path of no branch": wrong(
        lambda _: flow().wait_for("a", timeout=1, on_timeout="late").step("b", act).definition(),
        DefinitionError,
        "wait_for 'a'",
        "'late'",
        "the branch right after the gate",
    ),
    "on_timeout misspells a path": wrong(
        lambda _: (
            flow().wait_for("a", timeout=1, on_timeout="lat").branch(act).path("late", step("b")(act)).definition()
        ),
        DefinitionError,
        "'lat'",
        "did you mean 'late'",
    ),
    "on_timeout names a path of another strand": wrong(
        lambda _: flow().parallel(
            lambda w: w.wait_for("a", timeout=1, on_timeout="late").branch(act).path("late", step("b")(act))
        ),
        DefinitionError,
        "'late'",
        "the branch right after the gate",
    ),
    "on_timeout without a timeout": wrong(
        lambda _: flow().wait_for("a", on_timeout=step("b")(act)), DefinitionError, "'a'", "on_timeout", "timeout"
    ),
    "a sleep of -1 s": wrong(lambda _: flow().sleep("a", -1), DefinitionError, "'a'", "-1"),
    "a sleep of milliseconds": wrong(
        lambda _: flow().sleep("a", PAST_A_YEAR), DefinitionError, "'a'", "milliseconds", "timedelta"
    ),
    "a sleep for ever": wrong(lambda _: flow().sleep("a", float("inf")), DefinitionError, "'a'", "inf"),
    "sleep_until without a time zone": wrong(
        lambda _: flow().sleep_until("a", datetime(2030, 1, 1)),  # noqa: DTZ001
        DefinitionError,
        "'a'",
        "time zone",
    ),
    "a change after registration": wrong(
        lambda _: frozen().step("b", act), DefinitionError, "'w'", "registered", "'b'"
    ),
    "the same name twice": wrong(
        lambda _: flow().step("a", act).step("a", act).definition(), DefinitionError, "'a' stands twice", "another"
    ),
    "Signal('')": wrong(lambda _: Signal(""), DefinitionError, "signal", "name", "''"),
    "Signal(5)": wrong(lambda _: Signal(cast("Any", 5)), DefinitionError, "signal", "5"),
    "Signal('__x')": wrong(lambda _: Signal("__x"), DefinitionError, "signal", "reserved"),
    "Retry(attempts=0)": wrong(lambda _: Retry(attempts=0), DefinitionError, "attempts", "at least 1", "0"),
    "Retry(attempts=1.5)": wrong(lambda _: Retry(attempts=cast("Any", 1.5)), DefinitionError, "attempts", "1.5"),
    "Retry(initial=-1)": wrong(lambda _: Retry(initial=-1), DefinitionError, "initial", "-1"),
    "Retry(initial='1')": wrong(lambda _: Retry(initial=cast("Any", "1")), DefinitionError, "initial", "'1'"),
    "Retry(maximum=-1)": wrong(lambda _: Retry(maximum=-1), DefinitionError, "maximum", "-1"),
    "Retry(factor=-1)": wrong(lambda _: Retry(factor=-1), DefinitionError, "factor", "-1"),
    "Retry(jitter='x')": wrong(lambda _: Retry(jitter=cast("Any", "x")), DefinitionError, "jitter", "'x'"),
    "Retry(jitter=nan)": wrong(lambda _: Retry(jitter=float("nan")), DefinitionError, "jitter", "nan"),
    "Retry(on=5)": wrong(lambda _: Retry(on=cast("Any", 5)), DefinitionError, "on", "exception class", "5"),
    "Retry(never_on=int)": wrong(lambda _: Retry(never_on=cast("Any", int)), DefinitionError, "never_on", "int"),
    "Compensation(5)": wrong(lambda _: Compensation(cast("Any", 5)), DefinitionError, "compensation", "function", "5"),
    "Compensation(retry=0)": wrong(lambda _: Compensation(act, retry=0), DefinitionError, "retry", "0"),
    "Compensation(timeout=-1)": wrong(lambda _: Compensation(act, timeout=-1), DefinitionError, "timeout", "-1"),
    "RetryAfter(-1)": wrong(lambda _: RetryAfter(-1), UsageError, "retry after", "-1"),
    "RetryAfter('x')": wrong(lambda _: RetryAfter(cast("Any", "x")), UsageError, "retry after", "'x'"),
    "RetryAfter(in milliseconds)": wrong(lambda _: RetryAfter(PAST_A_YEAR), UsageError, "milliseconds"),
}


@pytest.mark.parametrize("what", BUILDING)
def test_a_wrong_use_gets_an_error_that_says_what_where_and_how_to_mend_it(what: str) -> None:
    check(BUILDING[what])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_cannot_be_used_is_refused_where_it_is_given(kind: str, name: str) -> None:
    given, says = NAMES[name]
    if given is None and kind in ("version", "as_", "branch", "do_until", "do_while"):
        return  # left out

    with pytest.raises(DefinitionError, match=re.escape(says)) as error:
        NAMED[kind](given)

    assert kind in str(error.value)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("place", HANDLED)
def test_a_handler_that_cannot_be_called_is_refused_where_it_is_given(place: str, handler: str) -> None:
    given, says = HANDLERS[handler]

    with pytest.raises(DefinitionError, match=re.escape(says)) as error:
        HANDLED[place](given)

    assert place in str(error.value)


def test_a_timeout_may_be_given_as_a_timedelta_wherever_it_is_a_duration() -> None:
    long = timedelta(days=400)

    flow().sleep("a", long).wait_for("go", timeout=long).step("b", act, timeout=long).definition()
    Retry(initial=long, maximum=long)
    RetryAfter(long)


IN_MILLISECONDS: dict[str, Callable[[], Any]] = {
    "Workflow(timeout=)": lambda: Workflow("w", timeout=PAST_A_YEAR),
    "Retry(initial=)": lambda: Retry(initial=PAST_A_YEAR),
    "Retry(maximum=)": lambda: Retry(maximum=PAST_A_YEAR),
    "Compensation(timeout=)": lambda: Compensation(act, timeout=PAST_A_YEAR),
    "wait_any(timeout=)": lambda: flow().wait_any("a", "b", timeout=PAST_A_YEAR),
    "remind_every=": lambda: flow().wait_for("a", remind_every=PAST_A_YEAR),
    "for_each(timeout=)": lambda: flow().for_each(list, "a", act, timeout=PAST_A_YEAR),
    "@step(timeout=)": lambda: step(timeout=PAST_A_YEAR)(act),
}


@pytest.mark.parametrize("where", IN_MILLISECONDS)
def test_a_number_beyond_a_year_is_asked_whether_milliseconds_were_meant(where: str) -> None:
    with pytest.raises(DefinitionError, match="more than a year; were milliseconds meant"):
        IN_MILLISECONDS[where]()
