"""A contract that two of three board members must approve, and who are reminded every other day until they have.

A quorum is one wait for several signals. What they are sent under, here a member's name, makes a second vote of one
member no vote at all. While the gate waits, reminders come at times that were fixed when the wait began; when the
deadline passes without a quorum, a block of its own takes over, and the votes that had come are still there.

    office lease: signed, approved by Ada and Grace, after 1 reminder
    company jet: no quorum in 7 days after 3 reminders; back to whoever asked
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import Context, Engine, Execution, ExecutionFinished, Signal, Workflow, step

LIMIT = timedelta(days=7)
VOTES = (
    (1, "office lease", "Ada"),
    (1, "company jet", "Ada"),
    (3, "office lease", "Ada"),
    (3, "office lease", "Grace"),
)
"""On which day, on what, and who."""


@dataclass(frozen=True)
class Contract:
    """What is to be signed."""

    title: str


class Office:
    """Mail sent and papers signed, by key."""

    def __init__(self) -> None:
        self.mail: dict[str, str] = {}
        self.signed: dict[str, list[str]] = {}

    def write(self, key: str, text: str) -> None:
        """Write to the board, once."""
        self.mail[key] = text

    def reminders(self, title: str) -> int:
        """Count the letters about a contract."""
        return sum(text == title for text in self.mail.values())

    def sign(self, key: str, names: list[str]) -> list[str]:
        """Sign for the company, once."""
        return self.signed.setdefault(key, names)


office = Office()
services = (office,)
vote = Signal("vote", str)


def remind(ctx: Context[Contract]) -> None:
    """Write to the members once more."""
    office.write(ctx.idempotency_key, ctx.input.title)


@step
def sign(ctx: Context[Contract]) -> str:
    """Sign in the name of those who approved."""
    names = office.sign(ctx.idempotency_key, ctx.received(vote))
    return f"signed, approved by {' and '.join(names)}, after {office.reminders(ctx.input.title)} reminder"


@step
def give_back(ctx: Context[Contract]) -> str:
    """Tell whoever asked that there is no quorum."""
    return f"no quorum in 7 days after {office.reminders(ctx.input.title)} reminders; back to whoever asked"


approvals = (
    Workflow("approval", input=Contract)
    .wait_for(
        vote,
        count=2,
        timeout=LIMIT,
        on_timeout=give_back,
        remind_every=timedelta(days=2),
        remind=remind,
    )
    .branch(lambda ctx: "approved" if ctx.received(vote) else "not approved")
    .path("approved", sign)
    .otherwise(lambda w: w.map("note", lambda ctx: ctx[give_back]))
)
workflows = (approvals,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Hand in two contracts, vote on them in the course of a week; the clock must be frozen."""
    runs = {title: engine.start(approvals, Contract(title), id=title) for title in ("office lease", "company jet")}
    engine.settle()
    begin = datetime(2026, 3, 2, 9, tzinfo=UTC)
    for day, title, member in VOTES:
        engine.advance(max(begin + timedelta(days=day) - datetime.now(UTC), timedelta(0)))
        with suppress(ExecutionFinished):
            runs[title].signal(vote, member, key=member)
        engine.settle()
    engine.advance(max(begin + LIMIT - datetime.now(UTC), timedelta(0)))
    return {title: run.wait() for title, run in runs.items()}


def main() -> None:
    """Tell what became of the contracts."""
    with (
        freeze_time("2026-03-02 09:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/board.db", *workflows) as engine,
    ):
        for title, end in drive(engine).items():
            print(f"{title}: {end.result}")


if __name__ == "__main__":
    main()
