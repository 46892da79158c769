"""Engines and clients behind a pooler that lends sessions by transaction: they live by leases on the server's clock."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from perdure import Client, Engine, State, StoreError, UsageError, Workflow
from perdure.dsl.errors import StoreUnavailable
from perdure.persistence.postgres.by_lease import ByLease
from perdure.persistence.postgres.by_session import BySession
from perdure.persistence.postgres.footing import SILENCE, channel, now
from perdure.persistence.postgres.server import Server
from perdure.testing.pooler import Pooler, bouncer
from perdure.testing.postgres_server import PostgresServer
from tests.patience import PATIENCE


def test_those_behind_a_pooler_and_those_that_are_not_share_one_database(
    pooled_url: str, postgres_url: str, open_at: Any
) -> None:
    direct, pooled = open_at(postgres_url, "gate"), open_at(pooled_url, "gate", "quick")
    with Client(postgres_url) as one, Client(pooled_url) as other:
        direct.ask("start", "gate", "d", answer="started")
        pooled.ask("start", "gate", "p", answer="started")
        one.signal("p", "go", "1")
        other.signal("d", "go", "2")
        assert [other.run("p").result(timeout=PATIENCE), one.run("d").result(timeout=PATIENCE)] == ["1", "2"]
        assert other.start("quick", id="q").wait(timeout=PATIENCE).state is State.COMPLETED
    assert [direct.close(), pooled.close()] == [0, 0]
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM workflow_presence").fetchone() == (0,), "all have left"
        assert connection.execute("SELECT count(*) FROM workflow_engines WHERE driver = id").fetchone() == (0,)


def test_an_engine_that_cannot_renew_its_lease_writes_nothing_until_it_can(pooled_url: str, postgres_url: str) -> None:
    with Engine(pooled_url, Workflow("quick").step("one", lambda: 1), busy_timeout=0.1) as engine:
        presence: Any = engine._machine.store._database.notices._presence  # type: ignore[union-attr]
        with psycopg.connect(postgres_url) as connection:
            connection.execute("SELECT 1 FROM workflow_presence FOR UPDATE")
            while connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is None:
                time.sleep(0.01)  # until the next sign of life is held up
            presence._footing.lapses_at = now()  # as three seconds later
            with pytest.raises(StoreError, match="may take it for dead; nothing was written"):
                engine.start("quick", id="refused")
        assert presence.is_held(30)
        assert engine.start("quick", id="taken").result(timeout=PATIENCE) == 1


@pytest.fixture
def footing(request: pytest.FixtureRequest, postgres_url: str, pooled_url: str) -> Iterator[Any]:
    Engine(postgres_url).close()  # which makes the tables
    made = ByLease if request.param == "lease" else BySession
    one = made(Server(pooled_url if request.param == "lease" else postgres_url), 7, 0)
    one.take()
    yield one
    one.let_go()


@pytest.mark.parametrize("footing", ["lease"], indirect=True)
def test_a_holder_thinks_that_its_lease_has_lapsed_before_anybody_else_does(footing: Any, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection, ThreadPoolExecutor() as pool:
        connection.execute("SELECT 1 FROM workflow_presence FOR UPDATE")
        renewed = pool.submit(footing.renew)
        while connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is None:
            time.sleep(0.01)
        time.sleep(0.1)  # the server takes so long to answer
        connection.commit()
        renewed.result(PATIENCE)
        left = connection.execute("SELECT extract(epoch FROM until - clock_timestamp()) FROM workflow_presence")
        assert footing.lapses_at - now() <= float(next(iter(left))[0]) <= SILENCE


@pytest.mark.parametrize("footing", ["session", "lease"], indirect=True)
def test_what_is_sent_while_a_sign_of_life_is_given_arrives(
    footing: Any, postgres: PostgresServer, postgres_url: str
) -> None:
    if isinstance(footing, BySession):
        postgres.execute(postgres_url, f"NOTIFY {channel(footing.keyspace, 7)}, 'hello'")
        select.select([footing._open.fileno()], [], [], 30)
    else:
        postgres.execute(postgres_url, "INSERT INTO workflow_notices (address, body) VALUES (7, 'hello')")
    footing.renew()
    assert footing.receive(5.0) == ["hello"]


@pytest.mark.parametrize("spelling", ["", "&pooled=false"])
def test_an_address_that_does_not_speak_of_its_pooler_is_told_how(pooled_url: str, spelling: str) -> None:
    with pytest.raises(UsageError, match=r"pooler.*&pooled=true"):
        Engine(pooled_url.replace("&pooled=true", spelling))
    with pytest.raises(UsageError, match=r"pooler.*&pooled=true"):
        Client(pooled_url.replace("&pooled=true", spelling))


def test_pooled_is_true_or_false() -> None:
    with pytest.raises(UsageError, match="pooled must be true or false"):
        Engine("postgresql://db/shop?pooled=yes")
    with pytest.raises(UsageError, match="pooled must be true or false"):
        Engine(None, connection={"host": "db", "database": "shop", "pooled": 1})


def test_a_pooler_that_is_restarted_pauses_runs_and_loses_nothing(
    postgres: PostgresServer, pooler: Pooler, pooled_url: str
) -> None:
    gate = Workflow("gate").wait_for("go").step("after", lambda ctx: ctx.signals["go"])
    with Engine(pooled_url, gate) as one, Engine(pooled_url, gate) as other:
        run = one.start("gate")
        run.wait(until="waiting", timeout=PATIENCE)
        pooler.stop()
        pooler.start()
        signal_when_it_can_be(other, run.id)
        assert run.result(timeout=PATIENCE) == "now"
        assert {one._machine.store.engine_id, other._machine.store.engine_id} == {1, 2}, "nobody was taken for dead"


def signal_when_it_can_be(engine: Engine, run: str) -> None:
    """Signal as a caller should who was told that the database could not be had: the key makes it count once."""
    until = now() + PATIENCE
    while True:
        try:
            engine.signal(run, "go", "now", key="once")
        except StoreError:
            assert now() < until
        else:
            return


def test_a_pooler_that_lends_one_session_only_is_named_in_seconds(postgres: PostgresServer, postgres_url: str) -> None:
    program = bouncer()
    if program is None:
        pytest.skip("there is no PgBouncer here")
    narrow = Pooler(postgres, program, sessions=1)
    narrow.start()
    try:
        with pytest.raises(StoreUnavailable, match=r"no second session.*default_pool_size.*nothing was written"):
            Engine(narrow.url(postgres_url), Workflow("w").step("one", lambda: 1))
    finally:
        narrow.stop()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM workflow_engines").fetchone() == (0,)
