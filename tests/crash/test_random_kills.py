"""Random workflows, killed at random instants and at every crash point: nothing is lost, repeated or left undone.

``PERDURE_KILLS=10000`` makes it so many kills, ``PERDURE_CRASH_SEED=7`` begins with another seed; a failure names the
seed that shows it again. On a server there are a few, and as many as on a file with ``--stores=all``.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine
from perdure.testing import POINTS, freeze
from perdure.testing.freezing import START

from .places import NewPlace
from .plans import workflows
from .scenario import Scenario

KILLS = int(os.environ.get("PERDURE_KILLS", "104"))
FIRST_SEED = int(os.environ.get("PERDURE_CRASH_SEED", "1"))
ENOUGH = 100
RETIRING = {"retire.before", "retire.begun", "retire.written", "retire.after"}
RECOVERING = {"takeover.begun", "takeover.written", "load.before", "load.after", "deliver.before"}
pytestmark = [pytest.mark.timeout(120 + KILLS * 5), pytest.mark.on_every_store, pytest.mark.not_pooled]


@pytest.fixture(scope="module")
def freezer() -> Iterator[Any]:
    with freeze() as freezer:
        yield freezer


@pytest.fixture
def kills_due(as_many: Callable[[int, int], int]) -> int:
    """How often one test kills."""
    return as_many(KILLS // 2, 2)


def scenarios(folder: Path, freezer: Any, new_place: NewPlace) -> Iterator[Scenario]:
    """Give one scenario after the other, each with its undisturbed life behind it; what it leaves is removed."""
    seed = FIRST_SEED
    while True:
        freezer.move_to(START)
        scenario = Scenario(seed, folder, freezer, new_place=new_place)
        with Engine(None, *workflows(scenario.body)):  # what is made once for each process, the forks need not make
            pass
        scenario.undisturbed()
        yield scenario
        shutil.rmtree(folder)
        seed += 1


def test_nothing_is_lost_whenever_the_process_is_killed(
    tmp_path: Path, freezer: Any, new_place: NewPlace, kills_due: int
) -> None:
    kills = 0
    for scenario in scenarios(tmp_path / "lives", freezer, new_place):
        for number in range(min(4, kills_due)):
            freezer.move_to(START)
            parts: list[Any] = [scenario.chance.uniform(0.1, 1.0) for _ in range(scenario.chance.randint(1, 3))]
            scenario.killed(f"instant-{number}", parts)
        kills += scenario.kills
        if kills >= kills_due:
            break
    print(f"{kills} kills at random instants, seeds {FIRST_SEED} to {scenario.seed}")  # noqa: T201 - for the long run


def test_nothing_is_lost_at_whatever_point_the_process_is_killed(
    tmp_path: Path, freezer: Any, new_place: NewPlace, kills_due: int
) -> None:
    kills: Counter[str] = Counter()
    for scenario in scenarios(tmp_path / "lives", freezer, new_place):
        by_point: dict[str, list[Any]] = {}
        for spot in scenario.spots:
            by_point.setdefault(spot[0], []).append(spot)
        rarest = sorted(by_point, key=lambda point: (kills[point], scenario.chance.random()))
        for point in rarest[: min(8, kills_due)]:
            freezer.move_to(START)
            before = scenario.kills
            scenario.killed(point, [scenario.chance.choice(by_point[point])])
            kills[point] += scenario.kills - before
        recovering = sorted(RECOVERING, key=lambda point: kills[point])
        for point in recovering[: min(2, kills_due - 1)]:  # they come when something was left
            freezer.move_to(START)
            before = scenario.kills
            scenario.killed(f"again-{point}", [scenario.chance.choice(by_point["handler.after"]), (point, 1)])
            kills["handler.after"] += 1
            kills[point] += scenario.kills - before - 1
        if kills.total() >= kills_due:
            break
    assert set(kills) | RETIRING == set(POINTS) or 2 * kills_due < ENOUGH
    print(f"{kills.total()} kills at {len(kills)} points, seeds {FIRST_SEED} to {scenario.seed}: {dict(kills)}")  # noqa: T201
