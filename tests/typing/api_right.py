"""Right uses of the public API: mypy and pyright, both strict, accept every line and agree on every type.

No lambda here has an annotation, and none is needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from perdure import (
    AttemptRecord,
    Compensation,
    Context,
    Engine,
    Execution,
    Retry,
    Run,
    Schedule,
    Signal,
    State,
    Step,
    Workflow,
    look_at,
    step,
)
from perdure.events import Event, SignalReceived, StepCompleted, WorkflowFailed


@dataclass(frozen=True)
class Line:
    """One line of an order."""

    sku: str
    count: int


@dataclass(frozen=True)
class Order:
    """What the customer wants."""

    customer: str
    cents: int
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """What the bank gives back."""

    number: str
    cents: int


@dataclass(frozen=True)
class Approval:
    """What a person says."""

    by: str
    granted: bool


approval = Signal("approval", Approval)
anything = Signal("anything")
assert_type(approval, Signal[Approval])
assert_type(anything, Signal[Any])

# ---- steps as objects: def and async def, with the context and without


@step
def reserve(ctx: Context[Order]) -> int:
    """Take goods off the shelf."""
    return sum(line.count for line in ctx.input.lines)


@reserve.compensate
def release(ctx: Context[Order]) -> None:
    """Put them back."""
    assert_type(ctx[reserve], int)
    assert_type(ctx.input, Order)


@step(retry=Retry(attempts=5, initial=timedelta(seconds=1)), timeout=15, compensate=lambda: None)
async def charge(ctx: Context[Order]) -> Receipt:
    """Take the money."""
    return Receipt("r-1", ctx.input.cents)


@step(
    "tick",
    on_interrupted="park",
    on_exhausted="park",
    compensate_on_failure=False,
    compensate=Compensation(lambda: None, retry=2, on_exhausted="park"),
)
def look_at_the_clock() -> datetime:
    """Need no context."""
    return datetime.now(UTC)


@step
async def ping() -> bool:
    """Need no context either."""
    return True


@ping.compensate
async def pong(ctx: Context[Order]) -> None:
    """Undo it for an order."""


@step
def pack(ctx: Context[Order]) -> str:
    """Pack one item."""
    return f"{ctx.item} of {ctx.input.customer}, number {ctx.index}"


@step
def audit(ctx: Context[object]) -> None:
    """Fit into any workflow."""


assert_type(reserve, Step[Order, int])
assert_type(charge, Step[Order, Receipt])
assert_type(look_at_the_clock, Step[Any, datetime])
assert_type(ping, Step[Any, bool])


# ---- plain functions, for the string spelling


async def fetch(name: str) -> bytes:
    """Ask somebody."""
    return name.encode()


async def fetch_for(ctx: Context[Order]) -> bytes:
    """Ask for a customer."""
    return await fetch(ctx.input.customer)


def whoever(ctx: Context[Order]) -> str:
    """Say who."""
    return ctx.input.customer


async def pick(ctx: Context[Order]) -> str:
    """Choose slowly."""
    return ctx.input.customer


async def ask_again(ctx: Context[Order]) -> bool:
    """Answer slowly."""
    return ctx[charge].cents > 1


def remember(*facts: object) -> None:
    """Look at whatever it is given."""


async def receipt_for(ctx: Context[Order]) -> Receipt:
    """Make the child's input slowly."""
    return Receipt("r", ctx.input.cents)


def build(w: Workflow[Order, None]) -> None:
    """Add a step for each carrier; a builder function may return nothing."""
    for carrier in ("ant", "bee"):
        w.step(f"ask-{carrier}", lambda ctx: ctx.input.customer)


# ---- the chain


orders = Workflow("order", input=Order, version="2", timeout=timedelta(days=1))
assert_type(orders, Workflow[Order, None])
assert_type(orders.step(reserve), Workflow[Order, int])
assert_type(orders.step(reserve).step(charge), Workflow[Order, Receipt])
assert_type(orders.step(look_at_the_clock).step(ping), Workflow[Order, bool])
assert_type(orders.step(audit), Workflow[Order, None])

