"""Traces: one of each run, from whoever starts it to what its handlers do, across waits, deaths and processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

from perdure import Client, Context, Engine, Retry, Workflow, WorkflowFailed
from perdure.otel import names
from tests.patience import PATIENCE

from .conftest import Backend

Opened = Callable[..., Engine]


def divide() -> float:
    return 1 / 0


def test_a_run_is_one_trace_from_its_starter_to_what_its_handlers_do(opened: Opened, backend: Backend) -> None:
    def charge(ctx: Context[Any]) -> str:
        if ctx.attempt == 1:
            raise ConnectionError("the bank is busy")
        with backend.tracer.start_as_current_span("POST /payments"):
            return "payment-1"

    order = Workflow("order").step("charge", charge, retry=Retry(initial=0.001, jitter=0)).step("ship", lambda: None)
    with backend.tracer.start_as_current_span("POST /orders"):
        opened(order).start(order, id="o-1").result(timeout=PATIENCE)

    assert backend.tree() == [
        "POST /orders",
        "  start order",
        "    run order",
        "      step charge",
        "        attempt charge",
        "        attempt charge",
        "          POST /payments",
        "      step ship",
        "        attempt ship",
    ]
    assert len(backend.traces()) == 1


def test_a_coroutine_and_what_a_function_returns_to_be_awaited_see_their_attempt(
    opened: Opened, backend: Backend
) -> None:
    import asyncio

    seen: dict[str, int] = {}

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        with backend.tracer.start_as_current_span(f"in {name}"):
            await asyncio.gather(asyncio.sleep(0), inner(name))

    async def inner(name: str) -> None:
        seen[name] = trace.get_current_span().get_span_context().span_id

    async def one() -> None:
        await work("one")

    flow = Workflow("flow").parallel(
        lambda branch: branch.step("one", one).step("two", lambda: work("two")).step("three", lambda: work("three"))
    )
    opened(flow).start(flow).result(timeout=PATIENCE)

    for name in ("one", "two", "three"):
        inside, attempt = backend.span(f"in {name}"), backend.span(f"attempt {name}")
        assert inside.parent is not None
        assert inside.parent.span_id == attempt.context.span_id
        assert seen[name] == inside.context.span_id
        assert (attempt.start_time or 0) <= (inside.start_time or 0) <= (attempt.end_time or 0)


def test_a_handler_that_fails_says_so_on_its_attempt_its_step_and_its_run(opened: Opened, backend: Backend) -> None:
    def ship() -> None:
        raise LookupError("no lorry")

    order = Workflow("order").step("reserve", lambda: 1, compensate=lambda: None).step("ship", ship, retry=1)
    with pytest.raises(WorkflowFailed):
        opened(order).start(order).result(timeout=PATIENCE)

    for name in ("attempt ship", "step ship", "run order"):
        span = backend.span(name)
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no lorry")
        assert (span.attributes or {})[names.ERROR] == "LookupError"
    [exception] = backend.span("attempt ship").events
    assert (exception.name, (exception.attributes or {})["exception.type"]) == ("exception", "LookupError")
    run = backend.span("run order").attributes or {}
    assert (run[names.STATE], run[names.ROLLBACK]) == ("failed", "complete")


def test_what_an_executor_runs_fails_under_its_own_name(path: Path, backend: Backend) -> None:
    flow = Workflow("flow").step("divide", divide, executor="pool", retry=1)
    with (
        ThreadPoolExecutor(1) as pool,
        Engine(path, flow, executors={"pool": pool}, extensions=[backend.telemetry()]) as engine,
    ):
        engine.start(flow).wait(timeout=PATIENCE)

    attempt = backend.span("attempt divide")
    assert (attempt.attributes or {})[names.ERROR] == "ZeroDivisionError"
    assert attempt.status.description == "division by zero"
    assert (attempt.events[0].attributes or {})["exception.type"] == "ZeroDivisionError"


def test_an_undo_is_a_span_with_its_attempts(opened: Opened, backend: Backend) -> None:
    order = Workflow("order").step("reserve", lambda: 1, compensate=lambda: None).wait_for("never")
    engine = opened(order)
    run = engine.start(order)
    engine.settle()
    run.cancel()
    run.wait(timeout=PATIENCE)

    assert backend.tree() == [
        "start order",
        "  run order",
        "    step reserve",
        "      attempt reserve",
        "  run order",
        "    undo reserve",
        "      attempt reserve",
    ]
    assert [(span.attributes or {})[names.STATE] for span in backend.spans if span.name == "run order"] == [
        "waiting",
        "cancelled",
    ]


def test_a_wait_is_no_span_and_what_follows_is_in_the_same_trace(opened: Opened, backend: Backend) -> None:
    order = Workflow("order").wait_for("approval").step("ship", lambda: None)
    engine = opened(order)
    run = engine.start(order)
    engine.settle()
    assert backend.tree() == ["start order", "  run order"]
    run.signal("approval")
    run.result(timeout=PATIENCE)

    assert backend.tree() == ["start order", "  run order", "  run order", "    step ship", "      attempt ship"]
    runs = [span for span in backend.spans if span.name == "run order"]
    assert [(span.attributes or {})[names.STATE] for span in runs] == ["waiting", "completed"]


def test_a_run_goes_on_in_its_trace_after_its_engine_has_died(opened: Opened, backend: Backend) -> None:
    first_life = threading.Event()

    def charge(ctx: Context[Any]) -> int:
        if not first_life.is_set():
            first_life.set()
            dead.wait()
        return ctx.attempt

    dead = threading.Event()
    order = Workflow("order").step("reserve", lambda: 1).step("charge", charge)
    engine = opened(order)
    engine.start(order, id="o-1")
    first_life.wait()
    engine.abandon()
    dead.set()
    later = opened(order)

    assert later.run("o-1").result(timeout=PATIENCE) == 2
    # The first stretch was never told: who was to tell it has died. Its reserve was told before that.
    [reserve, charge_again] = [span for span in backend.spans if span.name.startswith("step ")]
    assert (reserve.name, charge_again.name) == ("step reserve", "step charge")
    assert reserve.context.trace_id == charge_again.context.trace_id == backend.span("start order").context.trace_id
    run = backend.span("run order")
    assert run.parent is not None
    assert run.parent.span_id == backend.span("start order").context.span_id


KILLED = """
import os, signal, sys, threading
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from perdure import Engine, Workflow
from perdure.otel import OpenTelemetry

