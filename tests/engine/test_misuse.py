"""A wrong use of each public call: the error it gets, and what the error's message must say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from perdure import (
    Client,
    Context,
    DefinitionError,
    DuplicateExecution,
    Engine,
    EngineClosed,
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    InvalidPayload,
    Run,
    Signal,
    UnknownSignal,
    UnknownWorkflow,
    UsageError,
    WaitTimeout,
    Workflow,
    WorkflowFailed,
)
from tests.patience import PATIENCE

from .wrongs import PAST_A_YEAR, act, check, flow, wrong


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
        done.result(timeout=PATIENCE)
        waiting = engine.start("gated", id="waiting")
        waiting.wait(PATIENCE, until="waiting")
        yield Stage(engine, done, waiting, folder)


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
    "a path with a NUL": wrong(lambda s: Engine("runs\0.db"), UsageError, "path", "NUL"),
    "a path and a data_path": wrong(
        lambda s: Engine(s.folder / "a", data_path=s.folder / "b"), UsageError, "path", "data_path", "once"
    ),
    "a server's URL": wrong(lambda s: Engine("mysql://host/db"), UsageError, "mysql"),
    "busy_timeout=None": wrong(
        lambda s: Engine(s.folder / "x.db", busy_timeout=cast("Any", None)), UsageError, "busy_timeout", "None"
    ),
    "a connection": wrong(lambda s: Engine(connection={"hots": "h"}), UsageError, "hots"),
    "a workflow's class": wrong(lambda s: Engine(None, cast("Any", Workflow)), UsageError, "register", "workflows"),
    "an empty workflow": wrong(lambda s: Engine(None, Workflow("empty")), DefinitionError, "'empty'", "at least one"),
    "register(5)": wrong(lambda s: s.engine.register(cast("Any", 5)), UsageError, "register takes workflows", "5"),
    "register(another of the name)": wrong(
        lambda s: s.engine.register(Workflow("order").step("pay twice", act)), DefinitionError, "'order'", "version"
    ),
}

START = {
    "a misspelt name": wrong(lambda s: s.engine.start("ordr"), UnknownWorkflow, "'ordr'", "did you mean 'order'"),
    "a name nothing is like": wrong(
        lambda s: s.engine.start("zzz"), UnknownWorkflow, "'zzz'", "'gated'", "'order'", "engine.register(...)"
    ),
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
    "a key of half a character": wrong(
        lambda s: s.engine.start("gated", key="half \ud800"), UsageError, "key", "half of a character"
    ),
    "a version that is a list": wrong(
        lambda s: s.engine.start("gated", version=cast("Any", [])), UsageError, "version", "[]"
    ),
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
    "run(half of a character)": wrong(lambda s: s.engine.run("half \ud800"), UsageError, "id", "half of a character"),
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
    "list_executions(offset=2**63)": wrong(lambda s: s.engine.list_executions(offset=2**63), UsageError, "offset"),
    "pause_schedule(5)": wrong(lambda s: s.engine.pause_schedule(cast("Any", 5)), UsageError, "schedule", "5"),
    "resume_schedule('')": wrong(lambda s: s.engine.resume_schedule(""), UsageError, "schedule", "''"),
    "trigger([])": wrong(lambda s: s.engine.trigger(cast("Any", [])), UsageError, "schedule", "[]"),
    "unschedule({})": wrong(lambda s: s.engine.unschedule(cast("Any", {})), UsageError, "schedule", "{}"),
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
    "cancel(half of a character)": wrong(lambda s: s.engine.cancel("half \ud800"), UsageError, "id", "half of a char"),
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
    "cleanup(max_age in milliseconds)": wrong(
        lambda s: s.engine.cleanup(PAST_A_YEAR), UsageError, "max_age", "milliseconds"
    ),
    "stats(window in milliseconds)": wrong(lambda s: s.engine.stats(PAST_A_YEAR), UsageError, "window", "milliseconds"),
    "start(key_ttl in milliseconds)": wrong(
        lambda s: s.engine.start("gated", key="k", key_ttl=PAST_A_YEAR), UsageError, "key_ttl", "milliseconds"
    ),
    "schedule(every in milliseconds)": wrong(
        lambda s: s.engine.schedule("s", "gated", every=PAST_A_YEAR), UsageError, "every", "milliseconds"
    ),
    "result(timeout in milliseconds)": wrong(
        lambda s: s.done.result(timeout=PAST_A_YEAR), UsageError, "timeout", "milliseconds", "None waits for ever"
    ),
    "result(timeout=inf)": wrong(lambda s: s.done.result(timeout=float("inf")), UsageError, "timeout", "inf"),
    "close('x')": wrong(lambda s: s.engine.close(cast("Any", "x")), UsageError, "timeout", "'x'"),
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
    "run.result": lambda engine: Run(engine, "done", "order").result(PATIENCE),
    "run.wait": lambda engine: Run(engine, "done", "order").wait(PATIENCE),
    "run.signal": lambda engine: Run(engine, "done", "order").signal("approval", 1),
    "run.cancel": lambda engine: Run(engine, "done", "order").cancel(),
    "run.events": lambda engine: Run(engine, "done", "order").events(),
}


TABLES = {"Engine": ENGINE, "start": START, "look": LOOK, "control": CONTROL}
TABLE = {f"{area}: {what}": case for area, cases in TABLES.items() for what, case in cases.items()}


@pytest.mark.parametrize("what", TABLE)
def test_a_wrong_use_gets_an_error_that_says_what_where_and_how_to_mend_it(what: str, stage: Stage) -> None:
    check(TABLE[what], stage)


@pytest.mark.parametrize("call", CLOSED)
def test_every_call_on_a_closed_engine_says_that_it_is_closed(call: str) -> None:
    engine = Engine(None, order(), gated(), durability="normal")
    engine.close()

    with pytest.raises(EngineClosed, match=r"this engine is closed; open a new Engine on the same database"):
        CLOSED[call](engine)


MISSPELT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "an engine": (
        lambda _: cast("Any", Engine)(concurrencyy=3),
        "Engine.__init__() … 'concurrencyy'; … 'concurrency'?",
    ),
    "a start": (lambda s: s.engine.start("order", dely=3), "Engine.start() … 'dely'; … 'delay'?"),
    "a start with a signal": (
        lambda s: s.engine.signal_with_start("order", None, "go", id="a", bussiness_key="b"),
        "Engine.signal_with_start() … 'bussiness_key'; … 'business_key'?",
    ),
    "a client": (
        lambda s: cast("Any", Client)(s.engine.path).start("order", kye="a"),
        "Client.start() … 'kye'; … 'key'?",
    ),
    "a step": (lambda _: flow().step("a", act, retries=3), "Workflow.step() … 'retries'; … 'retry'?"),
    "items": (
        lambda _: flow().for_each(act, "a", act, concurrencyy=3),
        "Workflow.for_each() … 'concurrencyy'; … 'concurrency'?",
    ),
    "a gate": (
        lambda _: flow().wait_any("a", remind_evry=3),
        "Workflow.wait_any() … 'remind_evry'; … 'remind_every'?",
    ),
    "a block": (
        lambda _: flow().parallel(lambda w: w.step("a", act, retries=3)),
        "Workflow.step() … 'retries'; … 'retry'?",
    ),
}


@pytest.mark.parametrize("what", MISSPELT)
def test_a_misspelt_option_is_refused_by_the_name_of_the_call_with_the_nearest_one(what: str, stage: Stage) -> None:
    call, message = MISSPELT[what]

    with pytest.raises(TypeError) as error:
        call(stage)

    name, option, nearest = message.split(" … ")
    assert str(error.value) == f"{name} got an unexpected keyword argument {option} did you mean {nearest}"


def test_an_argument_left_out_is_asked_for_by_the_name_of_the_call(stage: Stage) -> None:
    with pytest.raises(TypeError, match=r"^Engine\.start\(\) missing 1 required positional argument: 'workflow'$"):
        cast("Any", stage.engine).start()


def test_a_type_error_that_is_not_the_calls_own_is_left_as_it_is() -> None:
    def block(builder: object) -> None:
        cast("Any", sorted)([], kye=builder)

    with pytest.raises(TypeError, match="kye") as error:
        flow().parallel(block)

    assert "Workflow" not in str(error.value)


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
        assert engine.start("order", Order(1)).result(PATIENCE) == 1


BADLY_ASKED: dict[str, tuple[Callable[[Engine], Workflow[Any, Any]], str]] = {
    "a result that is not there": (
        lambda _: Workflow("w").step("reserve", act).step("b", lambda ctx: ctx.steps["resrve"], retry=1),
        "there is no 'resrve' here; did you mean 'reserve'?",
    ),
    "a misspelt field of the context": (
        lambda _: Workflow("w").step("a", lambda ctx: cast("Any", ctx).inputs, retry=1),
        "AttributeError: a context has no 'inputs'; did you mean 'input'?",
    ),
    "a builder in the place of an item's handler": (
        lambda _: Workflow("w").for_each(lambda: [1], "it", lambda w: cast("Any", w).step("a", act), retry=1),
        "a context has no 'step'; this is the context, not a builder: for_each takes several nodes as block=",
    ),
    "items that are no list": (
        lambda _: Workflow("w").for_each(cast("Any", lambda: {"a": 1}), "it", act),
        "failed in the items of 'it': perdure.NotIterable: the items of 'it' must be a list or a tuple, got dict: {",
    ),
    "items of a generator": (
        lambda _: Workflow("w").for_each(lambda: cast("Any", iter([1])), "it", act),
        "must be a list or a tuple, got list_iterator",
    ),
    "a handler that closes the engine": (
        lambda engine: Workflow("w").step("a", lambda: engine.close(10), retry=1),
        "cannot wait for the engine to close; close(force=True) does not wait",
    ),
}


@pytest.mark.parametrize("what", BADLY_ASKED)
def test_a_run_that_fails_for_a_wrong_use_says_what_it_was(what: str, tmp_path: Path) -> None:
    build, says = BADLY_ASKED[what]
    with Engine(tmp_path / "runs.db", durability="normal") as engine:
        run = engine.register(build(engine)).start("w")
        with pytest.raises(WorkflowFailed) as failure:
            run.result(PATIENCE)

    assert says in str(failure.value)
    assert " at 0x" not in str(failure.value), "an address tells nobody anything"


def test_a_sub_workflow_that_is_missing_is_named_with_its_parent(stage: Stage) -> None:
    stage.engine.register(Workflow("parent").sub_workflow("nobody"))

    with pytest.raises(UnknownWorkflow, match=r"'parent' needs a sub-workflow .*: no workflow 'nobody' is registered"):
        stage.engine.start("parent")


def test_what_is_not_there_may_be_asked_for_with_a_default(tmp_path: Path) -> None:
    def look(ctx: Context[Any]) -> list[Any]:
        return [ctx.steps.get("x", 7), "x" in ctx.steps, "go" in ctx.signals]

    flow = Workflow("w").step("a", look)
    with Engine(tmp_path / "runs.db", flow, durability="normal") as engine:
        assert engine.start("w").result(PATIENCE) == [7, False, False]


def test_an_engine_without_a_file_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="perdure"):
        Engine(durability="normal").close()

    said = [record.getMessage() for record in caplog.records if record.name == "perdure"]
    assert said == ["no database file was given: runs are kept in a temporary file and are gone when the engine closes"]