assert_type(orders.step("double", lambda ctx: ctx.input.cents * 2), Workflow[Order, int])
assert_type(orders.step("hello", lambda: "hello", retry=3), Workflow[Order, str])
orders.step("fetch", lambda ctx: fetch(ctx.input.customer), timeout=3)  # mypy knows no value's type here
assert_type(orders.step("fetch", lambda: fetch("x"), retry=Retry(on=OSError)), Workflow[Order, bytes])
assert_type(orders.step("number", lambda ctx: ctx[charge].number), Workflow[Order, str])
assert_type(
    orders.step("undone", lambda ctx: 1, compensate=lambda ctx: remember(ctx.input.cents)), Workflow[Order, int]
)
assert_type(orders.step("undone", lambda ctx: 1, compensate=lambda: None), Workflow[Order, int])
assert_type(orders.step("undone", lambda: "x", compensate=lambda ctx: remember(ctx.failure)), Workflow[Order, str])
assert_type(orders.step("undone", lambda: fetch("x"), compensate=lambda: None), Workflow[Order, bytes])
assert_type(orders.step("undone", fetch_for, compensate=release), Workflow[Order, bytes])
assert_type(orders.step("undone", fetch_for, compensate=Compensation(release, timeout=3)), Workflow[Order, bytes])
assert_type(orders.step("checked", whoever, input_schema=Order, output_schema=str), Workflow[Order, str])
assert_type(orders.map("sum", lambda ctx: ctx[reserve] + ctx[charge].cents), Workflow[Order, int])
assert_type(orders.map("one", lambda: 1), Workflow[Order, int])

# ---- choices and blocks: builder functions, steps, fragments

fragment = Workflow("fragment").step("inside", lambda ctx: ctx.steps["x"]).step("more", lambda: 3)
typed_fragment = Workflow("typed", input=Order).step(pack)

chosen = (
    orders.branch(lambda ctx: "large" if ctx.input.cents > 100 else "small")
    .path("large", lambda w: w.step("ask", lambda ctx: ctx.input.customer).wait_for(approval, timeout=60))
    .path("small", audit)
    .path("fragment", fragment)
    .path("typed", typed_fragment)
    .path("several", [reserve, pack])
    .path("nothing", lambda w: w)
    .path("nested", lambda w: w.branch(lambda: "a").path("a", lambda v: v.step("v", lambda ctx: ctx.input.cents)))
    .otherwise(lambda w: w.step("say", lambda ctx: f"{ctx.input.cents}"))
)
assert_type(chosen, Workflow[Order, Any])
assert_type(orders.branch(pick, name="picked").path("x", ping), Workflow[Order, Any])

assert_type(orders.parallel(reserve, charge, ping), Workflow[Order, dict[str, Any]])
assert_type(
    orders.parallel(lambda w: w.step(reserve).step("b", lambda ctx: ctx.input)), Workflow[Order, dict[str, Any]]
)
assert_type(orders.parallel(build), Workflow[Order, dict[str, Any]])
assert_type(orders.parallel(charge, ping, race=True), Workflow[Order, dict[str, Any]])
orders.parallel(charge, ping, min_successful=1, tolerated_failures=1, fail_fast=True)
orders.for_each(lambda ctx: ctx.input.lines, pack, concurrency=3, tolerated_failures=2, fail_fast=True)
orders.for_each(lambda ctx: ctx.input.lines, "n", lambda ctx: 1, race=True, min_successful=2)
orders.step("why", lambda ctx: ctx.errors["charge"].message)
assert_type(orders.parallel(fragment, lambda w: w.sleep("nap", 3), charge), Workflow[Order, dict[str, Any]])

# ---- for_each

assert_type(orders.for_each(lambda ctx: ctx.input.lines, pack), Workflow[Order, list[str]])
assert_type(orders.for_each(lambda ctx: ctx.input.lines, "each", [pack, pack]), Workflow[Order, list[str]])
assert_type(orders.for_each(lambda ctx: list(ctx.input.lines), pack, concurrency=3), Workflow[Order, list[str]])
assert_type(
    orders.for_each(lambda ctx: ctx.input.lines, "cents", lambda ctx: ctx.input.cents), Workflow[Order, list[int]]
)
assert_type(orders.for_each(lambda ctx: ctx.input.lines, "got", fetch_for, retry=2), Workflow[Order, list[bytes]])
assert_type(orders.for_each(lambda ctx: ctx.input.lines, "ping", lambda: 1), Workflow[Order, list[Any]])
assert_type(
    orders.for_each(lambda: [1, 2], "n", lambda ctx: ctx.input.cents, max_iterations=2), Workflow[Order, list[Any]]
)
assert_type(orders.for_each(lambda: [1, 2], pack), Workflow[Order, list[Any]])
orders.for_each(
    lambda ctx: ctx.input.lines, "n", lambda ctx: 1, compensate=lambda ctx: remember(ctx.item, ctx.input.cents)
)
orders.for_each(lambda ctx: ctx.input.lines, "n", lambda ctx: 1, compensate=lambda: None, timeout=3)
assert_type(
    orders.for_each(lambda ctx: ctx.input.lines, "body", block=lambda w: w.step(charge).step(pack), concurrency=2),
    Workflow[Order, list[str]],
)
orders.for_each(lambda: range(3), "body", block=lambda w: w.step("x", lambda ctx: ctx.input.cents))

# ---- loops

