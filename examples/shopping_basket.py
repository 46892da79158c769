"""A shop that starts the right run, however often it is told: once for a message, once for a basket, once for a burst.

The first thing that Ada takes makes her basket, and what she takes later goes into it. A message that the mail server
delivers twice is one order. A product page that is saved three times in a minute is indexed once, as it was saved last.
The clock is frozen, so that the quiet after the last save is over at once.

    basket of Ada: tea, milk, bread
    the message was delivered twice: 1 order, for a teapot
    the page was saved 3 times: indexed 1 time, as 'A fine teapot'
    everything about Ada: basket, order
"""

from __future__ import annotations

import sys
from contextlib import suppress
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import Context, Engine, Execution, ExecutionFinished, Signal, Workflow, step

CHECKOUT = "checkout"


class Shop:
    """Baskets, orders and the search index; a repeated key changes nothing more."""

    def __init__(self) -> None:
        self.baskets: dict[str, str] = {}
        self.ordered: dict[str, str] = {}
        self.indexed: dict[str, str] = {}

    def add(self, key: str, thing: str) -> str:
        """Put something into a basket."""
        return self.baskets.setdefault(key, thing)

    def order(self, key: str, thing: str) -> str:
        """Order something from the supplier."""
        return self.ordered.setdefault(key, thing)

    def index(self, key: str, text: str) -> str:
        """Make a page be found."""
        return self.indexed.setdefault(key, text)


shop = Shop()
services = (shop,)
taken = Signal("taken", str)


@step
def add(ctx: Context[str]) -> str:
    """Put in what was taken last, until it is time to pay."""
    thing = ctx[taken]
    return thing if thing == CHECKOUT else shop.add(ctx.idempotency_key, thing)


basket = Workflow("basket", input=str).do_until(
    lambda ctx: ctx[taken] == CHECKOUT, lambda w: w.wait_for(taken).step(add), max_iterations=50
)
order = Workflow("order", input=str).step("order", lambda ctx: shop.order(ctx.idempotency_key, ctx.input))
index = Workflow("index", input=str).step("index", lambda ctx: shop.index(ctx.idempotency_key, ctx.input))
workflows = (basket, order, index)


def drive(engine: Engine) -> dict[str, Execution]:
    """Take, order and save; ids and keys make a second call harmless, and the clock must be frozen."""
    for number, thing in enumerate(("tea", "milk", "bread", CHECKOUT)):
        with suppress(ExecutionFinished):
            engine.signal_with_start(
                basket,
                "Ada",
                taken,
                thing,
                id="basket of Ada",
                business_key="Ada",
                signal_key=str(number),
                if_exists="return",
            )
    orders = [engine.start(order, "a teapot", key="message-17", business_key="Ada") for _ in range(2)]
    assert orders[0].id == orders[1].id
    engine.settle()  # what an earlier life has left under way comes to its end
    if not engine.count_executions("index", "completed"):
        for text in ("A tea pot", "A teapot", "A fine teapot"):
            engine.start(index, text, key="page-7", debounce=60)
    engine.advance(minutes=2)
    return {run.workflow_name: engine.run(run.id).wait() for run in engine.list_executions()}


def main() -> None:
    """Tell what was started."""
    with (
        freeze_time("2026-03-02 09:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/shop.db", *workflows) as engine,
    ):
        drive(engine)
        print(f"basket of Ada: {', '.join(shop.baskets.values())}")
        orders = engine.list_executions("order")
        print(f"the message was delivered twice: {len(orders)} order, for {orders[0].result}")
        text = engine.list_executions("index")[0].result
        print(f"the page was saved 3 times: indexed {engine.count_executions('index')} time, as {text!r}")
        about = sorted(run.workflow_name for run in engine.list_executions(business_key="Ada"))
        print(f"everything about Ada: {', '.join(about)}")


if __name__ == "__main__":
    main()
