"""The month's end at a book-keeper's: invoices paid through two banks, and every way to look for one of them.

Each bank takes one order a minute. One account is closed: its invoice goes on as a fork that knows another. Two clerks
cancel the same invoice, and hear who was first. The clock is frozen.

    paid: i-1 09:00, i-2 09:00, i-3 09:01, i-5 09:02, i-6 09:02, i-4 again 09:05
    no receipt yet: i-6, i-5
    from Rome: i-4 again, i-6, i-4, i-1
    through the South: i-4 again, i-5, i-4, i-2
    begun since 09:05: i-4 again
    page by page: i-1, i-2, i-3; i-4, i-5, i-6; i-4 again
    Eve stops i-5: True
    Bob is too late: it is cancelled
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import (
    Context,
    DuplicateExecution,
    Engine,
    Execution,
    ExecutionFinished,
    IllegalTransition,
    NonRetryable,
    Rate,
    Workflow,
    step,
)


@dataclass(frozen=True)
class Invoice:
    """Who is to be paid, and through which bank."""

    customer: str
    bank: str


INVOICES = {
    "i-1": (Invoice("Ada", "North"), "Rome"),
    "i-2": (Invoice("Bob", "South"), "Pisa"),
    "i-3": (Invoice("Cleo", "North"), "Pisa"),
    "i-4": (Invoice("Ada", "South"), "Rome"),
    "i-5": (Invoice("Bob", "South"), "Pisa"),
    "i-6": (Invoice("Dan", "North"), "Rome"),
}
LATE = datetime(2026, 3, 2, 9, 5, tzinfo=UTC)


class Banks:
    """What was paid, by key; Ada's old account is closed."""

    def __init__(self) -> None:
        self.paid: dict[str, str] = {}

    def pay(self, key: str, account: str) -> str:
        """Pay."""
        if account == "Ada's at South":
            raise NonRetryable("it is closed")
        return self.paid.setdefault(key, account)


banks = Banks()
services = (banks,)


@step
def account(ctx: Context[Invoice]) -> str:
    """Look up where to pay."""
    return f"{ctx.input.customer}'s at {ctx.input.bank}"


@step(rate=Rate(1, per=60, key="bank"))
def pay(ctx: Context[Invoice]) -> str:
    """Pay, when the bank can take another order."""
    return banks.pay(ctx.idempotency_key, ctx[account])


invoices = Workflow("invoice", input=Invoice).step(account).step(pay).wait_for("receipt")
workflows = (invoices,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Enter the invoices, one of them twice, pay them, file receipts; ids and keys make a second call harmless."""
    for name, (invoice, city) in INVOICES.items():
        engine.start(invoices, invoice, id=name, tags={"city": city})
        engine.settle()
    engine.advance(minutes=5)
    with suppress(DuplicateExecution):
        engine.start(invoices, INVOICES["i-1"][0], id="i-1", if_exists="reject")
    with suppress(DuplicateExecution):
        engine.fork("i-4", at="pay", steps={"account": "Ada's new one"}, new_id="i-4 again", by="Eve")
    for name in ("i-1", "i-2", "i-3", "i-4 again"):
        with suppress(ExecutionFinished):
            engine.signal(name, "receipt", key="filed")
    engine.settle()
    return {run.id: run for run in engine.list_executions()}


def names(runs: list[Execution]) -> str:
    """Return the ids of runs."""
    return ", ".join(run.id for run in runs)


def main() -> None:
    """Look for invoices in every way there is, and stop one."""
    with (
        freeze_time("2026-03-02 09:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/invoices.db", *workflows) as engine,
    ):
        drive(engine)
        paid = engine.list_executions("invoice", ["waiting", "completed"], order="oldest")
        print("paid:", ", ".join(f"{run.id} {run.steps['pay'].completed_at:%H:%M}" for run in paid))
        print(f"no receipt yet: {names(engine.list_executions(state='waiting'))}")
        print(f"from Rome: {names(engine.list_executions(tags={'city': 'Rome'}))}")
        print(f"through the South: {names(engine.list_executions(input={'bank': 'South'}))}")
        print(f"begun since 09:05: {names(engine.list_executions(created_after=LATE))}")
        pages = [engine.list_executions(limit=3, order="oldest")]
        while (cursor := pages[-1].cursor) is not None:
            pages.append(engine.list_executions(limit=3, order="oldest", after=cursor))
        print(f"page by page: {'; '.join(map(names, pages))}")
        for clerk in ("Eve", "Bob"):
            try:
                print(f"{clerk} stops i-5: {engine.cancel('i-5', by=clerk)}")
            except IllegalTransition as error:
                print(f"{clerk} is too late: it is {error.state}")


if __name__ == "__main__":
    main()
