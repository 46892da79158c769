"""Wrong uses of the public API: mypy and pyright, both strict, reject each line that is marked, and no other.

What stands behind a mark says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perdure import Compensation, Context, Engine, Run, Signal, Workflow, step
from perdure.events import StepCompleted, WorkflowFailed


@dataclass(frozen=True)
class Order:
    """What one workflow works on."""

    cents: int


@dataclass(frozen=True)
class Ticket:
    """What another works on."""

    text: str


@dataclass(frozen=True)
class Receipt:
    """What a step returns."""

    number: str


approval = Signal("approval", Order)


@step
def charge(ctx: Context[Order]) -> Receipt:
    """Belong to orders."""
    return Receipt(ctx.input.nope)  # E: the input has no such attribute


@step(retry=3)
async def answer(ctx: Context[Ticket]) -> str:
    """Belong to tickets."""
    return ctx.input.text


@step(retrys=3)  # E: a misspelt option of @step
def misspelt(ctx: Context[Order]) -> None:
    """Say nothing."""


@step(timeout="soon")  # E: no duration
def timeless(ctx: Context[Order]) -> None:
    """Say nothing."""


@charge.compensate  # E: the undo of another workflow's step
def refund(ctx: Context[Ticket]) -> None:
    """Undo the wrong thing."""


def reads_ticket(ctx: Context[Ticket]) -> str:
    """Read a ticket."""
    return ctx.input.text


def takes_two(ctx: Context[Order], other: int) -> int:
    """Take too much."""
    return ctx.input.cents + other


# ---- steps

orders = Workflow("order", input=Order)
Workflow("order", inputs=Order)  # E: a misspelt option of a workflow
orders.step(answer)  # E: a step of another workflow's input
orders.step("read", reads_ticket)  # E: a handler of another workflow's input
orders.step("two", takes_two)  # E: a handler that takes more than the context
orders.step("nope", lambda ctx: ctx[charge].nope)  # E: the step's result has no such attribute
orders.step("nope", lambda ctx: ctx.input.nope)  # E: the input has no such attribute
orders.step("nope", lambda ctx: ctx.nope)  # E: the context has no such attribute
orders.step("nope", lambda ctx: ctx[approval].nope)  # E: the signal's payload has no such attribute
orders.step("nope", lambda ctx: ctx["charge"])  # E: a context is not asked by name
orders.step("nope", lambda ctx: ctx[charge] + 1)  # E: a receipt is no number
orders.step("pay", lambda ctx: ctx.input.cents, retrys=3)  # E: a misspelt option
orders.step("pay", lambda ctx: ctx.input.cents, retry="often")  # E: no number of attempts
orders.step("pay", lambda: 1, timeout="soon")  # E: no duration
orders.step("pay", lambda: 1, on_interrupted="ignore")  # E: nothing that can be done about a crash
orders.step("pay", lambda: 1, on_exhausted="ignore")  # E: nothing that can be done about a step that has failed
orders.step("pay", lambda: 1, compensate=reads_ticket)  # E: the undo of another workflow's input
orders.step("pay", lambda: 1, compensate=lambda ctx: ctx.input.nope)  # E: the input has no such attribute
orders.step("pay", lambda ctx: ctx.input.nope, compensate=lambda: None)  # E: the input has no such attribute
orders.step("pay", lambda: 1, compensate=Compensation(3))  # E: no function
orders.step(charge, retry=3)  # E: a step object brings its own options
orders.step("pay")  # E: no handler
orders.step("charge", charge.name)  # E: no function
orders.map("nope", lambda ctx: ctx[charge].nope)  # E: the step's result has no such attribute
orders.map("read", reads_ticket)  # E: a function of another workflow's input
orders.map("slow", lambda: 1, retry=3)  # E: a map has no attempts

# ---- choices and blocks

tickets = Workflow("ticket", input=Ticket).step(answer)
orders.branch(lambda ctx: ctx.input.nope)  # E: the input has no such attribute
orders.branch(lambda ctx: ctx.input.cents)  # E: a label is a string
orders.branch(reads_ticket)  # E: a selector of another workflow's input
orders.path("x", answer)  # E: a step of another workflow's input
orders.path("x", tickets)  # E: a fragment of another workflow's input
orders.path("x", lambda w: w.step(answer))  # E: a step of another workflow's input, in a block
orders.path("x", lambda w: w.step("y", lambda ctx: ctx.input.nope))  # E: the input has no such attribute, in a block
orders.path("x", lambda w: w.nope())  # E: a builder has no such method
orders.path("x", lambda w: w.path("y", lambda v: v.step("z", lambda ctx: ctx[charge].nope)))  # E: two blocks deep
orders.path("x", 3)  # E: no block
orders.path(3, charge)  # E: a label is a string
orders.otherwise(answer)  # E: a step of another workflow's input
orders.parallel(charge, answer)  # E: a step of another workflow's input
orders.parallel(lambda w: w.step(charge).step(answer))  # E: a step of another workflow's input, in a block
orders.parallel(charge, min_successful="all")  # E: no number
orders.parallel(charge, race=1.5)  # E: no switch
orders.parallel(charge, fail_quickly=True)  # E: a misspelt option
orders.for_each(lambda ctx: [1], "x", lambda ctx: 1, tolerated=1)  # E: a misspelt option
orders.step("why", lambda ctx: ctx.errors["charge"].nope)  # E: no such attribute
orders.parallel(lambda w: 3)  # E: a builder function returns the builder or nothing

# ---- several at once, and loops

orders.for_each(lambda ctx: ctx.input.nope, charge)  # E: the input has no such attribute
orders.for_each(lambda ctx: ctx.input.cents, charge)  # E: no list of items
orders.for_each(lambda ctx: [ctx.input.cents], answer)  # E: a step of another workflow's input
orders.for_each(lambda ctx: [ctx.input.cents], "x", lambda ctx: ctx.input.nope)  # E: the input has no such attribute
orders.for_each(lambda ctx: [ctx.input.cents], "x", lambda ctx: 1, concurrent=3)  # E: a misspelt option
orders.for_each(lambda ctx: [1], "x", lambda: 1, compensate=lambda ctx: ctx.nope)  # E: no such attribute
orders.for_each(lambda ctx: [1], "x", block=lambda w: w.step(answer))  # E: a step of another workflow
orders.do_until(lambda ctx: ctx[charge].nope, charge)  # E: the step's result has no such attribute
orders.do_until(lambda ctx, turn: ctx.input.nope < turn, charge)  # E: the input has no such attribute
orders.do_until(lambda ctx, turn: turn.nope, charge)  # E: a turn is a number
orders.do_until(reads_ticket, charge)  # E: a condition of another workflow's input
orders.do_until(lambda: True, answer)  # E: a step of another workflow's input
orders.do_until(lambda: True, charge, max_iteration=3)  # E: a misspelt option
orders.do_while(lambda ctx: ctx.input.nope, charge)  # E: the input has no such attribute
orders.do_while(lambda ctx: True, lambda w: w.step("x", lambda ctx: ctx.input.nope))  # E: the input has none

# ---- waits, and other workflows

orders.wait_for(3)  # E: no event
Engine().signal_where(approval, 1, business_keys="o-1")  # E: a misspelt filter
Engine().signal_where(3)  # E: no event
orders.wait_for(approval, count="two")  # E: no number
orders.wait_for(approval, remind_every="daily")  # E: no duration
orders.wait_for(approval, remind_every=60, remind=lambda ctx: ctx.input.nope)  # E: the input has no such attribute
orders.wait_for(approval, remind_each=60)  # E: a misspelt option
orders.wait_any(approval, 3)  # E: no event
orders.wait_any(approval, count=2)  # E: an option of wait_for
orders.wait_all(approval, timeout="soon")  # E: no duration
orders.wait_all(approval, timeout=3, on_timeout=answer)  # E: a step of another workflow's input
orders.step("tell", lambda ctx: ctx.progress("half"))  # E: no number
orders.step("tell", lambda ctx: ctx.progress(1, 2, 3))  # E: no note
orders.step("votes", lambda ctx: ctx.received(approval)[0].nope)  # E: the payload has no such attribute
orders.wait_for(approval, timeout="soon")  # E: no duration
orders.wait_for(approval, time_out=3)  # E: a misspelt option
orders.wait_for(approval, on_timeout=charge)  # E: what never times out needs no way on
orders.wait_for(approval, timeout=3, on_timeout=answer)  # E: a step of another workflow's input
orders.sleep("nap", "long")  # E: no duration
orders.sleep_until("date", 3)  # E: no point in time
orders.sleep_until("date", lambda ctx: ctx.input.cents)  # E: no point in time
orders.sub_workflow(tickets, lambda ctx: ctx.input)  # E: not the child's input
orders.sub_workflow(tickets, lambda ctx: Ticket(ctx.input.nope))  # E: the input has no such attribute
orders.sub_workflow(tickets)  # E: the child's input is missing
orders.sub_workflow(tickets, lambda ctx: Ticket("x"), as_name="y")  # E: a misspelt option

# ---- the context


def looks(ctx: Context[Order]) -> None:
    """Look in the wrong places."""
    number: int = ctx[charge].number  # E: a string
    maybe: Receipt = ctx.get(charge)  # E: perhaps there is none
    every: list[int] = ctx.results(charge)  # E: a list of receipts
    ctx.input = Order(3)  # E: nobody sets the input
    ctx.index.nope  # noqa: B018  # E: an index is a number
    answered: int = ctx[answer]  # E: a string
    del number, maybe, every, answered


# ---- the engine and its runs


def drive(engine: Engine, run: Run[Receipt]) -> None:
    """Use them wrongly."""
    engine.start(orders, Ticket("x"))  # E: another workflow's input
    engine.start(orders)  # E: the input is missing
    engine.start(orders, Order(3), identifier="x")  # E: a misspelt option
    engine.start(orders, Order(3), if_exists="replace")  # E: nothing that can be done about a duplicate
    engine.start("order", Order(3), delay="soon")  # E: no duration
    engine.start(3)  # E: no workflow
    engine.schedule("daily", orders, cron="0 2 * * *", input=Ticket("x"))  # E: another workflow's input
    engine.schedule("daily", orders, cron="0 2 * * *")  # E: the input is missing
    engine.schedule("daily", orders, crom="0 2 * * *", input=Order(3))  # E: a misspelt option
    engine.schedule("daily", "order", every="daily")  # E: no duration
    engine.schedule("daily", "order", every=60, overlap="wait")  # E: nothing a tick can do
    engine.schedule("daily", "order", every=60, catch_up="some")  # E: nothing that can be made up for
    engine.schedules()[0].nope  # noqa: B018  # E: a schedule has no such attribute
    engine.start(orders.step(charge), Order(3)).result().nope  # noqa: B018  # E: the result has no such attribute
    number: int = run.result()  # E: a receipt
    run.result(time=3)  # E: a misspelt option
    run.nope()  # E: a run has no such method
    engine.signal_with_start(orders, Ticket("x"), "go", id="x")  # E: not the workflow's input
    engine.signal_with_start(orders, Order(3), approval, Ticket("x"), id="x")  # E: not the signal's payload
    engine.start(orders, Order(3), if_exists="replace")  # E: no such policy
    engine.count_executions(by="tag")  # E: nothing that is counted by
    engine.list_executions(tag={})  # E: a misspelt filter
    engine.signal("id", approval, Ticket("x"))  # E: not the signal's payload
    engine.signal("id", approval)  # E: the payload is missing
    engine.signal("id", 3)  # E: no event
    run.signal(approval, Ticket("x"))  # E: not the signal's payload
    run.signal(approval)  # E: the payload is missing
    run.signal("approval", 3, keys="x")  # E: a misspelt option
    engine.on("step:complete", lambda event: None)  # E: a misspelt event
    engine.off("workflow:finished", alarm)  # E: a misspelt event
    engine.on(StepCompleted, lambda event: event.nope)  # E: the event has no such field
    engine.on(StepCompleted, alarm)  # E: a listener for another event
    engine.on(Order, lambda event: None)  # E: no event
    engine.on_any(alarm)  # E: a listener for one event only
    Engine(None, orders, durabilty="full")  # E: a misspelt option
    Engine(None, orders, durability="some")  # E: no such durability
    Engine(None, charge)  # E: no workflow
    Engine(None, orders, executors={"gpu": 4})  # E: no executor
    when: datetime = engine.next_deadline()  # E: perhaps there is none
    del number, when


async def wait(engine: Engine) -> None:
    """Await the wrong type."""
    number: int = await engine.start(orders.step(charge), Order(3))  # E: a receipt
    del number


def alarm(event: WorkflowFailed) -> str:
    """Read the error."""
    return event.error.message  # E: there may be none
