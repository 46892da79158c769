"""A workflow drawn from a seed, and the lives of the processes that run it: one undisturbed, the others killed."""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import Any

from perdure.testing.forks import Death, run_in_fork
from tests.patience import PATIENCE

from .checks import Remains
from .life import Disk, Life, Spot
from .places import FilePlace, NewPlace
from .plans import draw, is_repeatable, workflows

__all__ = ["Broken", "Scenario"]

HANGS = 2 * PATIENCE
"""Real seconds after which a life counts as one that hangs."""


class Broken(AssertionError):
    """An invariant does not hold."""


class Scenario:
    """What follows from one seed.

    Attributes:
        kills: How often a process was killed.
        spots: Every crash point that the undisturbed life has passed.
    """

    def __init__(
        self, seed: int, folder: Path, freezer: Any, *, most_runs: int = 2, new_place: NewPlace = FilePlace
    ) -> None:
        self.seed = seed
        self._new_place = new_place
        self.chance = random.Random(f"crash {seed}")
        self._freezer = freezer
        self._folder = folder
        self.body = draw(self.chance)
        self.flows = workflows(self.body)
        events = sorted(event for event in self.flows[-1].definition().events if event.startswith("gate"))
        self._early = {event for event in events if self.chance.random() < 0.3}
        self._runs = self.chance.randint(1, most_runs)
        # Every other one on real threads, as in production; the others with a seed, one piece of user code at a time.
        self._engine_seed = seed if seed % 2 else None
        self.kills = 0
        self.spots: list[Spot] = []

    def __str__(self) -> str:
        """Show what is needed to see it again."""
        return f"seed {self.seed} after {self.kills} kills (PERDURE_CRASH_SEED={self.seed}): {self.body}"

    # ---- lives

    def undisturbed(self, disk: Disk | None = None) -> None:
        """Live once without a crash, and remember how long it took, what it passed and how it ended."""
        remains = self._new_remains("calm")
        begin = time.clock_gettime(time.CLOCK_MONOTONIC)
        self.live(remains, disk=disk)
        self._took = time.clock_gettime(time.CLOCK_MONOTONIC) - begin
        self._hold(remains.look_at_the_end(self.flows[-1]))
        self._ends = _told(remains.folder)
        self.spots = [tuple(spot) for spot in json.loads((remains.folder / "ends").read_text())["passed"]]

    def killed(self, name: str, deaths: list[Spot | float]) -> None:
        """Live again and again on one database, each life but the last with its own way to die.

        Args:
            name: Name of the folder.
            deaths: At which spot, or after which part of the time that the undisturbed life took.
        """
        remains = self._new_remains(name)
        for death in deaths:
            if not self._die(remains, death):
                break
        else:
            self.live(remains)
        if trouble := (remains.folder / "log").read_text():
            self.fail(f"the disk was sound, and yet the engine had trouble:\n{trouble}")
        self._check(remains)

    def on_faulty_disk(self, name: str, disk: Disk) -> None:
        """Live on a disk that fails once, and once more if that killed the process."""
        remains = self._new_remains(name)
        remains.deaths = 1
        if self.live(remains, disk=disk).killed:
            self.kills += 1
            self._hold(remains.look_after_death())
            self.live(remains)
        self._check(remains)

    def _check(self, remains: Remains) -> None:
        self._hold(remains.look_at_the_end(self.flows[-1]))
        ends = _told(remains.folder)
        if is_repeatable(self.body) and ends != self._ends:
            different = [(ours, due) for ours, due in zip(ends, self._ends, strict=False) if ours != due]
            self.fail(f"it came to another end: {different or (ends, self._ends)}")

    def _die(self, remains: Remains, death: Spot | float) -> bool:
        if isinstance(death, float):
            ended = self.live(remains, kill_after=death * self._took)
        else:
            ended = self.live(remains, die_at=death)
        if ended.killed:
            self.kills += 1
            self._hold(remains.look_after_death())
        return ended.killed

    def live(
        self, remains: Remains, *, die_at: Spot | None = None, kill_after: float | None = None, disk: Disk | None = None
    ) -> Death:
        """Have one process live where others may have lived before."""

        def life() -> None:
            one = Life(
                remains.folder,
                remains.place,
                self.flows,
                runs=self._runs,
                early=self._early,
                seed=self._engine_seed,
            )
            one.live(self._freezer, die_at, disk)

        death = run_in_fork(life, timeout=HANGS, kill_after=kill_after)
        if death.trouble:
            self.fail(death.trouble)
        return death

    def _new_remains(self, name: str) -> Remains:
        folder = self._folder / f"{self.seed}-{name}"
        folder.mkdir(parents=True)
        return Remains(folder, self._new_place(folder))

    # ---- verdicts

    def _hold(self, faults: Any) -> None:
        if found := list(faults):
            self.fail("\n  ".join(found[:8]))

    def fail(self, why: str) -> None:
        """Raise, with all that is needed to see it again."""
        raise Broken(f"{self}\n  {why}")


def _told(folder: Path) -> list[Any]:
    """Return how the runs ended, in an order that has nothing to do with which of them began first."""
    text = re.sub(r"<(\S+) \d+>", r"<\1>", (folder / "ends").read_text())
    return sorted(json.loads(text)["ends"], key=repr)
