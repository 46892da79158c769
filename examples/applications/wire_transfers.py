"""A payments desk whose process is stopped in the middle of everything: what becomes of a step that nobody saw end.

A transfer may have gone through, so a clerk looks into the bank's book. A cheque may be printed, so its step fails, and
is undone. A statement is printed once at most, unless somebody says so. A search stops when nobody wants it any more.

    parked in the morning: Ada, Bob
    Ada: completed, 70 EUR were sent in the evening
    Bob: completed, 20 EUR sent
      attempts of Bob's: interrupted in the evening, completed in the morning
    Cleo: failed, rollback complete; void cheques: Cleo
    statement: failed, and then completed, printed once
    Dan: cancelled in the middle of the search, which has stopped
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, Workflow, step


class Bank:
    """Its line breaks in the evening: some transfers have arrived, and nobody hears of any."""

    def __init__(self) -> None:
        self.book: dict[str, int] = {}
        self.void, self.printed = list[str](), list[str]()
        self.under_way = threading.Semaphore(0)
        self.evening = True

    async def answer(self) -> None:
        """Answer; in the evening, never."""
        self.under_way.release()
        if self.evening:
            await asyncio.Event().wait()


bank = Bank()


@step(on_interrupted="park")
async def transfer(ctx: Context[int]) -> str:
    """Send money; whether it was sent when the process died, a person has to find out."""
    if ctx.execution_id != "Bob" or not bank.evening:
        bank.book[ctx.execution_id] = ctx.input
    await bank.answer()
    return f"{ctx.input} EUR sent"


@step(on_interrupted="fail", compensate_on_failure=True)
async def print_cheque(ctx: Context[int]) -> str:
    """Print a cheque; if nobody saw it end, take it for printed."""
    await bank.answer()
    return ctx.execution_id


@print_cheque.compensate
def void_cheque(ctx: Context[int]) -> None:
    """Have it refused."""
    bank.void.append(ctx.execution_id)


@step(on_interrupted="fail")
async def print_statement(ctx: Context[int]) -> str:
    """Print a statement: at most once, unless somebody says otherwise."""
    await bank.answer()
    bank.printed.append(ctx.execution_id)
    return f"printed {'once' if len(bank.printed) == 1 else 'too often'}"


@step
def search(ctx: Context[int]) -> str:
    """Look for a name, page by page, for as long as anybody wants to know."""
    bank.under_way.release()
    while not ctx.cancelled:
        time.sleep(0.001)  # reads a page
    return "stopped"


transfers = Workflow("transfer", input=int).step(transfer)
cheques = Workflow("cheque", input=int).step(print_cheque)
statements = Workflow("statement", input=int).step(print_statement)
searches = Workflow("search", input=int).step(search).step(transfer)
workflows = (transfers, cheques, statements, searches)


def stop_in_the_evening(path: str) -> None:
    """Begin four things, and stop the process while each is under way."""
    with Engine(path, *workflows) as engine:
        engine.start(transfers, 70, id="Ada")
        engine.start(transfers, 20, id="Bob")
        engine.start(cheques, 50, id="Cleo")
        engine.start(statements, 0, id="statement")
        for _ in range(4):
            bank.under_way.acquire()
        engine.close(force=True)


def clear_up(engine: Engine) -> dict[str, Execution]:
    """See to what was left; nothing was repeated that must not be."""
    bank.evening = False
    runs = {name: engine.run(name) for name in ("Ada", "Bob", "Cleo", "statement")}
    for run in runs.values():
        run.wait(until=("waiting", "failed"))
    print(f"parked in the morning: {', '.join(sorted(incident.execution_id for incident in engine.incidents()))}")
    for incident in engine.incidents():
        if (amount := bank.book.get(incident.execution_id)) is None:
            engine.resolve(incident.execution_id, "retry", by="Eve", reason="not in the book")
        else:
            engine.resolve(incident.execution_id, "complete", result=f"{amount} EUR were sent in the evening", by="Eve")
    runs["statement"].retry(by="Eve", reason="the printer's tray was empty")
    dan = engine.start(searches, 10, id="Dan")
    for _ in range(3):  # Bob's transfer, the statement, and the search
        bank.under_way.acquire()
    dan.cancel(by="Dan")
    return {name: run.wait() for name, run in {**runs, "Dan": dan}.items()}


def main() -> None:
    """Tell what was left in the evening, and what became of it."""
    with TemporaryDirectory() as folder:
        path = sys.argv[1] if sys.argv[1:] else f"{folder}/desk.db"
        stop_in_the_evening(path)
        with Engine(path, *workflows) as engine:
            ends = clear_up(engine)
            outcomes = [attempt.outcome for attempt in engine.history("Bob")]
        print(f"Ada: {ends['Ada'].state}, {ends['Ada'].result}")
        print(f"Bob: {ends['Bob'].state}, {ends['Bob'].result}")
        print(f"  attempts of Bob's: {outcomes[0]} in the evening, {outcomes[1]} in the morning")
        print(f"Cleo: {ends['Cleo'].state}, rollback {ends['Cleo'].rollback}; void cheques: {', '.join(bank.void)}")
        print(f"statement: failed, and then {ends['statement'].state}, {ends['statement'].result}")
        print(f"Dan: {ends['Dan'].state} in the middle of the search, which has {ends['Dan'].steps['search'].result}")


if __name__ == "__main__":
    main()
