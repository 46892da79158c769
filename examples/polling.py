"""Polling: hand a job to a render farm, look after it again and again, and give up in the end.

Between two looks the run sleeps: a durable sleep is a row with a due time, holds no thread, and after a restart only
what is left of it is waited for. A loop that turns too often fails the run, and the job is called off.

    sunrise: completed after 4 looks, film at /films/sunrise.mp4
    eclipse: failed, still not done after 5 looks
      job called off
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Execution, Workflow, step

PAUSE = timedelta(milliseconds=10)  # half a minute in earnest


@dataclass(frozen=True)
class Scene:
    """What is to be rendered."""

    name: str


@dataclass(frozen=True)
class Progress:
    """What the farm says when asked."""

    percent: int
    looks: int


class RenderFarm:
    """Works a little each time it is looked at; a repeated key is not another look."""

    def __init__(self) -> None:
        self.speed = {"sunrise": 25, "eclipse": 10}
        self.jobs: dict[str, str] = {}
        self.looks: dict[str, list[str]] = {}

    def submit(self, key: str, scene: str) -> str:
        """Accept a job, once per key."""
        self.jobs[key] = scene
        return key

    def look(self, key: str, job: str) -> Progress:
        """Tell how far a job has come."""
        seen = self.looks.setdefault(job, [])
        if key not in seen:
            seen.append(key)
        return Progress(min(100, self.speed[self.jobs[job]] * (seen.index(key) + 1)), seen.index(key) + 1)

    def call_off(self, job: str) -> None:
        """Forget a job."""
        self.jobs.pop(job, None)


farm = RenderFarm()
services = (farm,)


@step
def submit(ctx: Context[Scene]) -> str:
    """Hand the job in; the key makes sure that it is one job."""
    return farm.submit(ctx.idempotency_key, ctx.input.name)


@submit.compensate
def call_off(ctx: Context[Scene]) -> None:
    """Free the machines."""
    farm.call_off(ctx[submit])


@step(retry=10, timeout=5)
def look(ctx: Context[Scene]) -> Progress:
    """Ask how far it is; each turn of the loop has a key of its own."""
    return farm.look(ctx.idempotency_key, ctx[submit])


@step
def fetch(ctx: Context[Scene]) -> str:
    """Fetch the film."""
    return f"/films/{ctx.input.name}.mp4"


rendering = (
    Workflow("rendering", input=Scene)
    .step(submit)
    .do_until(
        lambda ctx: ctx[look].percent == 100,  # noqa: PLR2004 - per cent
        lambda w: w.sleep("pause", PAUSE).step(look),
        max_iterations=5,
    )
    .step(fetch)
)
workflows = (rendering,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Render two scenes at once; the ids make a second call harmless."""
    runs = [engine.start(rendering, Scene(name), id=name) for name in ("sunrise", "eclipse")]
    return {run.id: run.wait() for run in runs}


def main() -> None:
    """Tell what was rendered."""
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/rendering.db", *workflows) as engine,
    ):
        ends = drive(engine)
        sunrise, eclipse = ends["sunrise"], ends["eclipse"]
        print(f"sunrise: {sunrise.state} after {sunrise.steps['look'].result.looks} looks, film at {sunrise.result}")
        print(f"eclipse: {eclipse.state}, still not done after {eclipse.steps['look'].result.looks} looks")
        if eclipse.steps["submit"].compensation == "completed":
            print("  job called off")


if __name__ == "__main__":
    main()
