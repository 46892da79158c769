"""A checkout that leaves the payment to a workflow of its own.

The child is a run like any other: it can be looked up, it survives restarts, and while it works the parent only waits.
When the parent fails after the child is done, the child is compensated too, in its place in the order.

    books: completed, receipt for 42.00, on its way
    piano: failed in ship
      undone: sub:payment, reserve
    pearls: failed in sub:payment
      undone: reserve
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, NonRetryable, Workflow, step


@dataclass(frozen=True)
class Cart:
    """What is bought, and with which card."""

    goods: str
    card: str
    cents: int
    kilos: int


@dataclass(frozen=True)
class Bill:
    """What the payment workflow needs to know."""

    card: str
    cents: int


class Acquirer:
    """Takes money in two stages, as card companies do; what was done is kept by key."""

    def __init__(self) -> None:
        self.limits = {"card-ada": 5_000_00, "card-bob": 10_00}
        self.held: dict[str, int] = {}
        self.captured: dict[str, int] = {}

    def authorise(self, key: str, card: str, cents: int) -> str:
        """Hold an amount."""
        if cents > self.limits[card]:
            raise NonRetryable("card declined")
        self.held[key] = cents
        return key

    def capture(self, hold: str) -> int:
        """Take the amount held."""
        self.captured[hold] = self.held[hold]
        return self.captured[hold]

    def undo(self, hold: str) -> None:
        """Give back what was captured or held."""
        self.captured.pop(hold, None)
        self.held.pop(hold, None)


acquirer = Acquirer()
services = (acquirer,)


@step
def authorise(ctx: Context[Bill]) -> str:
    """Hold the amount on the card."""
    return acquirer.authorise(ctx.idempotency_key, ctx.input.card, ctx.input.cents)


@authorise.compensate
def release(ctx: Context[Bill]) -> None:
    """Let go of the amount, captured or not."""
    acquirer.undo(ctx[authorise])


@step
def capture(ctx: Context[Bill]) -> str:
    """Take what was held."""
    return f"receipt for {acquirer.capture(ctx[authorise]) / 100:.2f}"


def ship(ctx: Context[Cart]) -> str:
    """Load the van."""
    if ctx.input.kilos > 100:  # noqa: PLR2004 - what two people can carry
        raise NonRetryable("too heavy for the van")
    return "on its way"


payment = Workflow("payment", input=Bill).step(authorise).step(capture)
checkout = (
    Workflow("checkout", input=Cart)
    .step("reserve", lambda ctx: f"{ctx.input.goods} set aside", compensate=lambda: None)
    .sub_workflow("payment", lambda ctx: Bill(ctx.input.card, ctx.input.cents))
    .step("ship", ship)
)
workflows = (payment, checkout)


def drive(engine: Engine) -> dict[str, Execution]:
    """Check three carts out; the ids make a second call harmless."""
    carts = [
        Cart("books", "card-ada", 42_00, kilos=3),
        Cart("piano", "card-ada", 3_000_00, kilos=300),
        Cart("pearls", "card-bob", 900_00, kilos=0),
    ]
    return {cart.goods: engine.start(checkout, cart, id=cart.goods).wait() for cart in carts}


def main() -> None:
    """Tell what became of the carts."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/checkout.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for goods, end in ends.items():
            if end.error is None:
                print(f"{goods}: {end.state}, {end.steps['sub:payment'].result['capture']}, {end.result}")
                continue
            print(f"{goods}: {end.state} in {end.error.step}")
            undone = [name for name, record in end.steps.items() if record.compensation == "completed"]
            print(f"  undone: {', '.join(reversed(undone))}")


if __name__ == "__main__":
    main()
