"""A printing house: two presses that customers share in turns, a mail service that takes two letters a minute.

Ada brings three jobs before anybody else comes. A press prints one job at a time, an hour each. The customers take
turns, and nobody has both presses, so that Bob and Cleo do not wait for all of Ada's.

    printed at 09:00: Ada 1, Bob 1
    printed at 10:00: Ada 2, Cleo 1
    printed at 11:00: Ada 3
    letters left at 14:00:00, 14:00:00, 14:00:30, 14:01:00, 14:01:30
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from freezegun import freeze_time

from perdure import Concurrency, Context, Engine, Execution, Rate, Run, Workflow, step


@dataclass(frozen=True)
class Job:
    """Something to be printed."""

    customer: str
    number: int


class House:
    """The presses and the mail; a repeated key does nothing more."""

    def __init__(self) -> None:
        self.printed: dict[str, str] = {}
        self.letters: dict[str, str] = {}

    def print(self, key: str, what: str) -> str:
        """Print a job."""
        return self.printed.setdefault(key, what)

    def send(self, key: str, letter: str) -> str:
        """Send a letter."""
        return self.letters.setdefault(key, letter)


house = House()
services = (house,)


@step("print")
def print_job(ctx: Context[Job]) -> str:
    """Set it and print it; the press is busy until it has cooled down."""
    return house.print(ctx.idempotency_key, f"{ctx.input.customer} {ctx.input.number}")


@step(rate=Rate(2, per=60))
def notify(ctx: Context[list[str]]) -> str:
    """Tell a customer that everything is ready."""
    return house.send(ctx.idempotency_key, f"to {ctx.item}")


printing = (
    Workflow("printing", input=Job, concurrency=Concurrency(2, key="customer", per_key=1))
    .step(print_job)
    .sleep("cool down", 3600)
)
mailing = Workflow("mailing", input=list[str]).for_each(lambda ctx: ctx.input, notify, concurrency=5)
workflows = (printing, mailing)

JOBS = (Job("Ada", 1), Job("Ada", 2), Job("Ada", 3), Job("Bob", 1), Job("Cleo", 1))


def drive(engine: Engine) -> dict[str, Execution]:
    """Print and write letters; the ids make a second call harmless, and the clock must be frozen."""
    jobs: list[Run[Any]] = []
    for job in JOBS:
        jobs.append(engine.start(printing, job, id=f"{job.customer} {job.number}"))
        engine.settle()
    engine.advance(hours=5)
    letters = engine.start(mailing, [f"customer {number}" for number in range(1, 6)], id="letters")
    engine.settle()
    engine.advance(minutes=2)
    return {run.id: run.wait() for run in (*jobs, letters)}


def main() -> None:
    """Tell how the day went."""
    with (
        TemporaryDirectory() as folder,
        freeze_time("2026-03-02 09:00"),
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/house.db", *workflows) as engine,
    ):
        ends = drive(engine)
        printed: dict[str, list[str]] = {}
        for job in engine.list_executions("printing", order="oldest"):
            printed.setdefault(f"{job.steps['print'].started_at:%H:%M}", []).append(job.id)
        for hour, jobs in sorted(printed.items()):
            print(f"printed at {hour}: {', '.join(jobs)}")
        left = [f"{record.completed_at:%H:%M:%S}" for record in ends["letters"].steps.values()]
        print(f"letters left at {', '.join(sorted(left))}")


if __name__ == "__main__":
    main()
