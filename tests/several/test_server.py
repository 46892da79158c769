"""Engines that share a PostgreSQL server.

Whoever dies, freezes or is cut off loses its runs within seconds, and writes nothing after that; and a server that was
away takes nothing with it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from perdure import Client, Engine, State, StoreError, Workflow, look_at
from perdure.actors import wire
from perdure.actors.exchange import exchange_of
from perdure.persistence.store import Store
from perdure.testing.postgres_server import PostgresServer, programs
from tests.patience import PATIENCE, quickest

SOON = 5
"""Seconds from a death to the interrupted step running again: the promise."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@pytest.fixture
def served(postgres_url: str, open_at: Any) -> Callable[..., Any]:
    """Opens an engine in a process of its own on the server, with these workflows; waits until it is open."""
    return partial(open_at, postgres_url)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """Where the database is: at the server itself, or behind a pooler."""
    return str(request.getfixturevalue(request.param))


def cut(url: str, engine: int) -> None:
    """End all sessions of an engine, as a network that breaks does, or an operator."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND (application_name LIKE %s OR application_name = %s)",
            (f"perdure engine {engine} %", f"perdure presence {engine}"),
        )


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("url", ["postgres_url", "pooled_url"], indirect=True)
def test_an_engine_that_is_killed_or_frozen_loses_its_runs_in_less_than_five_seconds(
    url: str, open_at: Any, held: Any, how: str
) -> None:
    heir, owners = open_at(url, "held"), []

    def trial() -> float:
        owner = open_at(url, "held", "quick")
        owners.append(owner)
        [run] = owner.ask("start", "held", f"h{len(owners)}", answer="started")
        owner.hear("begin")
        lost_at = now()
        getattr(owner, how)()
        key, began_at = heir.hear("begin")
        assert key == f"{run}:hold"
        return float(began_at) - lost_at

    assert quickest(trial, SOON, trials=3) < SOON
    held()
    with Client(url) as client:
        assert client.run("h1").result(timeout=PATIENCE) == "held"
        if how == "stop":
            owners[0].go_on()
            assert owners[0].ask("start", "quick", "q", answer="started") == ["q"]
            client.run("q").wait(timeout=PATIENCE)
            ended = client.run("h1").wait(timeout=PATIENCE)
            assert ended.steps["hold"].attempts == 2, "what it had in hand did not count"


def test_an_engine_whose_sessions_are_cut_joins_again_and_keeps_its_runs(
    served: Any, postgres_url: str, held: Any
) -> None:
    served("held")
    owner = served("held", "quick")
    owner.ask("start", "held", "h", answer="started")
    owner.hear("begin")
    cut(postgres_url, owner.engine)
    assert owner.ask("start", "quick", "q", answer="started") == ["q"]
    held()
    with Client(postgres_url) as client:
        assert client.run("h").result(timeout=PATIENCE) == "held"
        client.run("q").wait(timeout=PATIENCE)


def test_an_engine_takes_over_what_was_left_when_it_opens(served: Any, postgres_url: str) -> None:
    owner = served("gate")
    owner.ask("start", "gate", "g", answer="started")
    owner.kill()
    heir = served("gate")
    with Client(postgres_url) as client:
        client.signal("g", "go", "now")
        assert client.run("g").result(timeout=PATIENCE) == "now"
    assert heir.close() == 0


def test_who_is_called_when_its_store_is_closed_already_does_not_answer(postgres_url: str) -> None:
    store = Store(postgres_url, durability="normal")
    store.open()
    board = exchange_of(store.database)
    calls = board.listen(store.engine_id)
    store.close()

    board.arrived('[7, 1, 7, "say", "{}"]')  # type: ignore[attr-defined]  # what the server has brought meanwhile

    line = calls.accept()
    assert line is not None
    assert not line.say(wire.Look())
    assert board.connect(7) is None
    calls.close()


def test_clients_and_engines_reach_each_other_through_the_server(served: Any, postgres_url: str) -> None:
    one, other = served("gate"), served("gate", "quick")
    with Client(postgres_url) as client, look_at(postgres_url) as looking:
        run = client.start("gate", id="g")
        assert client.start("quick", id="q").result(timeout=PATIENCE) is None
        run.wait(
            until="waiting", timeout=PATIENCE
        )  # an engine that was asked and did not answer in time takes it later
        other.ask("signal", "g", "x", answer="signalled")
        assert run.result(timeout=PATIENCE) == "x"
        assert {found.id: found.state for found in looking.list_executions()} == {
            "g": State.COMPLETED,
            "q": State.COMPLETED,
        }
    assert [one.close(), other.close()] == [0, 0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """Start a server of the test's own, which it may stop, with what it writes on disk."""
    home = programs()
    if home is None:
        pytest.skip("there is no PostgreSQL server here")
    one = PostgresServer(Path(tempfile.mkdtemp(prefix="perdure-pg-")) / "s", home, settings={"fsync": "on"})
    one.folder.parent.chmod(0o755)
    one.start()
    yield one
    one.remove()
    one.folder.parent.rmdir()


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_restart_of_the_server_pauses_runs_and_loses_nothing(server: PostgresServer, how: str) -> None:
    url = server.borrow()
    gate = Workflow("gate").step("first", lambda: 1).wait_for("go").step("after", lambda ctx: ctx.signals["go"])
    with Engine(url, gate) as one, Engine(url, gate) as other:
        ids = [engine.start("gate").id for engine in (one, other) for _ in range(5)]
        for run in ids:
            one.run(run).wait(until="waiting", timeout=PATIENCE)
        server.stop(how)
        server.start()
        for run in ids:
            signal_when_it_can_be(one, run)
        assert [other.run(run).result(timeout=PATIENCE) for run in ids] == ids
        numbers = {one._machine.store.engine_id, other._machine.store.engine_id}
        assert numbers == {1, 2}, "nobody was taken for dead"


def signal_when_it_can_be(engine: Engine, run: str) -> None:
    """Signal as a caller should who was told that the database could not be had: the key makes it count once."""
    until = now() + PATIENCE
    while True:
        try:
            engine.signal(run, "go", run, key="once")
        except StoreError:
            assert now() < until
        else:
            return
