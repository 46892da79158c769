"""The demo's shop: what an order does, and the world it does it to.

The world is files in a folder, because they outlive a process that is killed, and because anyone can count them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..dsl.context import Context
from ..dsl.policies import Retry
from ..dsl.signals import Signal
from ..dsl.workflow import Workflow

__all__ = ["APPROVAL", "Order", "Shop", "large_orders", "orders"]

APPROVAL: Signal[str] = Signal("approval", str)
_SOON = Retry(attempts=3, initial=0.3, jitter=0)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to buy."""

    item: str
    cents: int


class Shop:
    """A shelf, a payment service with a ledger, and a note of every call.

    Each step returns the name of the file it made, so that its undo knows what to remove.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls.txt"
        for name in ("shelf", "ledger"):
            (folder / name).mkdir(exist_ok=True)

    def reserve(self, ctx: Context[Order]) -> str:
        """Put the goods aside."""
        self._note_call(ctx)
        (self._folder / "shelf" / ctx.execution_id).write_text(ctx.input.item)
        return f"shelf/{ctx.execution_id}"

    def release(self, ctx: Context[Order]) -> None:
        """Put the goods back."""
        self._note_call(ctx)
        (self._folder / ctx.result).unlink(missing_ok=True)

    def charge(self, ctx: Context[Order]) -> str:
        """Ask the payment service for the money; it knows a request that it has seen before by its key."""
        self._note_call(ctx)
        payment = f"ledger/{ctx.idempotency_key}"
        if not (self._folder / payment).exists():
            (self._folder / payment).write_text(str(ctx.input.cents))
        return payment

    def refund(self, ctx: Context[Order]) -> None:
        """Give the money back."""
        self._note_call(ctx)
        (self._folder / ctx.result).unlink(missing_ok=True)

    def ship(self, ctx: Context[Order]) -> str:
        """Hand the parcel over."""
        self._note_call(ctx)
        return f"a {ctx.input.item} is on its way"

    def _note_call(self, ctx: Context[Order]) -> None:
        with self._calls.open("a") as calls:
            calls.write(f"{ctx.idempotency_key}\n")

    def calls(self, order: str) -> list[str]:
        """Return the key of every call that was made for an order."""
        return [call for call in self._calls.read_text().split() if call.startswith(f"{order}:")]

    def payments(self, order: str) -> list[str]:
        """Return the payments for an order that are in the ledger."""
        return [payment.name for payment in (self._folder / "ledger").glob(f"{order}:*")]

    def reservations(self, order: str) -> list[str]:
        """Return what stands on the shelf for an order."""
        return [reservation.name for reservation in (self._folder / "shelf").glob(order)]


def orders(shop: Shop) -> Workflow[Order, str]:
    """Build the workflow of an order."""
    return (
        Workflow("order", input=Order)
        .step("reserve", shop.reserve, compensate=shop.release)
        .step("charge", shop.charge, compensate=shop.refund, retry=_SOON)
        .step("ship", shop.ship)
    )


def large_orders(shop: Shop) -> Workflow[Order, str]:
    """Build the workflow of an order that somebody has to approve before it is paid."""
    return (
        Workflow("large-order", input=Order)
        .step("reserve", shop.reserve, compensate=shop.release)
        .wait_for(APPROVAL, timeout=timedelta(days=3))
        .step("charge", shop.charge, compensate=shop.refund, retry=_SOON)
        .step("ship", shop.ship)
    )
