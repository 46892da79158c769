"""A support ticket: branches, one inside another, and a default for what nobody thought of.

Each ticket is read, sorted, handled by the path that fits and answered. Which path was taken is recorded, so a
restart never asks the selector again.

    refund please: 12.00 refunded
    everything is down: engineer paged, status page updated
    slow since monday: filed as bug
    love your product: passed on to a person
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, Workflow, step


@dataclass(frozen=True)
class Ticket:
    """What a customer wrote, and what the last invoice was."""

    text: str
    last_invoice: int


@dataclass(frozen=True)
class Verdict:
    """Who should look at it, and how bad it is."""

    topic: str
    severe: bool


class Desk:
    """Everything the support desk did, by key."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}

    def act(self, key: str, what: str) -> str:
        """Do something, once."""
        return self.done.setdefault(key, what)


desk = Desk()
services = (desk,)


@step
def classify(ctx: Context[Ticket]) -> Verdict:
    """Sort by keywords; a real desk would ask a model here."""
    words = set(ctx.input.text.split())
    topic = "billing" if words & {"refund", "invoice"} else "technical" if words & {"down", "slow"} else "other"
    return Verdict(topic, severe="down" in words)


@step
def refund(ctx: Context[Ticket]) -> str:
    """Pay the last invoice back."""
    return desk.act(ctx.idempotency_key, f"{ctx.input.last_invoice / 100:.2f} refunded")


@step
def page_engineer(ctx: Context[Ticket]) -> str:
    """Wake somebody up."""
    return desk.act(ctx.idempotency_key, "engineer paged")


@step
def update_status_page(ctx: Context[Ticket]) -> str:
    """Tell everybody else."""
    return desk.act(ctx.idempotency_key, "status page updated")


@step
def file_bug(ctx: Context[Ticket]) -> str:
    """Leave it to the morning."""
    return desk.act(ctx.idempotency_key, "filed as bug")


@step
def hand_over(ctx: Context[Ticket]) -> str:
    """Let a person read it."""
    return desk.act(ctx.idempotency_key, "passed on to a person")


@step
def answer(ctx: Context[Ticket]) -> str:
    """Tell the customer what was done: the results of the steps on the path that was taken."""
    handlers = (refund, page_engineer, update_status_page, file_bug, hand_over)
    return ", ".join(done for handler in handlers if (done := ctx.get(handler, "")))


tickets = (
    Workflow("ticket", input=Ticket)
    .step(classify)
    .branch(lambda ctx: ctx[classify].topic)
    .path("billing", refund)
    .path(
        "technical",
        lambda w: (
            w.branch(lambda ctx: "outage" if ctx[classify].severe else "nuisance")
            .path("outage", lambda w: w.step(page_engineer).step(update_status_page))
            .path("nuisance", file_bug)
        ),
    )
    .otherwise(hand_over)
    .step(answer)
)
workflows = (tickets,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Take four tickets at once; the texts serve as ids, which makes a second call harmless."""
    texts = ("refund please", "everything is down", "slow since monday", "love your product")
    runs = [engine.start(tickets, Ticket(text, 12_00), id=text) for text in texts]
    return {run.id: run.wait() for run in runs}


def main() -> None:
    """Print the answers."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/tickets.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for text, end in ends.items():
            print(f"{text}: {end.result}")


if __name__ == "__main__":
    main()
