"""An order desk after an outage: the carrier was down all night, and four orders wait for somebody to decide.

A step that fails for good would undo its order and give the money back. Here it is parked instead: an incident that
waits for the desk. In the morning one order is tried again, one was fetched by its customer, so that shipping is
skipped, one had a wrong address and goes on as a fork with the right one, and one is given up, and undone.

    parked in the morning: lamp, chair, piano, stove
    lamp: completed, lamp shipped to Rome, nothing to undo
    chair: completed, fetched by the customer, nothing to undo
    piano: cancelled, no result, nothing undone
    piano-2: completed, piano shipped to Pisa, nothing to undo
    stove: failed, no result, charge undone
    on file for chair: skip by Ada, the customer came by
    on file for piano: terminate by Ada, wrong address
    on file for piano: fork by Ada, it is Pisa
    charged once each: lamp, chair, piano-2
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, DuplicateExecution, Engine, Execution, IllegalTransition, Retry, Workflow, step


@dataclass(frozen=True)
class Order:
    """What is sold, and where it goes."""

    item: str
    address: str


class Till:
    """Payments by key, so that a repeated one changes nothing."""

    def __init__(self) -> None:
        self.paid: dict[str, str] = {}

    def charge(self, key: str, item: str) -> str:
        """Take the money."""
        self.paid[key] = item
        return key

    def refund(self, key: str) -> None:
        """Give it back."""
        self.paid.pop(key, None)


class Carrier:
    """Down until somebody mends it; knows what was shipped under which key."""

    def __init__(self) -> None:
        self.down = True
        self.shipped: dict[str, str] = {}

    def ship(self, key: str, item: str, address: str) -> str:
        """Take a parcel, if the line is up."""
        if self.down:
            msg = "the carrier does not answer"
            raise ConnectionError(msg)
        self.shipped[key] = f"{item} shipped to {address}"
        return self.shipped[key]

    def mend(self) -> None:
        """Come back."""
        self.down = False


till, carrier = Till(), Carrier()
services = (till, carrier)


@step
def charge(ctx: Context[Order]) -> str:
    """Take the money."""
    return till.charge(ctx.idempotency_key, ctx.input.item)


@charge.compensate
def refund(ctx: Context[Order]) -> None:
    """Give back what was taken by this very step."""
    till.refund(ctx.result)


@step(retry=Retry(attempts=2, initial=0.01))
def ship(ctx: Context[Order]) -> str:
    """Hand the parcel over; when that fails for good, a person decides."""
    return carrier.ship(ctx.idempotency_key, ctx.input.item, ctx.input.address)


orders = (
    Workflow("order", input=Order, on_exhausted="park").step(charge).step(ship).map("receipt", lambda ctx: ctx[ship])
)
workflows = (orders,)
night = {"lamp": "Rome", "chair": "Bari", "piano": "Piza", "stove": "Turin"}


def drive(engine: Engine) -> dict[str, Execution]:
    """Take four orders at night, and see to them in the morning; what was done already is refused, and left."""
    for item, address in night.items():
        order = engine.start(orders, Order(item, address), id=item)
        order.wait(until=("waiting", "completed", "cancelled", "failed"))
    carrier.mend()
    lamps = [incident for incident in engine.incidents() if incident.execution_id == "lamp"]
    engine.resolve(lamps, "retry", by="Ada", reason="the carrier is back")
    with suppress(IllegalTransition):
        engine.skip("chair", "ship", result="fetched by the customer", by="Ada", reason="the customer came by")
    with suppress(IllegalTransition):
        engine.terminate("piano", by="Ada", reason="wrong address")
    with suppress(DuplicateExecution):
        engine.fork("piano", at="ship", input=Order("piano", "Pisa"), new_id="piano-2", by="Ada", reason="it is Pisa")
    with suppress(IllegalTransition):
        engine.resolve("stove", "fail", by="Ada", reason="sold out")
    return {name: engine.run(name).wait() for name in ("lamp", "chair", "piano", "piano-2", "stove")}


def main() -> None:
    """Tell what the desk found, what it did, and how each order ended."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/orders.db", *workflows) as engine,
    ):
        ends = drive(engine)
        print(f"parked in the morning: {', '.join(night)}")
        for name, end in ends.items():
            undone = {"complete": "charge undone", "none": "nothing undone", None: "nothing to undo"}[end.rollback]
            print(f"{name}: {end.state}, {end.result or 'no result'}, {undone}")
        for name in ("chair", "piano"):
            for entry in engine.audit(name):
                print(f"on file for {name}: {entry.verb} by {entry.by}, {entry.reason}")
        kept = [end for end in ends.values() if not end.steps["charge"].compensation]
        print(f"charged once each: {', '.join({end.steps['charge'].result: end.id for end in kept}.values())}")


if __name__ == "__main__":
    main()
