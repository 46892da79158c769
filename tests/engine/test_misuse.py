"""A wrong use of each public call: the error it gets, and what the error's message must say of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from perdure import (
    Compensation,
    DefinitionError,
    DuplicateExecution,
    Engine,
    EngineClosed,
    EngineError,
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    InvalidPayload,
    Retry,
    RetryAfter,
    Run,
    Signal,
    UnknownSignal,
    UnknownWorkflow,
    UsageError,
    WaitTimeout,
    Workflow,
    step,
)


@dataclass
class Order:
    """An input type."""

    number: int


class Stage(NamedTuple):
    """What a wrong call may be made on: an engine with a run that has ended and one that waits."""

    engine: Engine
    done: Run[Any]
    waiting: Run[Any]
    folder: Path


def act() -> int:
    return 1


def generator(ctx: object) -> Iterator[int]:
    yield 1


async def async_generator(ctx: object) -> Any:
    yield 1


async def pay(ctx: object) -> int:
    return 1


def order() -> Workflow[Any, Any]:
    return Workflow("order", input=Order).step("pay", act)


def gated() -> Workflow[Any, Any]:
    return Workflow("gated").wait_for(Signal("approval", int)).wait_for("release")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("misuse")
    with Engine(folder / "runs.db", order(), gated(), durability="normal") as engine:
        done = engine.start("order", Order(1), id="done", key="the-key")
        done.result(timeout=10)
        waiting = engine.start("gated", id="waiting")
        waiting.wait(10, until="waiting")
        yield Stage(engine, done, waiting, folder)


class Wrong(NamedTuple):
    """A wrong call, the error it must get, and what the message must say."""

    call: Callable[[Stage], Any]
    error: type[BaseException]
    says: tuple[str, ...]


def wrong(call: Callable[[Any], Any], error: type[BaseException], *says: str) -> Wrong:
    return Wrong(call, error, says)


def flow() -> Any:
    return Workflow("w")


PAST_A_YEAR = 86_400_000

ENGINE = {
    "concurrency=0": wrong(lambda s: Engine(concurrency=0), UsageError, "concurrency", "at least 1", "0"),
    "concurrency=True": wrong(lambda s: Engine(concurrency=True), UsageError, "concurrency", "True"),
    "concurrency='5'": wrong(lambda s: Engine(concurrency=cast("Any", "5")), UsageError, "concurrency", "'5'"),
    "threads=0": wrong(lambda s: Engine(threads=0), UsageError, "threads", "at least 1"),
    "durability='high'": wrong(
        lambda s: Engine(durability=cast("Any", "high")), UsageError, "durability", "'full'", "'normal'", "'high'"
    ),
    "on_event=5": wrong(lambda s: Engine(on_event=cast("Any", 5)), UsageError, "listener", "callable", "5"),
    "seed=[]": wrong(lambda s: Engine(seed=cast("Any", [])), UsageError, "seed", "[]"),
    "switch_interval=-1": wrong(lambda s: Engine(switch_interval=-1), UsageError, "switch_interval", "-1"),
    "switch_interval='x'": wrong(
        lambda s: Engine(switch_interval=cast("Any", "x")), UsageError, "switch_interval", "'x'"
    ),
    "queue_name=5": wrong(lambda s: Engine(queue_name=cast("Any", 5)), UsageError, "queue_name", "5"),
    "a path that is a number": wrong(lambda s: Engine(cast("Any", 5)), UsageError, "path", "5"),
    "a path and a data_path": wrong(
        lambda s: Engine(s.folder / "a", data_path=s.folder / "b"), UsageError, "path", "data_path", "not both"
    ),
    "a server's URL": wrong(lambda s: Engine("postgresql://host/db"), UsageError, "SQLite", "not supported"),
    "busy_timeout=None": wrong(
        lambda s: Engine(s.folder / "x.db", busy_timeout=cast("Any", None)), UsageError, "busy_timeout", "None"
    ),
    "a connection": wrong(lambda s: Engine(connection={"host": "h"}), UsageError, "SQLite", "not supported"),
    "a workflow's class": wrong(lambda s: Engine(None, cast("Any", Workflow)), UsageError, "register", "workflows"),
    "an empty workflow": wrong(lambda s: Engine(None, Workflow("empty")), DefinitionError, "'empty'", "at least one"),
    "register(5)": wrong(lambda s: s.engine.register(cast("Any", 5)), UsageError, "register takes workflows", "5"),
    "register(another of the name)": wrong(
        lambda s: s.engine.register(Workflow("order").step("pay twice", act)), DefinitionError, "'order'", "version"
    ),
}

START = {
    "a misspelt name": wrong(lambda s: s.engine.start("ordr"), UnknownWorkflow, "'ordr'", "did you mean 'order'"),
    "a name nothing is like": wrong(lambda s: s.engine.start("zzz"), UnknownWorkflow, "'zzz'", "'gated'", "'order'"),
    "a number": wrong(lambda s: s.engine.start(cast("Any", 5)), UsageError, "workflow", "its name", "5"),
    "a list": wrong(lambda s: s.engine.start(cast("Any", [])), UsageError, "workflow", "its name", "[]"),
    "None": wrong(lambda s: s.engine.start(cast("Any", None)), UsageError, "workflow", "its name", "None"),
    "a workflow that is not registered": wrong(
        lambda s: s.engine.start(Workflow("orders").step("a", act)), UnknownWorkflow, "'orders'", "'order'"
    ),
    "a version that is not registered": wrong(
        lambda s: s.engine.start("order", Order(1), version="2"), UnknownWorkflow, "'order'", "version", "'2'"
    ),
    "an input of another type": wrong(
        lambda s: s.engine.start("order", {"number": "x"}), InvalidPayload, "input", "'order'", "number"
    ),
    "an input that cannot be stored": wrong(
        lambda s: s.engine.start("gated", {"a": [object()]}), InvalidPayload, "input", "'gated'", "$.a[0]", "object"
    ),
    "an empty id": wrong(lambda s: s.engine.start("gated", id=""), UsageError, "id", "not empty", "''"),
    "an id that is a number": wrong(lambda s: s.engine.start("gated", id=cast("Any", 5)), UsageError, "id", "5"),
    "an id with a NUL": wrong(lambda s: s.engine.start("gated", id="a\0b"), UsageError, "id", "printed"),
    "an id of 10 kB": wrong(lambda s: s.engine.start("gated", id="x" * 10_000), UsageError, "id", "10000", "200"),
    "an id that exists, to be rejected": wrong(
        lambda s: s.engine.start("order", Order(1), id="done", if_exists="reject"), DuplicateExecution, "'done'", "id"
    ),
    "an id of another workflow's run": wrong(
        lambda s: s.engine.start("gated", id="done"), DuplicateExecution, "'done'", "'order'"
    ),
    "a key that exists, to be rejected": wrong(
        lambda s: s.engine.start("order", Order(1), key="the-key", if_exists="reject"),
        DuplicateExecution,
        "'done'",
        "'the-key'",
    ),
    "a key that is a number": wrong(lambda s: s.engine.start("gated", key=cast("Any", 5)), UsageError, "key", "5"),
    "an empty key": wrong(lambda s: s.engine.start("gated", key=""), UsageError, "key", "''"),
    "if_exists='ignore'": wrong(
        lambda s: s.engine.start("gated", if_exists=cast("Any", "ignore")),
        UsageError,
        "if_exists",
        "'return'",
        "'reject'",
        "'ignore'",
    ),
    "delay and at": wrong(
        lambda s: s.engine.start("gated", delay=1, at=datetime(2030, 1, 1, tzinfo=UTC)), UsageError, "delay", "at"
    ),
    "a negative delay": wrong(lambda s: s.engine.start("gated", delay=-1), UsageError, "delay", "-1", "zero or more"),
    "a delay in milliseconds": wrong(
        lambda s: s.engine.start("gated", delay=PAST_A_YEAR), UsageError, "delay", "milliseconds", "timedelta"
    ),
    "a delay that is a text": wrong(lambda s: s.engine.start("gated", delay=cast("Any", "5")), UsageError, "delay"),
    "a delay that is no number": wrong(lambda s: s.engine.start("gated", delay=float("nan")), UsageError, "delay"),
    "at without a time zone": wrong(
        lambda s: s.engine.start("gated", at=datetime(2030, 1, 1)),  # noqa: DTZ001
        UsageError,
        "at",
        "time zone",
        "utc",
    ),
    "at that is a text": wrong(
        lambda s: s.engine.start("gated", at=cast("Any", "2030-01-01")), UsageError, "at", "datetime", "'2030-01-01'"
    ),
    "tags that are a text": wrong(
        lambda s: s.engine.start("gated", tags=cast("Any", "blue")), UsageError, "tags", "mapping", "'blue'"
    ),
    "tags that cannot be stored": wrong(
        lambda s: s.engine.start("gated", tags={"a": object()}), InvalidPayload, "tags", "$.a", "object"
    ),
}

LOOK = {
    "run(unknown)": wrong(lambda s: s.engine.run("nobody"), ExecutionNotFound, "'nobody'", "never started"),
    "run(5)": wrong(lambda s: s.engine.run(cast("Any", 5)), UsageError, "5"),
    "get_execution(5)": wrong(lambda s: s.engine.get_execution(cast("Any", 5)), UsageError, "id", "5"),
    "list_executions(state='done')": wrong(
        lambda s: s.engine.list_executions(state="done"), UsageError, "'done'", "'completed'"
    ),
    "list_executions(state=5)": wrong(lambda s: s.engine.list_executions(state=cast("Any", 5)), UsageError, "5"),
    "list_executions(workflow=5)": wrong(
        lambda s: s.engine.list_executions(cast("Any", 5)), UsageError, "workflow", "5"
    ),
    "list_executions(limit=0)": wrong(lambda s: s.engine.list_executions(limit=0), UsageError, "limit", "1 to 1000"),
    "list_executions(limit=1001)": wrong(lambda s: s.engine.list_executions(limit=1001), UsageError, "limit", "1001"),
    "list_executions(limit='5')": wrong(
        lambda s: s.engine.list_executions(limit=cast("Any", "5")), UsageError, "limit", "'5'"
    ),
    "list_executions(after='x')": wrong(lambda s: s.engine.list_executions(after="x"), UsageError, "cursor", "'x'"),
    "list_executions(order='up')": wrong(
        lambda s: s.engine.list_executions(order=cast("Any", "up")), UsageError, "newest", "'up'"
    ),
    "list_executions(tag=)": wrong(
        lambda s: s.engine.list_executions(**cast("Any", {"tag": {}})), UsageError, "'tag'", "tags"
    ),
    "list_executions(tags='a')": wrong(
        lambda s: s.engine.list_executions(tags=cast("Any", "a")), UsageError, "tags", "mapping"
    ),
    "list_executions(tags={1: 1})": wrong(
        lambda s: s.engine.list_executions(tags=cast("Any", {1: 1})), UsageError, "tags", "1"
    ),
    "list_executions(input={'a..b': 1})": wrong(
        lambda s: s.engine.list_executions(input={"a..b": 1}), UsageError, "'a..b'", "path"
    ),
    "list_executions(created_after=naive)": wrong(
        lambda s: s.engine.list_executions(created_after=datetime(2026, 1, 1)),  # noqa: DTZ001 - that is what is wrong
        UsageError,
        "created_after",
        "time zone",
    ),
    "list_executions(error='')": wrong(lambda s: s.engine.list_executions(error=""), UsageError, "error", "not empty"),
    "count_executions(by='tag')": wrong(
        lambda s: s.engine.count_executions(by=cast("Any", "tag")), UsageError, "by", "'tag'"
    ),
    "stats(0)": wrong(lambda s: s.engine.stats(0), UsageError, "window", "zero"),
    "history('')": wrong(lambda s: s.engine.history(""), UsageError, "id", "''"),
    "start(key_ttl=)": wrong(lambda s: s.engine.start("order", Order(1), key_ttl=5), UsageError, "key_ttl", "give key"),
    "start(key_ttl=-1)": wrong(
        lambda s: s.engine.start("order", Order(1), key="k", key_ttl=-1), UsageError, "key_ttl", "-1"
    ),
    "start(debounce=)": wrong(lambda s: s.engine.start("order", Order(1), debounce=5), UsageError, "debounce", "key"),
    "start(debounce=, delay=)": wrong(
        lambda s: s.engine.start("order", Order(1), key="k", debounce=5, delay=5), UsageError, "debounce", "delay"
    ),
    "start(debounce=-1)": wrong(
        lambda s: s.engine.start("order", Order(1), key="k", debounce=-1), UsageError, "debounce", "-1"
    ),
    "start(priority=)": wrong(
        lambda s: s.engine.start("order", Order(1), priority=1001), UsageError, "priority", "1001"
    ),
    "signal_with_start()": wrong(
        lambda s: s.engine.signal_with_start("order", Order(1), "approval", 1), UsageError, "id or key"
    ),
    "signal_with_start('')": wrong(
        lambda s: s.engine.signal_with_start("order", Order(1), "", 1, id="x"), UsageError, "name of a signal", "''"
    ),
    "start(business_key='')": wrong(
        lambda s: s.engine.start("order", Order(1), business_key=""), UsageError, "business_key", "''"
    ),
    "list_executions(offset=-1)": wrong(lambda s: s.engine.list_executions(offset=-1), UsageError, "offset", "-1"),
    "wait(timeout='5')": wrong(lambda s: s.waiting.wait(cast("Any", "5")), UsageError, "timeout", "'5'"),
    "wait(timeout=-1)": wrong(lambda s: s.waiting.wait(-1), UsageError, "timeout", "-1"),
    "wait(until='done')": wrong(lambda s: s.done.wait(until="done"), UsageError, "'done'", "'completed'"),
    "wait(until=[])": wrong(lambda s: s.done.wait(until=[]), UsageError, "until"),
    "wait(until=5)": wrong(lambda s: s.done.wait(until=cast("Any", 5)), UsageError, "until", "5"),
    "wait until what will not come": wrong(
        lambda s: s.done.wait(1, until="failed"), WaitTimeout, "done", "completed", "failed"
    ),
    "wait for too long": wrong(lambda s: s.waiting.wait(0), WaitTimeout, "waiting", "0 s", "goes on"),
    "result for too long": wrong(lambda s: s.waiting.result(0), WaitTimeout, "waiting", "0 s", "goes on"),
    "state of a run that is gone": wrong(
        lambda s: Run(s.engine, "gone", "order").state, ExecutionNotFound, "'gone'", "cleaned up"
    ),
    "wait for a run that is gone": wrong(lambda s: Run(s.engine, "gone", "order").wait(1), ExecutionNotFound, "'gone'"),
    "events of a run that is gone": wrong(
        lambda s: Run(s.engine, "gone", "order").events(), ExecutionNotFound, "'gone'"
    ),
}

CONTROL = {
    "signal(unknown run)": wrong(lambda s: s.engine.signal("nobody", "approval", 1), ExecutionNotFound, "'nobody'"),
    "signal(5)": wrong(lambda s: s.engine.signal(cast("Any", 5), "approval", 1), UsageError, "id", "5"),
    "signal(finished run)": wrong(
        lambda s: s.done.signal("approval", 1), ExecutionFinished, "'done'", "completed", "'approval'", "start a new"
    ),
    "signal(misspelt)": wrong(
        lambda s: s.waiting.signal("approval_", 1), UnknownSignal, "'gated'", "'approval_'", "did you mean 'approval'"
    ),
    "signal('')": wrong(lambda s: s.waiting.signal("", 1), UsageError, "name", "not empty", "''"),
    "signal(event=5)": wrong(lambda s: s.waiting.signal(cast("Any", 5), 1), UsageError, "name", "5"),
    "signal(payload of another type)": wrong(
        lambda s: s.waiting.signal("approval", "yes"), InvalidPayload, "'approval'", "payload", "int"
    ),
    "signal(payload that cannot be stored)": wrong(
        lambda s: s.waiting.signal("release", {"x": object()}), InvalidPayload, "'release'", "$.x", "object"
    ),
    "signal(key=5)": wrong(lambda s: s.waiting.signal("release", key=cast("Any", 5)), UsageError, "key", "5"),
    "signal(key='')": wrong(lambda s: s.waiting.signal("release", key=""), UsageError, "key", "''"),
    "cancel(unknown run)": wrong(lambda s: s.engine.cancel("nobody"), ExecutionNotFound, "'nobody'"),
    "cancel(5)": wrong(lambda s: s.engine.cancel(cast("Any", 5)), UsageError, "id", "5"),
    "cancel(finished run)": wrong(
        lambda s: s.done.cancel(), IllegalTransition, "cancel", "'done'", "completed", "running, waiting"
    ),
    "resume(unknown run)": wrong(lambda s: s.engine.resume("nobody"), ExecutionNotFound, "'nobody'"),
    "resume(5)": wrong(lambda s: s.engine.resume(cast("Any", 5)), UsageError, "id", "5"),
    "resume(waiting run)": wrong(
        lambda s: s.engine.resume("waiting"), IllegalTransition, "resume", "'waiting'", "quarantined"
    ),
    "on(misspelt)": wrong(
        lambda s: s.engine.on(cast("Any", "step:complete"), print), UsageError, "'step:complete'", "'step:completed'"
    ),
    "on(5)": wrong(lambda s: s.engine.on(cast("Any", 5), print), UsageError, "event", "5"),
    "on(no event's class)": wrong(lambda s: s.engine.on(cast("Any", int), print), UsageError, "event", "int"),
    "on(listener=5)": wrong(
        lambda s: s.engine.on("step:completed", cast("Any", 5)), UsageError, "listener", "callable", "5"
    ),
    "off(misspelt)": wrong(
        lambda s: s.engine.off(cast("Any", "step:complete"), print), UsageError, "'step:complete'", "'step:completed'"
    ),
    "off(listener=5)": wrong(lambda s: s.engine.off("step:completed", cast("Any", 5)), UsageError, "listener", "5"),
    "on_any(5)": wrong(lambda s: s.engine.on_any(cast("Any", 5)), UsageError, "listener", "5"),
    "off_any(5)": wrong(lambda s: s.engine.off_any(cast("Any", 5)), UsageError, "listener", "5"),
    "subscribe(listener=5)": wrong(lambda s: s.engine.subscribe("x", cast("Any", 5)), UsageError, "listener", "5"),
    "subscribe(5)": wrong(lambda s: s.engine.subscribe(cast("Any", 5), print), UsageError, "id", "5"),
    "cleanup(states='running')": wrong(
        lambda s: s.engine.cleanup(states=["running"]), UsageError, "finished", "running", "cancel"
    ),
    "cleanup(states='gone')": wrong(lambda s: s.engine.cleanup(states=["gone"]), UsageError, "'gone'", "state"),
    "cleanup(states=5)": wrong(lambda s: s.engine.cleanup(states=cast("Any", 5)), UsageError, "states", "5"),
    "cleanup(-1)": wrong(lambda s: s.engine.cleanup(-1), UsageError, "max_age", "-1"),
    "cleanup('x')": wrong(lambda s: s.engine.cleanup(cast("Any", "x")), UsageError, "max_age", "'x'"),
    "archive(states='waiting')": wrong(
        lambda s: s.engine.archive(states=["waiting"]), UsageError, "finished", "waiting", "cancel"
    ),
    "archive('x')": wrong(lambda s: s.engine.archive(cast("Any", "x")), UsageError, "max_age", "'x'"),
    "settle('x')": wrong(lambda s: s.engine.settle(cast("Any", "x")), UsageError, "timeout", "'x'"),
    "advance() in real time": wrong(lambda s: s.engine.advance(days=1), UsageError, "advance()", "freeze_time"),
    "close('x')": wrong(lambda s: s.engine.close(cast("Any", "x")), UsageError, "timeout", "'x'"),
}

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

CLOSED: dict[str, Callable[[Engine], Any]] = {
    "register": lambda engine: engine.register(order()),
    "start": lambda engine: engine.start("order", Order(1)),
    "run": lambda engine: engine.run("done"),
    "check_upgrade": lambda engine: engine.check_upgrade(order()),
    "unregistered": lambda engine: engine.unregistered(),
    "get_execution": lambda engine: engine.get_execution("done"),
    "list_executions": lambda engine: engine.list_executions(),
    "count_executions": lambda engine: engine.count_executions(),
    "history": lambda engine: engine.history("done"),
    "signal_with_start": lambda engine: engine.signal_with_start("order", Order(1), "approval", 1, id="x"),
    "stats": lambda engine: engine.stats(),
    "signal": lambda engine: engine.signal("done", "approval", 1),
    "cancel": lambda engine: engine.cancel("done"),
    "resume": lambda engine: engine.resume("done"),
    "cleanup": lambda engine: engine.cleanup(),
    "archive": lambda engine: engine.archive(),
    "get_archived_count": lambda engine: engine.get_archived_count(),
    "settle": lambda engine: engine.settle(),
    "next_deadline": lambda engine: engine.next_deadline(),
    "run.state": lambda engine: Run(engine, "done", "order").state,
    "run.result": lambda engine: Run(engine, "done", "order").result(1),
    "run.wait": lambda engine: Run(engine, "done", "order").wait(1),
    "run.signal": lambda engine: Run(engine, "done", "order").signal("approval", 1),
    "run.cancel": lambda engine: Run(engine, "done", "order").cancel(),
    "run.events": lambda engine: Run(engine, "done", "order").events(),
}


def itself() -> Any:
    workflow = flow().step("a", act)
    return workflow.do_until(act, workflow)


def frozen() -> Any:
    workflow = flow().step("a", act)
    workflow.definition()
    return workflow


TABLES = {"Engine": ENGINE, "start": START, "look": LOOK, "control": CONTROL, "building": BUILDING}
TABLE = {f"{area}: {what}": case for area, cases in TABLES.items() for what, case in cases.items()}


@pytest.mark.parametrize("what", TABLE)
def test_a_wrong_use_gets_an_error_that_says_what_where_and_how_to_mend_it(what: str, stage: Stage) -> None:
    case = TABLE[what]

    with pytest.raises(case.error) as error:
        case.call(stage)

    assert isinstance(error.value, EngineError)
    for phrase in case.says:
        assert phrase in str(error.value)
    assert re.search(r"<.* at 0x", str(error.value)) is None, "an address tells nobody anything"


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


@pytest.mark.parametrize("call", CLOSED)
def test_every_call_on_a_closed_engine_says_that_it_is_closed(call: str) -> None:
    engine = Engine(None, order(), gated(), durability="normal")
    engine.close()

    with pytest.raises(EngineClosed, match=r"this engine is closed; open a new Engine on the same database"):
        CLOSED[call](engine)


def test_a_refused_engine_leaves_no_file_and_no_lock(tmp_path: Path) -> None:
    wrong_options: tuple[dict[str, Any], ...] = (
        {"on_event": 5},
        {"seed": []},
        {"switch_interval": -1},
        {"queue_name": 5},
    )
    for options in wrong_options:
        with pytest.raises(UsageError):
            Engine(tmp_path / "runs.db", **cast("Any", options))

    assert list(tmp_path.iterdir()) == []


def test_an_engine_whose_workflows_are_wrong_is_closed_again(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError):
        Engine(tmp_path / "runs.db", order(), Workflow("empty"))

    assert [path.name for path in tmp_path.iterdir() if "engine" in path.name] == []
    with Engine(tmp_path / "runs.db", order()) as engine:
        assert engine.start("order", Order(1)).result(10) == 1


def test_a_timeout_may_be_given_as_a_timedelta_wherever_it_is_a_duration() -> None:
    long = timedelta(days=400)

    flow().sleep("a", long).wait_for("go", timeout=long).step("b", act, timeout=long).definition()
    Retry(initial=long, maximum=long)
    RetryAfter(long)
