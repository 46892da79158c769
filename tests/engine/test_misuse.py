"""A wrong use of each public call gets its typed error at the earliest moment, saying how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    Compensation,
    DefinitionError,
    DuplicateExecution,
    Engine,
    EngineClosed,
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    InvalidPayload,
    Retry,
    Signal,
    UnknownSignal,
    UnknownWorkflow,
    UsageError,
    WaitTimeout,
    Workflow,
    step,
)

W: Any = Workflow
S: Any = step
R: Any = Retry


def one() -> int:
    return 1


def wants_two(first: object, second: object) -> None:
    """Take what no handler is given."""


def yields() -> Iterator[int]:
    yield 1


DEFINITIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "a workflow without a name": (lambda: W(""), "needs a name"),
    "a workflow whose name is no text": (lambda: W(7), "needs a name"),
    "a name that cannot be printed": (lambda: W("a\nb"), "cannot be printed"),
    "a name of 10 kB": (lambda: W("x" * 10_000), "at most 200"),
    "a reserved name": (lambda: W("w").step("__x", one), "reserved"),
    "a name like a child's": (lambda: W("w").step("sub:y", one), "reserved"),
    "a name like a turn's": (lambda: W("w").step("a@2", one), "reserved"),
    "a step without a handler": (lambda: W("w").step("a"), "expected a function"),
    "a handler that is no function": (lambda: W("w").step("a", 5), "expected a function"),
    "a handler that wants two arguments": (lambda: W("w").step("a", wants_two), "context or nothing"),
    "a handler that yields": (lambda: W("w").step("a", yields), "generator"),
    "retry of nothing": (lambda: W("w").step("a", one, retry=0), "at least 1"),
    "retry of one and a half": (lambda: W("w").step("a", one, retry=1.5), "at least 1"),
    "retry of True": (lambda: W("w").step("a", one, retry=True), "at least 1"),
    "a negative timeout": (lambda: W("w").step("a", one, timeout=-5), "zero or more"),
    "a timeout in milliseconds": (lambda: W("w").step("a", one, timeout=86_400_000), "were milliseconds meant"),
    "a timeout that is no duration": (lambda: W("w").step("a", one, timeout="5s"), "seconds or a timedelta"),
    "an endless timeout": (lambda: W("w").step("a", one, timeout=float("inf")), "more than a year|finite"),
    "a compensation that is no function": (lambda: W("w").step("a", one, compensate=3), "compensate"),
    "a compensation of a negative timeout": (
        lambda: W("w").step("a", one, compensate=Compensation(one, timeout=-1)),
        "zero or more",
    ),
    "compensate_on_failure without a compensation": (
        lambda: W("w").step("a", one, compensate_on_failure=True),
        "needs a compensate",
    ),
    "a schema that is none": (lambda: W("w").step("a", one, input_schema=3), "no schema"),
    "an unknown on_interrupted": (lambda: W("w").step("a", one, on_interrupted="maybe"), "must be one of"),
    "a misspelt option": (lambda: W("w").step("a", one, retrys=3), "retrys"),
    "a step object with a handler": (lambda: W("w").step(S(one), one), "brings its own"),
    "a step object under another name": (lambda: W("w").step("a", S(one)), "name of its own"),
    "a step of a lambda without a name": (lambda: S("")(one), "needs a name"),
    "a second compensation": (lambda: [(s := S(one)), s.compensate(one), s.compensate(one)], "already"),
    "attempts of Retry": (lambda: Retry(attempts=0), "at least 1"),
    "a negative delay of Retry": (lambda: Retry(initial=-1), "zero or more"),
    "a negative factor of Retry": (lambda: Retry(factor=-1), "zero or more"),
    "on of Retry that is no exception": (lambda: R(on=int), "exception class"),
    "a signal without a name": (lambda: Signal(""), "needs a name"),
    "a path without a branch": (lambda: W("w").step("a", one).path("x", S(one)), "must follow a .branch"),
    "an otherwise without a branch": (lambda: W("w").otherwise(S(one)), "must follow a .branch"),
    "a branch without paths": (lambda: W("w").branch(one).definition(), "without paths"),
    "a branch without paths before a step": (lambda: W("w").branch(one).step("a", one), "without paths"),
    "a path twice": (lambda: W("w").branch(one).path("x", S(one)).path("x", S(one)), "already"),
    "an otherwise twice": (lambda: W("w").branch(one).otherwise(S(one)).otherwise(S(one)), "already"),
    "a selector that is no function": (lambda: W("w").branch("x"), "expected a function"),
    "an empty group": (lambda: W("w").parallel(lambda w: w), "empty"),
    "a group of nothing": (lambda: W("w").parallel(), "empty"),
    "a block that is none": (lambda: W("w").parallel(7), "expected a builder function"),
    "a workflow inside itself": (lambda: [(w := W("w")), w.parallel(w)], "itself"),
    "an empty loop": (lambda: W("w").do_until(one, lambda w: w), "empty"),
    "a loop that may not turn": (lambda: W("w").do_until(one, S(one), max_iterations=0), "at least 1"),
    "a condition that is no function": (lambda: W("w").do_while(5, S(one)), "expected a function"),
    "items that are no function": (lambda: W("w").for_each([1], "it", one), "expected a function"),
    "no items at a time": (lambda: W("w").for_each(one, "it", one, concurrency=0), "at least 1"),
    "a handler and a block": (lambda: W("w").for_each(one, "it", one, block=S(one)), "not both"),
    "a map of nothing": (lambda: W("w").map("m", None), "expected a function"),
    "a gate without a name": (lambda: W("w").wait_for(""), "needs a name"),
    "a gate with a negative timeout": (lambda: W("w").wait_for("go", timeout=-1), "zero or more"),
    "on_timeout without a timeout": (lambda: W("w").wait_for("go", on_timeout=S(one)), "needs a timeout"),
    "a negative sleep": (lambda: W("w").sleep("s", -1), "zero or more"),
    "a sleep until a naive moment": (lambda: W("w").sleep_until("s", datetime(2030, 1, 1)), "time zone"),  # noqa: DTZ001
    "a child without a name": (lambda: W("w").sub_workflow(""), "needs a name"),
    "a mapper that is no function": (lambda: W("w").sub_workflow("c", 5), "mapper"),
    "a workflow without nodes": (lambda: W("w").definition(), "no nodes"),
    "a name twice": (lambda: W("w").step("a", one).step("a", one).definition(), "stands twice"),
    "a child twice": (lambda: W("w").sub_workflow("c").sub_workflow("c").definition(), "stands twice"),
    "a name inside and outside a path": (
        lambda: W("w").step("a", one).branch(one).path("x", lambda w: w.step("a", one)).definition(),
        "stands twice",
    ),
    "a name that a for_each gives": (
        lambda: W("w").for_each(one, "it", one).step("it:0", one).definition(),
        "collides",
    ),
    "a change after registration": (
        lambda: [(w := W("w").step("a", one)), w.definition(), w.step("b", one)],
        "cannot be",
    ),
}


@pytest.mark.parametrize("case", DEFINITIONS)
def test_a_wrong_definition_is_refused_where_it_is_written(case: str) -> None:
    build, message = DEFINITIONS[case]
    with pytest.raises((DefinitionError, TypeError), match=message):
        build()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    flows = [
        W("plain").step("a", one),
        W("gate", input=dict[str, int]).wait_for(Signal("go", int)).step("z", one),
        W("orphan").sub_workflow("nobody"),
    ]
    with Engine(None, *flows) as engine:
        engine.start("plain", id="done").result(timeout=10)
        engine.start("gate", {}, id="open").wait(timeout=10, until="waiting")
        yield engine


CALLS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "register what is no workflow": (lambda e: e.register("plain"), UsageError, "takes workflows"),
    "register another definition": (lambda e: e.register(W("gate").step("other", one)), DefinitionError, "version"),
    "start an unknown workflow": (lambda e: e.start("plan"), UnknownWorkflow, "did you mean 'plain'"),
    "start a workflow that is not registered": (lambda e: e.start(W("new").step("a", one)), UnknownWorkflow, "'new'"),
    "start a parent without its child": (lambda e: e.start("orphan"), UnknownWorkflow, "'nobody'"),
    "start an unknown version": (lambda e: e.start("plain", version="9"), UnknownWorkflow, "plain"),
    "start with what does not fit": (lambda e: e.start("gate", {"a": "x"}), InvalidPayload, "input"),
    "start with what cannot be stored": (lambda e: e.start("plain", object()), InvalidPayload, "object"),
    "start with an empty id": (lambda e: e.start("plain", id=""), UsageError, "needs a name"),
    "start an id again, to be rejected": (
        lambda e: e.start("plain", id="done", if_exists="reject"),
        DuplicateExecution,
        "'done'",
    ),
    "start an id of another workflow": (lambda e: e.start("plain", id="open"), DuplicateExecution, "'gate'"),
    "start with an unknown if_exists": (lambda e: e.start("plain", if_exists="maybe"), UsageError, "if_exists"),
    "start later and at a time": (
        lambda e: e.start("plain", delay=1, at=datetime(2030, 1, 1).astimezone()),
        UsageError,
        "not both",
    ),
    "start before now": (lambda e: e.start("plain", delay=-1), UsageError, "zero or more"),
    "start at a naive moment": (lambda e: e.start("plain", at=datetime(2030, 1, 1)), UsageError, "time zone"),  # noqa: DTZ001
    "signal nobody": (lambda e: e.signal("nobody", "go", 1), ExecutionNotFound, "nobody"),
    "signal what has ended": (lambda e: e.signal("done", "go", 1, strict=False), ExecutionFinished, "completed"),
    "signal what no gate waits for": (lambda e: e.signal("open", "goo", 1), UnknownSignal, "did you mean 'go'"),
    "signal without a name": (lambda e: e.signal("open", ""), UsageError, "needs a name"),
    "signal with what does not fit": (lambda e: e.signal("open", "go", "soon"), InvalidPayload, "payload"),
    "signal with what cannot be stored": (
        lambda e: e.signal("open", "other", object(), strict=False),
        InvalidPayload,
        "object",
    ),
    "cancel nobody": (lambda e: e.cancel("nobody"), ExecutionNotFound, "nobody"),
    "cancel what has ended": (lambda e: e.cancel("done"), IllegalTransition, "completed"),
    "resume what is not quarantined": (lambda e: e.resume("open"), IllegalTransition, "quarantined"),
    "attach to nobody": (lambda e: e.run("nobody"), ExecutionNotFound, "nobody"),
    "list an unknown state": (lambda e: e.list_executions(state="waitin"), UsageError, "did you mean 'waiting'"),
    "list none": (lambda e: e.list_executions(limit=0), UsageError, "limit"),
    "list from before the first": (lambda e: e.list_executions(offset=-1), UsageError, "offset"),
    "listen to an unknown event": (lambda e: e.on("step:complete", print), UsageError, "did you mean 'step:completed'"),
    "listen with no function": (lambda e: e.on("step:completed", 5), UsageError, "callable"),
    "clean up runs that live": (lambda e: e.cleanup(0, ["waiting"]), UsageError, "cancel them first"),
    "archive runs that live": (lambda e: e.archive(0, ["running"]), UsageError, "cancel them first"),
    "clean up an unknown state": (lambda e: e.cleanup(0, ["don"]), UsageError, "no state"),
    "move time that is not frozen": (lambda e: e.advance(days=1), UsageError, "freeze"),
    "wait for an unknown state": (lambda e: e.run("open").wait(until="waitin"), UsageError, "did you mean 'waiting'"),
    "wait too long": (lambda e: e.run("open").result(timeout=0), WaitTimeout, "goes on"),
    "wait for what cannot come any more": (
        lambda e: e.run("done").wait(until="waiting"),
        WaitTimeout,
        "will not become",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_refused_and_harms_nothing(case: str, engine: Engine) -> None:
    call, error, message = CALLS[case]
    with pytest.raises(error, match=message):
        call(engine)
    assert engine.run("open").state == "waiting"
    assert engine.run("done").state == "completed"


ENGINES: dict[str, tuple[dict[str, Any], str]] = {
    "no concurrency": ({"concurrency": 0}, "at least 1"),
    "half a thread": ({"threads": 0.5}, "at least 1"),
    "another durability": ({"durability": "some"}, "'full' or 'normal'"),
    "a server": ({"connection": {"host": "db"}}, "SQLite"),
    "two names for the file": ({"data_path": "b.db", "path": "a.db"}, "not both"),
    "a path that is none": ({"path": 7}, "must be a path"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_a_wrong_engine_is_refused_and_leaves_no_file(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options, message = ENGINES[case]
    with pytest.raises(UsageError, match=message):
        Engine(**options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda e: e.start("plain"),
        lambda e: e.signal("x", "go"),
        lambda e: e.cancel("x"),
        lambda e: e.resume("x"),
        lambda e: e.run("x"),
        lambda e: e.get_execution("x"),
        lambda e: e.list_executions(),
        lambda e: e.cleanup(timedelta(0)),
        lambda e: e.archive(timedelta(0)),
        lambda e: e.get_archived_count(),
        lambda e: e.settle(),
        lambda e: e.next_deadline(),
        lambda e: e.register(W("late").step("a", one)),
    ],
)
def test_every_call_on_a_closed_engine_says_that_it_is_closed(call: Callable[[Any], Any]) -> None:
    engine = Engine(None, W("plain").step("a", one))
    engine.close()
    engine.close()
    with pytest.raises(EngineClosed, match="open a new Engine"):
        call(engine)
