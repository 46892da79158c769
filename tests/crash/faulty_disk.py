"""A disk that fails when it is told to: ``python -m tests.crash.faulty_disk FOLDER TRIES FIRST_SEED``.

Runs with the library of ``faulty_disk.c`` preloaded, so that its forks have it too, and prints what it has tried.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdure.testing import freeze
from perdure.testing.freezing import START

from .scenario import Scenario

__all__ = ["FAULTS"]

FAULTS = {"killed at an fsync": 1, "disk full at a write": 2, "I/O error at a write": 3}
NEVER = 1 << 30
A_SEED = 14
"""Numbers tried of one seed, unless all are to be."""


class FaultyDisk:
    """The disk of one life.

    Attributes:
        fault: Value of `FAULTS`.
        number: At which fsync or write.
        seen: Where to write how many there were.
    """

    def __init__(self, fault: int, number: int, seen: Path) -> None:
        self._tell = ctypes.CDLL(None).perdure_disk
        self.fault = fault
        self.number = number
        self.seen = seen

    @contextmanager
    def whole_life(self) -> Iterator[None]:
        """Kill at an fsync at any time: at the opening and at the close too."""
        with self._armed(wanted=self.fault == FAULTS["killed at an fsync"]):
            yield

    @contextmanager
    def open_engine(self) -> Iterator[None]:
        """Fail a write only while the engine is open: a failure to open is an error, and nothing was begun."""
        with self._armed(wanted=self.fault != FAULTS["killed at an fsync"]):
            yield

    @contextmanager
    def _armed(self, *, wanted: bool) -> Iterator[None]:
        if not wanted:
            yield
            return
        self._tell(self.fault, self.number)
        yield
        self.seen.write_text(str(self._tell(self.fault, NEVER)))


def run(folder: Path, tries: int, first_seed: int) -> None:
    """Try so many failures of each kind, of one seed after the other; 0 for every one of the first seed."""
    with freeze() as freezer:
        for name, fault in FAULTS.items():
            done, seed = 0, first_seed
            while done < tries or done == 0:
                freezer.move_to(START)
                scenario = Scenario(seed, folder / f"{fault}-{seed}", freezer, most_runs=1)
                done += _try_seed(scenario, freezer, folder / "seen", fault, tries)
                seed += 1
            print(f"{name}: {done} times, seeds {first_seed} to {seed - 1}")  # noqa: T201 - what it was started for


def _try_seed(scenario: Scenario, freezer: Any, seen: Path, fault: int, tries: int) -> int:
    """Try some failures, or all; return how many were met."""
    scenario.undisturbed(FaultyDisk(fault, NEVER, seen))
    total = int(seen.read_text())
    numbers = range(1, total + 1, max(1, total // A_SEED) if tries else 1)
    before = scenario.kills
    met = 0
    for number in numbers:
        freezer.move_to(START)
        seen.unlink(missing_ok=True)
        scenario.on_faulty_disk(f"disk-{number}", FaultyDisk(fault, number, seen))
        met += fault != FAULTS["killed at an fsync"] and int(seen.read_text()) >= number
    return (
        met + scenario.kills - before
    )  # threads may share a commit that undisturbed were two: then there is no such write


if __name__ == "__main__":
    run(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
