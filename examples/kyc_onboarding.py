"""Know your customer: three checks side by side, a risk score, and a path for each level of risk.

Low risk opens an account at once, high risk ends in a refusal, and what lies between waits for an officer. Checks that
ran are recorded: when the officer answers a week later, nobody is screened again.

    Ada: low risk, account open
    Boris: medium risk, account open after review by officer Olga
    Clyde: medium risk, refused by officer Olga
    Dr No: high risk, refused
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, ExecutionFinished, Signal, Workflow, step


@dataclass(frozen=True)
class Applicant:
    """Who wants an account."""

    name: str
    passport: str
    country: str


@dataclass(frozen=True)
class Decision:
    """What the compliance officer says."""

    officer: str
    accept: bool


class Registry:
    """Passports, a sanctions list, remote countries, and the accounts opened so far by key."""

    def __init__(self) -> None:
        self.passports = {"Ada": "P-100", "Boris": "P-200", "Clyde": "P-300", "Dr No": "P-007"}
        self.sanctioned = ["Dr No"]
        self.remote = ["Freedonia"]
        self.accounts: dict[str, str] = {}

    def open(self, key: str, name: str) -> None:
        """Open an account."""
        self.accounts[key] = name


registry = Registry()
services = (registry,)
decision = Signal("decision", Decision)


@step(retry=5, timeout=30)
def verify_identity(ctx: Context[Applicant]) -> bool:
    """Ask the passport office."""
    return registry.passports.get(ctx.input.name) == ctx.input.passport


@step(retry=5, timeout=30)
def screen_sanctions(ctx: Context[Applicant]) -> bool:
    """Look the name up on the sanctions list; true is clean."""
    return ctx.input.name not in registry.sanctioned


@step(retry=5, timeout=30)
def rate_country(ctx: Context[Applicant]) -> int:
    """Ask how risky the country is, from 0 to 100."""
    return 60 if ctx.input.country in registry.remote else 10


def assess(ctx: Context[Applicant]) -> str:
    """Weigh what the three checks said."""
    if not (ctx[verify_identity] and ctx[screen_sanctions]):
        return "high"
    return "medium" if ctx[rate_country] >= 50 else "low"  # noqa: PLR2004 - half of the scale


@step
def open_account(ctx: Context[Applicant]) -> str:
    """Welcome the customer."""
    registry.open(ctx.idempotency_key, ctx.input.name)
    return "account open" + (f" after review by officer {ctx[decision].officer}" if ctx.get(decision) else "")


@step
def refuse(ctx: Context[Applicant]) -> str:
    """Say no."""
    return f"refused by officer {ctx[decision].officer}" if ctx.get(decision) else "refused"


onboarding = (
    Workflow("onboarding", input=Applicant)
    .parallel(verify_identity, screen_sanctions, rate_country)
    .map("risk", assess)
    .branch(lambda ctx: ctx.steps["risk"])
    .path("low", open_account)
    .path(
        "medium",
        lambda w: (
            w.wait_for(decision)
            .branch(lambda ctx: "accept" if ctx[decision].accept else "refuse")
            .path("accept", open_account)
            .path("refuse", refuse)
        ),
    )
    .path("high", refuse)
)
workflows = (onboarding,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Take four applicants at once, then decide on two; ids and keys make a second call harmless."""
    countries = {"Ada": "Ruritania", "Boris": "Freedonia", "Clyde": "Freedonia", "Dr No": "Ruritania"}
    applicants = [Applicant(name, registry.passports[name], country) for name, country in countries.items()]
    runs = {who.name: engine.start(onboarding, who, id=who.name) for who in applicants}
    for name, accept in {"Boris": True, "Clyde": False}.items():
        with suppress(ExecutionFinished):
            runs[name].signal(decision, Decision("Olga", accept), key="the-decision")
    return {name: run.wait() for name, run in runs.items()}


def main() -> None:
    """Tell who got an account."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/onboarding.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for name, end in ends.items():
            print(f"{name}: {end.steps['risk'].result} risk, {end.result}")


if __name__ == "__main__":
    main()
