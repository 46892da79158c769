"""A box office whose own tables are in the engine's database: rows and runs stand or fall together.

A sale is one transaction of the office's: the seat is taken and the ticket's run is there, or neither is. What the run
does to the same tables is one commit with the step's result, so that the sale is in the ledger exactly once, though the
first attempt breaks off after it has written.

    seat 1: Ada
    seat 2: free, since Bob's card was refused
    seat 3: Cleo
    Dan came too late for seat 1
    runs: ticket for Ada, ticket for Cleo
    attempts to post: 2 and 1; in the ledger: seat 1, 30 EUR; seat 3, 30 EUR
    by mail: ticket 1 to Ada, ticket 2 to Cleo
"""

from __future__ import annotations

import sys
from contextlib import closing
from tempfile import TemporaryDirectory

import peewee

from perdure import Context, Engine, Execution, Retry, Run, Workflow, step

PRICE = 30
db = peewee.SqliteDatabase(None)


class Seat(peewee.Model):
    """A seat, and who sits there."""

    number = peewee.IntegerField(primary_key=True)
    guest = peewee.CharField(null=True)

    class Meta:
        """Where it is."""

        database = db


class Posting(peewee.Model):
    """A line of the ledger; it has no key, so that nothing but the transaction keeps it from being there twice."""

    text = peewee.CharField()

    class Meta:
        """Where it is."""

        database = db


class NotSoldError(Exception):
    """The seat is taken, or cannot be paid."""


@step(transactional=True, retry=Retry(attempts=3, initial=0))
def post(ctx: Context[dict[str, object]]) -> int:
    """Write the sale into the ledger; the number of the ticket is how many there are by then."""
    with ctx.transaction.using(db):
        Posting.create(text=f"seat {ctx.input['seat']}, {PRICE} EUR")
        if ctx.input["guest"] == "Ada" and ctx.attempt == 1:
            raise OSError("the printer has no paper")
        return int(Posting.select().count())


@step
def mail(ctx: Context[dict[str, object]]) -> str:
    """Send the ticket."""
    return f"ticket {ctx[post]} to {ctx.input['guest']}"


tickets = Workflow("ticket", input=dict[str, object]).step(post).step(mail)


def sell(engine: Engine, seat: int, guest: str, *, card_is_good: bool = True) -> Run[str] | None:
    """Sell a seat: all of it, or nothing; None if it is this guest's already."""
    with db.atomic():
        if not Seat.update(guest=guest).where(Seat.number == seat, Seat.guest.is_null()).execute():
            if Seat.get_by_id(seat).guest == guest:
                return None
            raise NotSoldError(f"{guest} came too late for seat {seat}")
        run = engine.start(tickets, {"seat": seat, "guest": guest}, id=f"ticket for {guest}", tx=db)
        if not card_is_good:
            raise NotSoldError(f"{guest}'s card was refused")
    return run


def drive(engine: Engine) -> tuple[dict[str, Execution], list[str]]:
    """Make the tables, and sell; what is sold already is left as it is."""
    db.create_tables([Seat, Posting])
    Seat.insert_many([{"number": number} for number in (1, 2, 3)]).on_conflict_ignore().execute()
    refused: list[str] = []
    for seat, guest, card_is_good in [(1, "Ada", True), (2, "Bob", False), (1, "Dan", True), (3, "Cleo", True)]:
        try:
            sell(engine, seat, guest, card_is_good=card_is_good)
        except NotSoldError as error:
            refused.append(str(error))
        engine.settle()  # so that tickets have the numbers that are told below
    return {run.id: engine.run(run.id).wait() for run in engine.list_executions(order="oldest")}, refused


def main() -> None:
    """Sell four tickets, and tell what is in the tables."""
    with TemporaryDirectory() as folder:
        path = sys.argv[1] if sys.argv[1:] else f"{folder}/box_office.db"
        db.init(path)
        with Engine(path, tickets) as engine, closing(db):
            ends, refused = drive(engine)
            for seat in Seat.select():
                print(f"seat {seat.number}: {seat.guest or f'free, since {refused[0]}'}")
            print(refused[1])
            print(f"runs: {', '.join(ends)}")
            attempts = " and ".join(str(end.steps["post"].attempts) for end in ends.values())
            print(f"attempts to post: {attempts}; in the ledger: {'; '.join(line.text for line in Posting.select())}")
            print(f"by mail: {', '.join(end.result for end in ends.values())}")


if __name__ == "__main__":
    main()
