"""Heavy steps on all processors: each picture of a film is computed in another process, by one word at its step.

A thread that computes holds the interpreter, and everything else in the process waits for it; `executor="process"`
gives a step to worker processes of the engine's own. The worker of picture 2 dies the first time, as a worker does that
has eaten all the memory: that is a failed attempt and no more, and a new worker computes the picture.

    4 pictures, computed in other processes: True
    picture 2 took 2 attempts: the first was lost with its worker
    the film is black for 55 % of the time
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from perdure import Context, Engine, Event, Retry, Workflow, events, step

SIZE = 24
DEEP = 40


@dataclass(frozen=True)
class Film:
    """What is to be computed: a flight into the Mandelbrot set."""

    pictures: int


@dataclass(frozen=True)
class Picture:
    """One picture, as how much of it is black, and which process has computed it."""

    black: int
    process: int


def is_black(point: complex) -> bool:
    """Tell whether a point belongs to the set."""
    value = 0j
    for _ in range(DEEP):
        value = value * value + point
        if abs(value) > 2:  # noqa: PLR2004 - it will never come back
            return False
    return True


def render(ctx: Context[Film]) -> Picture:
    """Compute the picture of this item's number."""
    if ctx.item == 2 and ctx.attempt == 1:  # noqa: PLR2004 - the picture that is too much for its worker
        os.kill(os.getpid(), signal.SIGKILL)
    width = 2 / (1 + ctx.item)
    points = (
        complex(-1 + width * (x / SIZE - 0.5), width * (y / SIZE - 0.5)) for x in range(SIZE) for y in range(SIZE)
    )
    return Picture(sum(map(is_black, points)), os.getpid())


@step
def cut(ctx: Context[Film]) -> int:
    """Put the pictures together; this is light, and runs here."""
    pictures: list[Picture] = ctx.results("render")
    return round(100 * sum(picture.black for picture in pictures) / (len(pictures) * SIZE * SIZE))


films = (
    Workflow("film", input=Film)
    .for_each(
        lambda ctx: list(range(ctx.input.pictures)),
        "render",
        render,
        concurrency=1,  # more of them at a time would use more processors, and a dying worker takes its pool along
        executor="process",
        timeout=60,
        retry=Retry(attempts=3, initial=0.01),
    )
    .step(cut)
)


def main() -> None:
    """Compute a film and tell how."""
    losses: list[Event] = []
    with (
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/films.db", films) as engine,
    ):
        engine.on(events.StepRetry, losses.append)
        end = engine.start(films, Film(pictures=4), id="flight").wait()
        pictures = {name: record for name, record in end.steps.items() if name.startswith("render:")}
        elsewhere = all(record.result.process != os.getpid() for record in pictures.values())
        print(f"{len(pictures)} pictures, computed in other processes: {elsewhere}")
        for loss in losses:
            assert isinstance(loss, events.StepRetry)
            assert loss.error
            assert loss.error.type == "perdure.WorkerLost"
            number = loss.step.removeprefix("render:")
            attempts = pictures[loss.step].attempts
            print(f"picture {number} took {attempts} attempts: the first was lost with its worker")
        print(f"the film is black for {end.result} % of the time")


if __name__ == "__main__":
    main()
