"""Four engines on one server, under load and attack: nothing that was acknowledged is lost, nothing is done twice.

They are killed, frozen and let go on, cut off from the server, and the server itself is restarted, now in order and now
as after a crash. The ledger is the only witness of side effects.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from perdure import Client, ExecutionFinished, StoreError
from perdure.testing.postgres_server import PostgresServer
from tests.patience import PATIENCE

from .test_load import check
from .test_server import server

__all__ = ["server"]

ENGINES = 4
BETWEEN_ATTACKS = 10
"""Acknowledged requests from one attack to the next."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Battle:
    """The engines, and what is done to them."""

    def __init__(self, spawn: Callable[[], Any], server: PostgresServer, url: str, chance: random.Random) -> None:
        self._spawn = spawn
        self._server = server
        self._url = url
        self._chance = chance
        self._frozen: list[Any] = []
        self.attacks: Counter[str] = Counter()
        self.engines = [spawn() for _ in range(ENGINES)]
        for engine in self.engines:
            engine.hear("open")

    def attack(self) -> None:
        """Do something to one of them, or to the server; whoever was frozen before goes on."""
        for engine in self._frozen:
            engine.go_on()
        self._frozen.clear()
        what = self._chance.choice([self.kill, self.freeze, self.cut, self.cut, self.restart])
        what()
        self.attacks[what.__name__] += 1

    def kill(self) -> None:
        """Kill one; another takes its place."""
        victim = self.engines.pop(self._chance.randrange(ENGINES))
        self.engines.append(self._spawn())
        victim.kill()

    def freeze(self) -> None:
        """Stop one until the next attack."""
        self._frozen.append(self._chance.choice(self.engines))
        self._frozen[-1].stop()

    def cut(self) -> None:
        """End some of the sessions that anybody has."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
            )

    def restart(self) -> None:
        """Restart the server."""
        self._server.stop(self._chance.choice(["fast", "immediate"]))
        self._server.start()

    def end(self) -> None:
        """Kill them all."""
        for engine in self.engines:
            engine.kill()


@pytest.fixture
def battle(spawn: Any, server: PostgresServer, tmp_path: Path) -> Iterator[Callable[..., Battle]]:
    """Opens engines on a server of their own."""
    battles: list[Battle] = []

    def begin(url: str, chance: random.Random) -> Battle:
        ledger = tmp_path / "ledger"
        battles.append(Battle(lambda: spawn(url, ledger, "full", script="load_worker.py"), server, url, chance))
        return battles[-1]

    yield begin
    for one in battles:
        one.end()


def persistently(request: Callable[..., Any], *words: object, **more: object) -> Any:
    """Ask again while the server cannot be had, as a caller does; ids and keys make a request count once."""
    until = now() + PATIENCE
    while True:
        try:
            return request(*words, **more)
        except StoreError:
            assert now() < until


@pytest.mark.timeout(0)
def test_every_effect_is_accounted_for_whoever_dies_or_the_server(
    battle: Callable[..., Battle], server: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    minutes, seed = request.config.getoption("minutes"), request.config.getoption("several_seed")
    url, chance = server.borrow(), random.Random(seed)
    crew = battle(url, chance)
    runs: list[str] = []
    deadline = now() + minutes * 60
    with Client(url) as client:
        while now() < deadline:
            run = f"run-{len(runs)}"
            persistently(client.start, "paid", id=run)
            runs.append(run)
            payer = chance.choice(runs)
            persistently(pay, client, payer)
            if len(runs) % BETWEEN_ATTACKS == 0:
                crew.attack()
        crew.attack()
        for run in runs:
            persistently(pay, client, run)
        executions = {run: persistently(client.run(run).wait, timeout=PATIENCE) for run in runs}
        children = [child for name in child_names(url) if (child := client.get_execution(name)) is not None]
        ledger = Counter(line.split()[0] for line in (tmp_path / "ledger").read_text().splitlines())
        check(executions, children, ledger)
    print(f"{minutes:g} min, seed {seed}: {len(runs)} runs, {dict(crew.attacks)}")  # noqa: T201


def pay(client: Client, run: str) -> None:
    """Pay for a run, unless that was done and it has ended."""
    with contextlib.suppress(ExecutionFinished):
        client.signal(run, "pay", run, key="once")


def child_names(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT execution_id FROM workflow_executions WHERE workflow = 'shipped'")
        return [name for (name,) in found]
