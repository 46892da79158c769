"""Runs cases and contenders in turn, round by round, each measurement in its own process, and keeps the medians."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .catalogue import Case
from .measure import median
from .peers.install import command_of, version_of

__all__ = ["CHECKOUT", "Measurement", "machine", "measure", "medians", "pin"]

CHECKOUT = Path(__file__).resolve().parent.parent
_LONGEST = 300


class Measurement(NamedTuple):
    """What one process has found.

    Attributes:
        case: Name of the case.
        contender: Who was measured.
        figures: What it found; empty if it failed.
        error: Why it failed.
    """

    case: str
    contender: str
    figures: dict[str, float]
    error: str = ""


def measure(cases: Sequence[Case], *, rounds: int, quick: bool, contenders: Sequence[str]) -> Iterator[Measurement]:
    """Measure everything once, then everything again: drifts of the machine meet all contenders alike."""
    for _ in range(rounds):
        for case in cases:
            options = {**case.options, **(case.quick or {})} if quick else dict(case.options)
            for contender in case.contenders:
                if contender in contenders:
                    yield _measure(case, contender, options)


def pin() -> None:
    """Keep this process, and all that it starts, on one processor; Linux only."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _measure(case: Case, contender: str, options: dict[str, Any]) -> Measurement:
    command = [*command_of(contender), contender, case.workload, json.dumps(options)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    try:
        done = subprocess.run(  # noqa: S603 - our own measurements
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=_LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return Measurement(case.name, contender, {}, f"took longer than {_LONGEST} s")
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return Measurement(case.name, contender, {}, (done.stderr.strip().splitlines() or ["no output"])[-1])
    return Measurement(case.name, contender, json.loads(lines[-1]))


def medians(measurements: Sequence[Measurement]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median of each figure, by case and contender."""
    gathered: dict[str, dict[str, dict[str, list[float]]]] = {}
    for found in measurements:
        for name, value in found.figures.items():
            gathered.setdefault(found.case, {}).setdefault(found.contender, {}).setdefault(name, []).append(value)
    return {
        case: {
            contender: {name: median(values) for name, values in figures.items()}
            for contender, figures in contenders.items()
        }
        for case, contenders in gathered.items()
    }


def machine(contenders: Sequence[str]) -> dict[str, Any]:
    """Describe where this runs."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "commit": _commit(),
        "versions": {
            contender: version_of(contender) for contender in contenders if contender not in {"perdure", "raw"}
        },
        "arguments": sys.argv[1:],
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)  # noqa: S603 - as above
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
