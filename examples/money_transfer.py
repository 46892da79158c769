"""A money transfer: take here, give there, and never lose a cent in between.

The bank drops a repeated posting by its key, so a step that runs again after a crash moves nothing twice. A lost
connection is tried again, a refusal is not. When the target turns out to be closed, the money taken is put back.

    rent: completed, alice has 70.00, bob has 130.00
    gift: failed in credit, account 'carol' is closed
      debit undone, rollback complete
    yacht: failed in debit, account 'alice' is short of funds
      nothing to undo
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, Retry, Workflow, step


@dataclass(frozen=True)
class Transfer:
    """How much goes from where to where."""

    source: str
    target: str
    cents: int


class Refused(Exception):
    """The bank will never do this."""


class Bank:
    """Some accounts, and the postings done so far by key: a repeated key posts nothing more."""

    def __init__(self) -> None:
        self.cents = {"alice": 100_00, "bob": 100_00, "carol": 0}
        self.closed = {"carol"}
        self.postings: dict[str, int] = {}

    def post(self, key: str, account: str, cents: int) -> int:
        """Book an amount, negative to take it away, and return the new balance."""
        if key not in self.postings:
            if account in self.closed:
                raise Refused(f"account {account!r} is closed")
            if self.cents[account] + cents < 0:
                raise Refused(f"account {account!r} is short of funds")
            self.cents[account] += cents
            self.postings[key] = self.cents[account]
        return self.postings[key]


bank = Bank()
services = (bank,)
patient = Retry(attempts=5, initial=0.01, never_on=Refused)


@step(retry=patient)
def debit(ctx: Context[Transfer]) -> int:
    """Take the money; the line to this bank always fails at first."""
    if ctx.attempt == 1:
        raise ConnectionError("line dropped")
    return bank.post(ctx.idempotency_key, ctx.input.source, -ctx.input.cents)


@debit.compensate
def put_back(ctx: Context[Transfer]) -> int:
    """Post the opposite amount, under a key of its own."""
    return bank.post(f"{ctx.idempotency_key}/undo", ctx.input.source, ctx.input.cents)


@step(retry=patient)
def credit(ctx: Context[Transfer]) -> int:
    """Give the money."""
    return bank.post(ctx.idempotency_key, ctx.input.target, ctx.input.cents)


transfers = Workflow("transfer", input=Transfer).step(debit).step(credit)
workflows = (transfers,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Make three transfers, one after the other; the ids make a second call harmless."""
    orders = {
        "rent": Transfer("alice", "bob", 30_00),
        "gift": Transfer("alice", "carol", 5_00),
        "yacht": Transfer("alice", "bob", 9_000_000_00),
    }
    return {name: engine.start(transfers, order, id=name).wait() for name, order in orders.items()}


def main() -> None:
    """Tell what the bank did."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/transfers.db", *workflows) as engine,
    ):
        ends = drive(engine)
        rent = ends.pop("rent")
        alice, bob = rent.steps["debit"].result, rent.steps["credit"].result
        print(f"rent: {rent.state}, alice has {alice / 100:.2f}, bob has {bob / 100:.2f}")
        for name, end in ends.items():
            assert end.error
            print(f"{name}: {end.state} in {end.error.step}, {end.error.message}")
            undone = end.steps["debit"].compensation
            print(f"  debit undone, rollback {end.rollback}" if undone else "  nothing to undo")


if __name__ == "__main__":
    main()
