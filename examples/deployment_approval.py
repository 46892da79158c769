"""A deployment: tested, tried on staging, then held at a gate until a person says yes.

A waiting run costs a row, not a thread, and survives any number of restarts. When the answer is no, or the run is
cancelled at the gate, staging goes back to the version it had before.

    1.1: completed, approved by grace
    1.2: failed, grace says: too many errors
      staging back on 1.1
    1.3: cancelled
      staging back on 1.1
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, ExecutionFinished, NonRetryable, Signal, State, Workflow, step


@dataclass(frozen=True)
class Release:
    """What is to go live."""

    version: str


@dataclass(frozen=True)
class Approval:
    """What the release manager says."""

    by: str
    granted: bool
    remark: str = ""


class Cluster:
    """Which version runs where; a repeated key deploys nothing more."""

    def __init__(self) -> None:
        self.running = {"staging": "1.0", "production": "1.0"}
        self.replaced: dict[str, str] = {}

    def deploy(self, key: str, environment: str, version: str) -> str:
        """Roll a version out and return the one it replaced."""
        if key not in self.replaced:
            self.replaced[key] = self.running[environment]
            self.running[environment] = version
        return self.replaced[key]


cluster = Cluster()
services = (cluster,)
approval = Signal("approval", Approval)


@step(timeout=600)
def run_tests(ctx: Context[Release]) -> int:
    """Return how many tests have passed."""
    return 412


@step
def deploy_to_staging(ctx: Context[Release]) -> str:
    """Try the version where it can do no harm; the result is the version it replaced."""
    return cluster.deploy(ctx.idempotency_key, "staging", ctx.input.version)


@deploy_to_staging.compensate
def restore_staging(ctx: Context[Release]) -> None:
    """Bring back what was there before."""
    cluster.deploy(ctx.idempotency_key, "staging", ctx[deploy_to_staging])


@step
def check_approval(ctx: Context[Release]) -> str:
    """Turn a no into a failure, so that everything done so far is undone."""
    answer = ctx[approval]
    if not answer.granted:
        raise NonRetryable(f"{answer.by} says: {answer.remark}")
    return answer.by


@step
def deploy_to_production(ctx: Context[Release]) -> str:
    """Go live."""
    cluster.deploy(ctx.idempotency_key, "production", ctx.input.version)
    return ctx.input.version


deployments = (
    Workflow("deployment", input=Release)
    .step(run_tests)
    .step(deploy_to_staging)
    .wait_for(approval)
    .step(check_approval)
    .step(deploy_to_production)
)
workflows = (deployments,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Release three versions: one approved, one refused, one cancelled; a second call changes nothing."""
    answers = {
        "1.1": Approval("grace", granted=True),
        "1.2": Approval("grace", granted=False, remark="too many errors"),
    }
    ends: dict[str, Execution] = {}
    for version, answer in answers.items():
        run = engine.start(deployments, Release(version), id=version)
        with suppress(ExecutionFinished):
            run.signal(approval, answer, key="the-answer")
        ends[version] = run.wait()
    run = engine.start(deployments, Release("1.3"), id="1.3")
    if run.wait(until=(State.WAITING, State.CANCELLED)).state is State.WAITING:
        run.cancel()
    return {**ends, "1.3": run.wait()}


def main() -> None:
    """Tell what became of the three versions."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/deployments.db", *workflows) as engine,
    ):
        ends = drive(engine)
        for version, end in ends.items():
            if end.state is State.COMPLETED:
                print(f"{version}: completed, approved by {end.steps['check_approval'].result}")
            else:
                print(f"{version}: {end.state}" + (f", {end.error.message}" if end.error and end.error.step else ""))
            if end.steps["deploy_to_staging"].compensation == "completed":
                print(f"  staging back on {end.steps['deploy_to_staging'].result}")


if __name__ == "__main__":
    main()
