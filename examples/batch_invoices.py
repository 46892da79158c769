"""A batch of invoices: one step per customer with `for_each`, and the sums with `map`.

Invoices are written one after another, since their numbers must have no gaps, and mailed three at a time. When one
cannot be written, those before it are voided, last first; after a crash the batch goes on with the customer it was at.

    march: completed, 3 invoices over 96.50
      mailed to acme, binford, cyberdyne
    april: failed at invoice:2, no address for dharma
      voided: INV-april-2, INV-april-1
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, NonRetryable, Workflow, step


@dataclass(frozen=True)
class Period:
    """The month to be billed."""

    month: str


@dataclass(frozen=True)
class Usage:
    """What a customer has used."""

    customer: str
    cents: int


@dataclass(frozen=True)
class Invoice:
    """A numbered demand for money."""

    number: str
    customer: str
    cents: int


class Books:
    """Usage to be billed, addresses, and the books; a repeated key writes nothing more."""

    def __init__(self) -> None:
        self.usage = {
            "march": {"acme": 40_00, "binford": 12_50, "cyberdyne": 44_00},
            "april": {"acme": 38_00, "binford": 12_50, "dharma": 8_00, "cyberdyne": 41_00},
        }
        self.addresses = ["acme", "binford", "cyberdyne"]
        self.written: dict[str, str] = {}
        self.mailed: dict[str, str] = {}

    def write(self, key: str, number: str) -> None:
        """Enter an invoice."""
        self.written[key] = number

    def void(self, key: str, number: str) -> None:
        """Enter its reversal."""
        self.written[key] = f"void {number}"

    def mail(self, key: str, customer: str) -> str:
        """Put it in the post."""
        self.mailed[key] = customer
        return customer


books = Books()
services = (books,)


@step
def load_usage(ctx: Context[Period]) -> list[Usage]:
    """Read the meters."""
    return [Usage(customer, cents) for customer, cents in books.usage[ctx.input.month].items()]


@step
def invoice(ctx: Context[Period]) -> Invoice:
    """Write one customer's invoice."""
    usage: Usage = ctx.item
    if usage.customer not in books.addresses:
        raise NonRetryable(f"no address for {usage.customer}")
    number = f"INV-{ctx.input.month}-{ctx.steps['__index'] + 1}"
    books.write(ctx.idempotency_key, number)
    return Invoice(number, usage.customer, usage.cents)


@invoice.compensate
def void_invoice(ctx: Context[Period]) -> None:
    """Reverse it: books are never erased."""
    books.void(ctx.idempotency_key, ctx[invoice].number)


billing = (
    Workflow("billing", input=Period)
    .step(load_usage)
    .for_each(lambda ctx: ctx[load_usage], invoice)
    .map("total", lambda ctx: sum(written.cents for written in ctx.results(invoice)))
    .for_each(
        lambda ctx: ctx.results(invoice),
        "mail",
        lambda ctx: books.mail(ctx.idempotency_key, ctx.item.customer),
        concurrency=3,
    )
)
workflows = (billing,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Bill two months; the ids make a second call harmless."""
    return {month: engine.start(billing, Period(month), id=month).wait() for month in ("march", "april")}


def main() -> None:
    """Tell what was billed."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/billing.db", *workflows) as engine,
    ):
        ends = drive(engine)
        march, april = ends["march"], ends["april"]
        mailed = [record.result for name, record in march.steps.items() if name.startswith("mail:")]
        print(f"march: {march.state}, {len(mailed)} invoices over {march.steps['total'].result / 100:.2f}")
        print(f"  mailed to {', '.join(sorted(mailed))}")
        assert april.error
        print(f"april: {april.state} at {april.error.step}, {april.error.message}")
        voided = [record.result.number for record in april.steps.values() if record.compensation == "completed"]
        print(f"  voided: {', '.join(reversed(voided))}")


if __name__ == "__main__":
    main()
