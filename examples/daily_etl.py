"""A nightly extract, transform, load: watched through events, and tidied up by age.

A listener counts what happens and another one raises the alarm; both are called after the fact is on disk. Three nights
pass at once because the clock is frozen (the `freezegun` package) and the engine moves it from deadline to deadline.

    alarm: etl-2026-03-02, source 'web' sent nothing
    etl-2026-03-01: 3 rows loaded, 1 dropped
    etl-2026-03-02: failed
    etl-2026-03-03: 4 rows loaded, 0 dropped
    workflow:completed x 2
    workflow:failed x 1
    step:completed x 12
    archived 2, still listed: etl-2026-03-03
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import Context, Engine, Execution, NonRetryable, Workflow, events, step


@dataclass(frozen=True)
class Night:
    """Which day's data is to be loaded."""

    date: str


@dataclass(frozen=True)
class Load:
    """What a night brought."""

    loaded: int
    dropped: int


class Systems:
    """Two sources to read from, and a warehouse where a repeated key replaces its rows."""

    def __init__(self) -> None:
        self.exports = {
            "2026-03-01": {"shop": ["2.50", "4.00", "free"], "web": ["1.25"]},
            "2026-03-02": {"shop": ["3.00"], "web": []},
            "2026-03-03": {"shop": ["5.00", "6.75"], "web": ["0.80", "9.99"]},
        }
        self.tables: dict[str, list[float]] = {}

    def read(self, date: str, source: str) -> list[str]:
        """Fetch a day's export."""
        return self.exports[date][source]

    def write(self, key: str, amounts: list[float]) -> int:
        """Replace what this key wrote before."""
        self.tables[key] = amounts
        return len(amounts)


systems = Systems()
services = (systems,)


@step(timeout=3600)
def extract(ctx: Context[Night]) -> dict[str, list[str]]:
    """Fetch the export of every source."""
    return {source: systems.read(ctx.input.date, source) for source in ("shop", "web")}


def clean(ctx: Context[Night]) -> list[float]:
    """Drop the rows of one source that hold no amount; an empty export is a fault of the source."""
    rows = ctx[extract][ctx.item]
    if not rows:
        raise NonRetryable(f"source {ctx.item!r} sent nothing")
    return [float(row) for row in rows if row.replace(".", "").isdigit()]


@step
def load(ctx: Context[Night]) -> Load:
    """Write everything in one go."""
    amounts: list[float] = ctx.steps["merged"]
    loaded = systems.write(ctx.idempotency_key, amounts)
    return Load(loaded, sum(map(len, ctx[extract].values())) - loaded)


etl = (
    Workflow("etl", input=Night)
    .step(extract)
    .for_each(lambda ctx: list(ctx[extract]), "clean", clean)
    .map("merged", lambda ctx: [amount for amounts in ctx.results("clean") for amount in amounts])
    .step(load)
)
workflows = (etl,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Let three nights pass; the clock must be frozen."""
    ends: dict[str, Execution] = {}
    for date in ("2026-03-01", "2026-03-02", "2026-03-03"):
        run = engine.start(etl, Night(date), id=f"etl-{date}", tags={"team": "data"})
        ends[run.id] = run.wait()
        engine.advance(days=1)
    return ends


def alarm(event: events.WorkflowFailed) -> None:
    """Wake somebody up."""
    print(f"alarm: {event.execution_id}, {event.error.message if event.error else 'no reason given'}")


def main() -> None:
    """Watch three nights, then keep only the last one at hand."""
    seen: Counter[str] = Counter()
    with (
        freeze_time("2026-03-02 02:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/etl.db", *workflows) as engine,
    ):
        engine.on(events.WorkflowFailed, alarm)
        engine.on_any(lambda event: seen.update([event.type]))
        ends = drive(engine)
        archived = engine.archive(timedelta(hours=36))
        listed = [execution.id for execution in engine.list_executions("etl")]
        for name, end in ends.items():
            result: Load | None = end.result
            print(f"{name}: " + (f"{result.loaded} rows loaded, {result.dropped} dropped" if result else end.state))
        for kind in ("workflow:completed", "workflow:failed", "step:completed"):
            print(f"{kind} x {seen[kind]}")
        print(f"archived {archived}, still listed: {', '.join(listed)}")


if __name__ == "__main__":
    main()