assert_type(orders.do_until(lambda ctx: ctx[charge].cents > 3, charge, max_iterations=3), Workflow[Order, Receipt])
assert_type(orders.do_until(lambda ctx, turn: ctx.input.cents < turn, lambda w: w.step(reserve)), Workflow[Order, int])
assert_type(orders.do_until(lambda: True, fragment, name="once"), Workflow[Order, int])
assert_type(orders.do_while(lambda ctx: ctx.input.cents > 3, lambda w: w.step(charge)), Workflow[Order, Receipt | None])
assert_type(
    orders.do_while(lambda ctx, turn: turn < 3 and bool(ctx.input.cents), charge), Workflow[Order, Receipt | None]
)
orders.do_until(ask_again, charge).do_while(lambda: False, charge)

# ---- waits

assert_type(orders.wait_for(approval), Workflow[Order, Approval])
assert_type(orders.wait_for(approval, timeout=timedelta(days=3)), Workflow[Order, Approval])
assert_type(orders.wait_for(approval, timeout=60, on_timeout=charge), Workflow[Order, Approval | Receipt])
assert_type(orders.wait_for(approval, timeout=60, on_timeout="late"), Workflow[Order, Approval])
assert_type(orders.wait_for(anything), Workflow[Order, Any])
assert_type(orders.wait_for(approval, count=2), Workflow[Order, list[Approval]])
assert_type(orders.wait_for(approval, count=2, timeout=9, on_timeout=charge), Workflow[Order, list[Approval] | Receipt])
assert_type(orders.wait_for(approval, remind_every=60, remind=lambda ctx: ctx.input.cents), Workflow[Order, Approval])
assert_type(orders.wait_for("paid", count=2, remind_every=timedelta(days=1)), Workflow[Order, Any])
assert_type(orders.wait_any(approval, anything, "paid", timeout=60), Workflow[Order, dict[str, Any]])
assert_type(orders.wait_all(approval, "paid", remind_every=60), Workflow[Order, dict[str, Any]])
assert_type(orders.wait_for("paid", timeout=60, on_timeout=lambda w: w.step(reserve)), Workflow[Order, Any])
assert_type(orders.sleep("nap", 3).sleep("night", timedelta(hours=8)), Workflow[Order, None])
assert_type(orders.sleep_until("date", datetime(2030, 1, 1, tzinfo=UTC)), Workflow[Order, None])
assert_type(
    orders.sleep_until("soon", lambda ctx: ctx[look_at_the_clock] + timedelta(ctx.input.cents)), Workflow[Order, None]
)
assert_type(orders.sleep_until("now", lambda: datetime.now(UTC)), Workflow[Order, None])

# ---- other workflows

billing = Workflow("billing", input=Receipt).step("book", lambda ctx: ctx.input.number)
free = Workflow("free").step("x", lambda ctx: ctx.input["anything"])
assert_type(orders.sub_workflow(billing, lambda ctx: ctx[charge]), Workflow[Order, Mapping[str, Any]])
orders.sub_workflow(billing, lambda: Receipt("r", 1), as_="second")
orders.sub_workflow(billing, receipt_for)
orders.sub_workflow("billing", lambda ctx: Receipt("r", ctx.input.cents)).sub_workflow("other").sub_workflow(free)
orders.sub_workflow("billing", lambda: {"any": "thing"}).sub_workflow(free, lambda ctx: ctx.input.cents)
assert_type(orders.step(charge).pivot(), Workflow[Order, None])

# ---- the context


def looks(ctx: Context[Order]) -> None:
    """Look at everything."""
    assert_type(ctx.input, Order)
    assert_type(ctx[charge], Receipt)
    assert_type(ctx[charge].number, str)
    assert_type(ctx[approval], Approval)
    assert_type(ctx.get(charge), Receipt | None)
    assert_type(ctx.get(reserve, 0), int)
    assert_type(ctx.get(approval), Approval | None)
    assert_type(ctx.results(pack), list[str])
    assert_type(ctx.results("pack"), list[Any])
    assert_type(ctx.steps["charge"], Any)
    assert_type(ctx.index, int | Any)
    index: int = ctx.index + ctx.turn  # no check for None, where there is always a number
    assert_type(ctx.attempt, int)
    general: Context[object] = ctx  # what reads an Order reads an object
    audit(general)
    remember(index)


# ---- the engine and its runs


