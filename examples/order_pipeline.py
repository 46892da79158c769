"""An order pipeline: a saga that undoes itself, and notifications side by side.

Stock is reserved, the card is charged, a parcel is booked. When the carrier refuses, money and goods go back, last step
first. Once the parcel is booked, the pivot says that nothing is undone any more, and three messages go out in parallel.

    order-ada: completed
      ships as parcel-for-Ada; told customer, warehouse, accounting
    order-neptune: failed in book_parcel, no deliveries to Atlantis
      undone: charge_card, reserve_stock; rollback complete
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, NonRetryable, Retry, Workflow, step


@dataclass(frozen=True)
class Order:
    """What the customer wants, and where to."""

    customer: str
    city: str
    kettles: int
    cents: int


class Shop:
    """Reservations, till and outbox, by key: a repeat changes nothing."""

    def __init__(self) -> None:
        self.reserved: dict[str, int] = {}
        self.till: dict[str, int] = {}
        self.outbox: dict[str, str] = {}

    def reserve(self, key: str, kettles: int) -> str:
        """Take goods off the shelf."""
        self.reserved[key] = kettles
        return key

    def release(self, reservation: str) -> None:
        """Put the goods back."""
        self.reserved.pop(reservation, None)

    def charge(self, key: str, cents: int) -> str:
        """Take money from the card."""
        self.till[key] = cents
        return key

    def refund(self, charge: str) -> None:
        """Give the money back."""
        self.till.pop(charge, None)

    def send(self, key: str, recipient: str, text: str) -> str:
        """Send a message."""
        self.outbox[key] = f"{recipient}: {text}"
        return recipient


shop = Shop()
services = (shop,)


@step
def reserve_stock(ctx: Context[Order]) -> str:
    """Reserve the goods."""
    return shop.reserve(ctx.idempotency_key, ctx.input.kettles)


@reserve_stock.compensate
def release_stock(ctx: Context[Order]) -> None:
    """Put the goods back on the shelf."""
    shop.release(ctx[reserve_stock])


@step(retry=Retry(attempts=5, initial=0.1), timeout=15)
def charge_card(ctx: Context[Order]) -> str:
    """Take the money; the key makes a repeated attempt harmless."""
    return shop.charge(ctx.idempotency_key, ctx.input.cents)


@charge_card.compensate
def refund_card(ctx: Context[Order]) -> None:
    """Give the money back."""
    shop.refund(ctx[charge_card])


@step
def book_parcel(ctx: Context[Order]) -> str:
    """Ask the carrier; an address it does not serve gets no better by asking again."""
    if ctx.input.city == "Atlantis":
        raise NonRetryable("no deliveries to Atlantis")
    return f"parcel-for-{ctx.input.customer}"


orders = (
    Workflow("order", input=Order)
    .step(reserve_stock)
    .step(charge_card)
    .step(book_parcel)
    .pivot()
    .parallel(
        lambda w: (
            w.step("customer", lambda ctx: shop.send(ctx.idempotency_key, "customer", ctx[book_parcel]))
            .step("warehouse", lambda ctx: shop.send(ctx.idempotency_key, "warehouse", "pack it"))
            .step("accounting", lambda ctx: shop.send(ctx.idempotency_key, "accounting", "book it"))
        )
    )
)
workflows = (orders,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Place two orders and wait for their ends; the ids make a second call harmless."""
    ada = engine.start(orders, Order("Ada", "London", 2, 59_80), id="order-ada")
    neptune = engine.start(orders, Order("Neptune", "Atlantis", 1, 29_90), id="order-neptune")
    return {run.id: run.wait() for run in (ada, neptune)}


def main() -> None:
    """Tell what became of both orders."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/orders.db", *workflows) as engine,
    ):
        ends = drive(engine)
        ada, neptune = ends["order-ada"], ends["order-neptune"]
        told = ", ".join(ada.steps[name].result for name in ("customer", "warehouse", "accounting"))
        print(f"order-ada: {ada.state}\n  ships as {ada.steps['book_parcel'].result}; told {told}")
        undone = [name for name, record in neptune.steps.items() if record.compensation == "completed"]
        assert neptune.error
        print(f"order-neptune: {neptune.state} in {neptune.error.step}, {neptune.error.message}")
        print(f"  undone: {', '.join(reversed(undone))}; rollback {neptune.rollback}")


if __name__ == "__main__":
    main()