provider = TracerProvider(shutdown_on_exit=False)
exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
begun = threading.Event()
def charge():
    begun.wait()
    os.kill(os.getpid(), signal.SIGKILL)
order = Workflow("order").step("reserve", lambda: 1).step("charge", charge)
engine = Engine(sys.argv[1], order, extensions=[OpenTelemetry(tracer_provider=provider)])
with provider.get_tracer("shop").start_as_current_span("POST /orders"):
    engine.start(order, id="o-1")
begun.set()
engine.run("o-1").wait()
"""


def test_a_run_goes_on_in_its_trace_after_kill_9(opened: Opened, backend: Backend, path: Path, checkout: Path) -> None:
    environment = {"PYTHONPATH": str(checkout)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path], env=environment, capture_output=True, text=True, check=False
    )
    told = [json.loads(line) for line in killed.stdout.splitlines()]
    order = Workflow("order").step("reserve", lambda: 1).step("charge", lambda: "charged")
    assert opened(order).run("o-1").result(timeout=PATIENCE) == "charged"

    assert killed.returncode == -9
    begun = next(span for span in told if span["name"] == "start order")
    assert {span["context"]["trace_id"] for span in told} == {begun["context"]["trace_id"]}
    assert backend.span("attempt charge").context.trace_id == int(begun["context"]["trace_id"], 16)
    above = backend.span("run order").parent
    assert above is not None
    assert above.span_id == int(begun["context"]["span_id"], 16)


def test_a_run_that_another_process_starts_is_in_its_trace(opened: Opened, backend: Backend, path: Path) -> None:
    order = Workflow("order").step("ship", lambda: None)
    engine = opened(order)
    with (
        Client(path, extensions=[backend.telemetry()]) as client,
        backend.tracer.start_as_current_span("POST /orders"),
    ):
        client.start("order", id="o-1").wait(timeout=PATIENCE)
    engine.settle()  # a span is told when its end is heard of

    assert backend.tree()[:3] == ["POST /orders", "  start order", "    run order"]
    assert backend.span("start order").kind is SpanKind.PRODUCER
    assert len(backend.traces()) == 1


A_PART = [
    "start parent",
    "  run parent",
    "    step sub:child",
    "      run child",
    "        step inner",
    "          attempt inner",
]
"""The trace of a run with a sub-workflow of one step."""


def test_a_part_of_a_run_is_below_the_step_that_asked_for_it(opened: Opened, backend: Backend) -> None:
    child = Workflow("child").step("inner", lambda: 1)
    parent = Workflow("parent").sub_workflow("child", lambda ctx: None).step("last", lambda: 2)
    engine = opened(child, parent)
    engine.start(parent).result(timeout=PATIENCE)
    engine.settle()

    assert backend.tree() == [*A_PART, "    step last", "      attempt last"]


def test_a_part_is_below_its_step_though_its_handler_is_called_before_any_event_is_heard(
    opened: Opened, backend: Backend
) -> None:
    called = threading.Event()
    child = Workflow("child").step("inner", called.set)
    engine = opened(child, Workflow("parent").sub_workflow("child", lambda ctx: None))
    engine.on("workflow:started", lambda event: called.wait(PATIENCE))
    engine.start("parent").result(timeout=PATIENCE)
    engine.settle()

    assert backend.tree() == A_PART


def test_turns_and_items_are_spans_of_their_own_under_few_names(opened: Opened, backend: Backend) -> None:
    flow = (
        Workflow("flow")
        .do_until(lambda ctx, turn: turn == 3, lambda body: body.step("poll", lambda: 1))
        .for_each(lambda ctx: ["a", "b"], "notify", lambda: None)
    )
    opened(flow).start(flow).result(timeout=PATIENCE)

    polls = [span for span in backend.spans if span.name == "step poll"]
    attempts = [span for span in backend.spans if span.name == "attempt poll"]
    assert [span.context.span_id for span in polls] == [span.parent.span_id for span in attempts if span.parent]
    assert [(span.attributes or {})[names.TURN] for span in attempts] == [(1,), (2,), (3,)]
    notified = [span for span in backend.spans if span.name == "step notify"]
    assert [(span.attributes or {})[names.STEP] for span in notified] == ["notify:0", "notify:1"]


def test_baggage_of_the_starter_reaches_the_handlers(opened: Opened, backend: Backend) -> None:
    from opentelemetry import context

    seen: list[object] = []
    order = Workflow("order").wait_for("go").step("ship", lambda: seen.append(baggage.get_baggage("tenant")))
    token = context.attach(baggage.set_baggage("tenant", "rome"))
    engine = opened(order)
    run = engine.start(order)
    context.detach(token)
    run.signal("go")
    run.result(timeout=PATIENCE)

    assert seen == ["rome"]


def test_what_is_open_ends_when_the_engine_closes(opened: Opened, backend: Backend) -> None:
    begun = threading.Event()

    def hang() -> None:
        begun.set()
        release.wait()

    release = threading.Event()
    order = Workflow("order").step("hang", hang)
    engine = opened(order)
    engine.start(order)
    begun.wait()
    engine.close(force=True)
    told = backend.tree()
    release.set()

    assert told == ["start order", "  run order", "    step hang"]


def test_no_value_of_a_run_gets_into_a_span(opened: Opened, backend: Backend) -> None:
    order = (
        Workflow("order")
        .step("reserve", lambda: "SECRET", compensate=lambda: None)
        .wait_for("approval")
        .map("all", lambda ctx: dict(ctx.steps))
    )
    engine = opened(order)
    run = engine.start(order, "SECRET", tags={"mine": "kept"})
    run.signal("approval", "SECRET")
    run.result(timeout=PATIENCE)

    assert all("SECRET" not in span.to_json() for span in backend.spans)
    tags = engine.get_execution(run.id).tags  # type: ignore[union-attr]
    assert tags["mine"] == "kept"
    assert tags["traceparent"].split("-")[1] == f"{backend.span('start order').context.trace_id:032x}"


def test_only_what_the_page_lists_is_on_a_span(opened: Opened, backend: Backend) -> None:
    order = Workflow("order").step("a", lambda: 1, compensate=lambda: None).step("b", lambda: 1 / 0, retry=1)
    opened(order).start(order).wait(timeout=PATIENCE)

    found = {name for span in backend.spans for name in span.attributes or {}}
    assert found <= names.ATTRIBUTES.keys()