def drive(engine: Engine) -> None:
    """Start, signal, wait and listen."""
    run = engine.register(orders, billing).start(orders.step(charge), Order("Ada", 3), id="x", key="y", delay=3)
    assert_type(run, Run[Receipt])
    assert_type(run.result(timeout=3), Receipt)
    assert_type(run.result().number, str)
    assert_type(run.wait(timeout=3, until="waiting"), Execution)
    assert_type(engine.start(billing, Receipt("r", 1), tags={"team": "a"}, if_exists="reject").result(), str)
    assert_type(engine.start(free).result(), Any)
    assert_type(engine.start(free, {"anything": 1}).result(), Any)
    assert_type(engine.start("order", Order("Ada", 3)), Run[Any])
    assert_type(engine.run("x"), Run[Any])
    engine.start("order", at=datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(engine.schedule("daily", orders, cron="0 2 * * *", tz="Europe/Rome", input=Order("Ada", 3)), Schedule)
    engine.schedule("hourly", free, every=timedelta(hours=1), overlap="queue", catch_up="all", replace=True)
    engine.schedule("often", "order", every=60, input={"anything": 1})
    assert_type([schedule.next_at for schedule in engine.schedules()], list[datetime | None])
    assert_type(engine.trigger("daily"), Run[Any])
    engine.signal(run.id, approval, Approval("Ada", granted=True), key="once")
    engine.signal(run.id, "approval", {"by": "Ada"}, strict=False)
    engine.signal(run.id, anything)
    engine.signal(run.id, anything, 3)
    assert_type(engine.signal_where(approval, Approval("Ada", granted=True), business_key="o-1"), list[str])
    engine.signal_where("paid", tags={"region": "north"}, workflow="order", key="once")
    run.signal(approval, Approval("Ada", granted=True))
    run.signal("paid")
    run.signal(anything)
    engine.on(StepCompleted, lambda event: remember(event.step, event.attempt, event.at.year))
    engine.on("step:completed", lambda event: remember(event.step))
    engine.on(WorkflowFailed, alarm)
    engine.off(WorkflowFailed, alarm)
    engine.on_any(lambda event: remember(event.sequence))
    engine.subscribe("x", note)()
    assert_type([event for event in run.events() if isinstance(event, SignalReceived)], list[SignalReceived])
    for execution in engine.list_executions(orders.name, "failed", limit=3):
        assert_type(execution.steps["charge"].attempts, int)
    assert_type(
        engine.signal_with_start(orders, Order("Ada", 3), approval, Approval("Bob", granted=True), id="x"), Run[None]
    )
    engine.signal_with_start("orders", {}, "approval", None, key="k", key_ttl=timedelta(days=1), signal_key="s")
    engine.start(orders, Order("Ada", 3), tx=sqlite3.connect("runs.db"), key_ttl=60, key="k")
    Workflow("books").step("book", lambda ctx: bool(ctx.transaction.execute("SELECT 1")), transactional=True)
    engine.start(orders, Order("Ada", 3), key="k", debounce=timedelta(seconds=5), priority=3)
    page = engine.list_executions(state=["failed", State.CANCELLED], tags={"shop": 1}, business_key="k", order="oldest")
    assert_type(page.cursor, str | None)
    assert_type(engine.list_executions(after=page.cursor, input={"customer": "Ada"}, error="bank")[0], Execution)
    assert_type(engine.count_executions(created_after=datetime.now(UTC)), int)
    assert_type(engine.count_executions(by="state"), Mapping[State, int])
    assert_type(engine.count_executions(by="workflow", state="failed"), Mapping[str, int])
    assert_type(engine.history("x")[0], AttemptRecord)
    assert_type(engine.stats(timedelta(minutes=5)).steps[0].p95, timedelta)
    with look_at("runs.db") as database:
        assert_type(database.get_execution("x"), Execution | None)


def alarm(event: WorkflowFailed) -> None:
    """Wake somebody up."""
    remember(event.error.message if event.error else "", event.rollback)


def elsewhere() -> Engine:
    """Run steps on executors."""
    films = Workflow("films", input=Order).step(
        "pack", pack, executor="gpu", compensate=Compensation(print, executor="cpu")
    )
    return Engine(None, films, executors={"gpu": ThreadPoolExecutor(1), "cpu": lambda: ThreadPoolExecutor(1)})


def note(event: Event) -> None:
    """Write it down."""
    remember(event.type, event.workflow_name)


async def wait(engine: Engine) -> str:
    """Await a run in any event loop."""
    receipt = await engine.start(orders.step(charge), Order("Ada", 3))
    assert_type(receipt, Receipt)
    async with Engine(None, orders, durability="normal", on_event=note) as other:
        assert_type(other, Engine)
    return receipt.number


def hear(ctx: Context[Order]) -> None:
    """Look at what gates have taken, and tell how far this is."""
    assert_type(ctx.received(approval), list[Approval])
    assert_type(ctx.received("paid"), list[Any])
    assert_type(ctx.last_signal, str | None)
    ctx.progress(1, 2.5, "half")
    ctx.checkpoint({"page": 3})
    assert_type(ctx.checkpointed, Any)


orders.step("hear", hear)
