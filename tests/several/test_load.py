"""Several engines on one file, under load, killed again and again: nothing that was acknowledged is lost or done twice.

The ledger is the only witness of side effects. A step may have been begun again where a kill cut it short, and then the
run says so; it never is where no kill did.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Execution, State

pytestmark = pytest.mark.on_a_file  # test_server_load.py is its counterpart
STEPS = ("reserve", "charge")
CHILD_STEPS = ("pack", "box:0", "box:1")
BETWEEN_KILLS = 12
"""Acknowledged requests from one kill to the next."""


class Fleet:
    """Engines in processes of their own, of which one dies now and then and is replaced."""

    def __init__(self, spawn: Callable[[], Any], size: int, seed: int) -> None:
        self._open = spawn
        self._chance = random.Random(seed)
        self.kills = 0
        self.opening: list[Any] = []
        self.workers = [self._open() for _ in range(size)]
        for worker in self.workers:
            worker.hear("open")

    def any(self) -> Any:
        """Return one of those that are open."""
        for worker in [worker for worker in self.opening if not self.workers or worker.has_spoken()]:
            worker.hear("open")
            self.opening.remove(worker)
            self.workers.append(worker)
        return self._chance.choice(self.workers)

    def kill_one(self) -> None:
        """Kill one; another takes its place, and is not waited for."""
        victim = self.any()
        self.workers.remove(victim)
        self.opening.append(self._open())
        victim.kill()
        self.kills += 1

    def end(self) -> None:
        """Kill them all."""
        for worker in self.workers + self.opening:
            worker.kill()


@pytest.fixture
def fleet(spawn: Any, path: Path, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Opens engines."""
    fleets: list[Fleet] = []

    def begin(size: int, seed: int) -> Fleet:
        fleets.append(Fleet(lambda: spawn(path, tmp_path / "ledger", script="load_worker.py"), size, seed))
        return fleets[-1]

    yield begin
    for one in fleets:
        one.end()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("engines", [2, 4])
def test_every_effect_is_accounted_for_whoever_dies(
    engines: int, fleet: Callable[..., Fleet], path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seconds, seed = request.config.getoption("several_seconds"), request.config.getoption("several_seed")
    crew, chance = fleet(engines, seed), random.Random(seed)
    acknowledged: set[str] = set()
    paid: set[str] = set()
    with Client(path, durability="normal") as client:
        deadline = time.clock_gettime(time.CLOCK_MONOTONIC) + seconds
        for number in range(1_000_000):
            if time.clock_gettime(time.CLOCK_MONOTONIC) >= deadline:
                break
            run = f"run-{number}"
            acknowledged |= {run} if request_through(client, crew, chance, "start", run) else set()
            if acknowledged:
                payer = chance.choice(sorted(acknowledged))
                paid |= {payer} if request_through(client, crew, chance, "pay", payer) else set()
            if number % BETWEEN_KILLS == BETWEEN_KILLS - 1:
                crew.kill_one()
        for run in acknowledged - paid:
            client.signal(run, "pay", run, key="once")
        executions = {run: client.run(run).wait(timeout=300) for run in acknowledged}
        children = client.list_executions("shipped", limit=1000)
        while children.cursor is not None:
            more = client.list_executions("shipped", limit=1000, after=children.cursor)
            children.extend(more)
            children.cursor = more.cursor
        ledger = Counter(line.split()[0] for line in (tmp_path / "ledger").read_text().splitlines())
        check(executions, children, ledger)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM workflow_inbox").fetchone() == (0,)
    print(f"{engines} engines, {seconds} s, seed {seed}: {len(acknowledged)} runs, {crew.kills} kills")  # noqa: T201


def request_through(client: Client, crew: Fleet, chance: random.Random, verb: str, run: str) -> bool:
    """Make a request of the client or of one of the engines; tell whether it was acknowledged."""
    if chance.random() < 0.5:
        if verb == "start":
            client.start("paid", id=run)
        else:
            client.signal(run, "pay", run, key="once")
        return True
    crew.any().ask(verb, run, answer="done")
    return True


def check(executions: dict[str, Execution], children: list[Execution], ledger: Counter[str]) -> None:
    """Hold what the database says against what the ledger saw."""
    assert {execution.state for execution in executions.values()} == {State.COMPLETED}
    by_parent = {child.parent_id: child for child in children if child.parent_id in executions}
    assert set(by_parent) == set(executions), "each has the one child"
    wrong: list[str] = []
    for run, execution in executions.items():
        for family, steps in ((execution, STEPS), (by_parent[run], CHILD_STEPS)):
            for name in steps:
                key, step = f"{family.id}:{name}", family.steps[name]
                if not 1 <= ledger[key] <= 1 + step.interruptions or step.result.split()[0] != key:
                    wrong.append(f"{key}: {ledger[key]} effects, {step.interruptions} interruptions, {step.result}")
    assert wrong == []


def test_the_check_sees_an_effect_that_was_lost_or_doubled() -> None:
    step: Any = type("Step", (), {"interruptions": 0, "result": "a:reserve 1"})()
    run: Any = type("Run", (), {"id": "a", "state": State.COMPLETED, "parent_id": None, "steps": {"reserve": step}})()
    with pytest.raises(AssertionError, match="each has the one child"):
        check({"a": run}, [], Counter({"a:reserve": 1}))
