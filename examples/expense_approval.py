"""An expense claim that must be approved within three days.

A deadline is a point in time, fixed when the wait begins: it also passes while the process is down. What happens when
nobody answers is a block of its own. Here the clock is frozen (the `freezegun` package), so that three days pass at
once: the engine moves it from deadline to deadline and does what falls due, exactly as it would in real time.

    train ticket: paid 80.00, approved by Ada
    golden pen: refused by Ada; budget released, rollback complete
    office plant: nobody answered in 3 days, passed on to the head of finance
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryDirectory

from freezegun import freeze_time

from perdure import Context, Engine, Execution, ExecutionFinished, NonRetryable, Signal, Workflow, step

LIMIT = timedelta(days=3)


@dataclass(frozen=True)
class Claim:
    """What was bought, and for how much."""

    what: str
    cents: int


@dataclass(frozen=True)
class Answer:
    """What the line manager says."""

    manager: str
    approved: bool


class Finance:
    """Budget held, money paid and mail sent, by key."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.paid: dict[str, int] = {}
        self.mail: dict[str, str] = {}

    def hold(self, key: str, cents: int) -> str:
        """Set part of the budget aside."""
        self.held[key] = cents
        return key

    def release(self, hold: str) -> None:
        """Make it available again."""
        self.held.pop(hold, None)

    def pay(self, key: str, hold: str) -> int:
        """Pay out what was set aside, once."""
        return self.paid.setdefault(key, self.held[hold])

    def write(self, key: str, to: str) -> str:
        """Ask somebody to look at it."""
        self.mail[key] = to
        return to


finance = Finance()
services = (finance,)
answer = Signal("answer", Answer)


@step
def hold_budget(ctx: Context[Claim]) -> str:
    """Set the amount aside until there is an answer."""
    return finance.hold(ctx.idempotency_key, ctx.input.cents)


@hold_budget.compensate
def release_budget(ctx: Context[Claim]) -> None:
    """Make it available again."""
    finance.release(ctx[hold_budget])


@step
def escalate(ctx: Context[Claim]) -> str:
    """Write to somebody further up."""
    return finance.write(ctx.idempotency_key, "the head of finance")


@step
def pay(ctx: Context[Claim]) -> str:
    """Pay the employee, or stop here."""
    if not ctx[answer].approved:
        raise NonRetryable(f"refused by {ctx[answer].manager}")
    cents = finance.pay(ctx.idempotency_key, ctx[hold_budget])
    return f"paid {cents / 100:.2f}, approved by {ctx[answer].manager}"


claims = (
    Workflow("claim", input=Claim)
    .step(hold_budget)
    .wait_for(answer, timeout=LIMIT, on_timeout=escalate)
    .branch(lambda ctx: "answered" if ctx.get(answer) else "unanswered")
    .path("answered", pay)
    .path("unanswered", lambda w: w.map("note", lambda ctx: f"nobody answered in 3 days, passed on to {ctx[escalate]}"))
)
workflows = (claims,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Hand in three claims, answer two, let the time pass; the clock must be frozen."""
    bought = ("train ticket", "golden pen", "office plant")
    runs = {what: engine.start(claims, Claim(what, 80_00), id=what) for what in bought}
    for what, approved in {"train ticket": True, "golden pen": False}.items():
        with suppress(ExecutionFinished):
            runs[what].signal(answer, Answer("Ada", approved), key="the-answer")
    engine.advance(LIMIT)
    return {what: run.wait() for what, run in runs.items()}


def main() -> None:
    """Tell what became of the claims."""
    with (
        freeze_time("2026-03-02 09:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/claims.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for what, end in ends.items():
            if end.error is None:
                print(f"{what}: {end.result}")
            else:
                print(f"{what}: {end.error.message}; budget released, rollback {end.rollback}")


if __name__ == "__main__":
    main()
