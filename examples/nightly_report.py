"""A nightly report on a schedule: in local time, over a change of the clocks, and without ever running twice at once.

The schedule is a row in the database: restarts keep it, and several processes on one file share it. Four nights pass
at once because the clock is frozen (the `freezegun` package) and the engine moves it from deadline to deadline. In the
second of them clocks go from 2:00 to 3:00, so that 2:30 does not exist; in the third the archive takes a day and more.

    planned: Sat 02:30 +01:00, Sun 03:00 +02:00, Mon 02:30 +02:00, Tue 02:30 +02:00
    report@2026-03-28T01:30:00Z: 2 sales, 30.00
    report@2026-03-29T01:00:00Z: 3 sales, 42.50
    report@2026-03-30T00:30:00Z: 1 sales, 7.00
    3 runs, 1 skipped, next on Wed 02:30 +02:00
    mailed: 3
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import Context, Engine, Execution, Schedule, Workflow, step

NIGHTS = timedelta(days=4)


@dataclass(frozen=True)
class Shop:
    """Whose sales are reported."""

    name: str


@dataclass(frozen=True)
class Report:
    """What a day brought."""

    sales: int
    total: float


class Till:
    """Gives out a day's sales; whoever asks with a key it has seen gets the same again."""

    def __init__(self) -> None:
        self.days = [[10.0, 20.0], [12.5, 12.5, 17.5], [7.0], [99.0]]
        self.given: dict[str, list[float]] = {}

    def sales(self, key: str) -> list[float]:
        """Return the sales of the next day that was not asked for."""
        return self.given.setdefault(key, self.days[len(self.given) % len(self.days)])


class Postman:
    """Sends each letter once, however often it is handed over."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = {}

    def send(self, key: str, text: str) -> None:
        """Send a letter."""
        self.sent[key] = text


till, postman = Till(), Postman()
services = (till, postman)


@step(retry=5)
def collect(ctx: Context[Shop]) -> list[float]:
    """Read the till."""
    return till.sales(ctx.idempotency_key)


@step
def mail(ctx: Context[Shop]) -> Report:
    """Send the figures to the owner."""
    report = Report(len(ctx[collect]), sum(ctx[collect]))
    postman.send(ctx.idempotency_key, f"{ctx.input.name}: {report.sales} sales, {report.total:.2f}")
    return report


def until_archived(ctx: Context[Shop]) -> datetime:
    """Tell when the archive has the figures: at once, but for a day with a single sale."""
    return datetime.now(UTC) + (timedelta(hours=30) if len(ctx[collect]) == 1 else timedelta(0))


report = Workflow("report", input=Shop).step(collect).sleep_until("archive", until_archived).step(mail)
workflows = (report,)


def plan(engine: Engine) -> Schedule:
    """Do the same at every start of the program: the first call makes the schedule, the others find it."""
    return engine.schedule("report", report, cron="30 2 * * *", tz="Europe/Rome", input=Shop("Luigi"), overlap="skip")


def drive(engine: Engine) -> list[Execution]:
    """Let four nights pass from when the schedule was made; the clock must be frozen."""
    engine.advance(max(plan(engine).created_at + NIGHTS - datetime.now(UTC), timedelta(0)))
    return list(reversed(engine.list_executions("report")))


def shown(moment: datetime) -> str:
    """Return a day, the time on its clocks and their offset."""
    return f"{moment:%a %H:%M} {moment.isoformat()[-6:]}"


def main() -> None:
    """Plan, let the nights pass, and look at what has come of it."""
    with (
        freeze_time("2026-03-27 12:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/reports.db", *workflows) as engine,
    ):
        print(f"planned: {', '.join(map(shown, plan(engine).upcoming(4)))}")
        for run in drive(engine):
            print(f"{run.id}: {run.result.sales} sales, {run.result.total:.2f}")
        [nightly] = engine.schedules()
        assert nightly.next_at
        print(f"{nightly.runs} runs, {nightly.skipped} skipped, next on {shown(nightly.next_at)}")
        print(f"mailed: {len(postman.sent)}")


if __name__ == "__main__":
    main()
