"""A film archive that digitises reels: one scan jams, one reel is beyond saving, and one of two mirrors is enough.

A scan tells how far it has come and leaves checkpoints, so that the attempt after the jam goes on where the one before
stood. One reel may be lost; a second one would fail the run. Of the mirrors the first counts, and the other is stopped.
The clock is frozen, so that the scanner has cooled down at once.

    scanned: Arrival, Departure
    lost: Dust, because the reel fell apart
    Departure needed 2 attempts, and no frame was scanned twice: 300 of 300
    its scan was last heard of at 300 of 300 frames
    copied to the near mirror; the far one was stopped: cancelled
"""

from __future__ import annotations

import asyncio
from collections import Counter

from freezegun import freeze_time

from perdure import Context, Engine, Execution, NonRetryable, RetryAfter, Workflow

FRAMES, STRETCH = 300, 100


class Scanner:
    """Scans a stretch of film at a time; it jams once, and tears what is too old."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.has_jammed = False

    def scan(self, reel: str, start: int) -> None:
        """Scan the frames from here on."""
        if reel == "Dust":
            msg = "the reel fell apart"
            raise NonRetryable(msg)
        if reel == "Departure" and start == STRETCH and not self.has_jammed:
            self.has_jammed = True
            raise RetryAfter(600, "the scanner has to cool down")
        self.frames[reel] += STRETCH


scanner = Scanner()


def scan(ctx: Context[list[str]]) -> str:
    """Scan one reel, from where an earlier attempt has stopped."""
    for start in range(ctx.checkpointed or 0, FRAMES, STRETCH):
        scanner.scan(ctx.item, start)
        ctx.checkpoint(start + STRETCH)
        ctx.progress(start + STRETCH, FRAMES, ctx.item)
    return str(ctx.item)


def near(ctx: Context[list[str]]) -> str:
    """Copy to the mirror next door."""
    return "near"


async def far(ctx: Context[list[str]]) -> str:
    """Copy to the mirror across the ocean, which takes its time."""
    await asyncio.Event().wait()
    return "far"


def report(ctx: Context[list[str]]) -> dict[str, list[str]]:
    """Say what was scanned, and what was lost."""
    lost = [
        f"{ctx.input[int(name.removeprefix('scan:'))]}, because {error.message}" for name, error in ctx.errors.items()
    ]
    return {"scanned": ctx.results("scan"), "lost": lost}


archive = (
    Workflow("archive", input=list[str])
    .for_each(lambda ctx: ctx.input, "scan", scan, concurrency=2, tolerated_failures=1, retry=3)
    .parallel(lambda w: w.step("near", near).step("far", far), race=True)
    .step("report", report)
)


def drive(engine: Engine) -> Execution:
    """Digitise three reels; the clock must be frozen."""
    run = engine.start(archive, ["Arrival", "Departure", "Dust"], id="reels")
    engine.advance(minutes=15)
    return run.wait(10)


def main() -> None:
    """Digitise them, and tell how it went."""
    with freeze_time("2026-03-02 09:00"), Engine(None, archive) as engine:
        run = drive(engine)
    print(f"scanned: {', '.join(run.result['scanned'])}")
    print(f"lost: {', '.join(run.result['lost'])}")
    scanned = run.steps["scan:1"]
    frames = f"{scanner.frames['Departure']} of {FRAMES}"
    print(f"Departure needed {scanned.attempts} attempts, and no frame was scanned twice: {frames}")
    assert scanned.progress is not None
    print(f"its scan was last heard of at {scanned.progress.done} of {scanned.progress.total} frames")
    print(f"copied to the near mirror; the far one was stopped: {run.steps['far'].status}")


if __name__ == "__main__":
    main()
