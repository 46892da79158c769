"""A client starts, signals, cancels and reads, and runs nothing itself."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import (
    Client,
    Context,
    DuplicateExecution,
    Engine,
    EngineClosed,
    EngineError,
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    InvalidPayload,
    Signal,
    State,
    StoreError,
    UnknownSignal,
    UsageError,
    WaitTimeout,
    Workflow,
    WorkflowCancelled,
    WorkflowFailed,
    WouldDeadlock,
)
from perdure.actors.courier import Courier
from perdure.actors.exchange import exchange_of
from perdure.persistence.inbox import Inbox
from perdure.persistence.records import InboxRow
from perdure.persistence.store import Store
from perdure.testing import close_cleanly
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE

GO = Signal("go", int)


@dataclass
class Order:
    number: int


class Text(str):
    """A text as template engines and database toolkits have them."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


def gate() -> Workflow[Any, Any]:
    return Workflow("gate").wait_for(GO).step("answer", lambda ctx: ctx.signals["go"])


def typed() -> Workflow[Order, Order]:
    def ship(ctx: Context[Order]) -> Order:
        return Order(ctx.input.number + 1)

    return Workflow("typed", input=Order).step("ship", ship)


def failing() -> Workflow[Any, Any]:
    def fail() -> None:
        raise LookupError("no such street")

    return Workflow("failing").step("look", fail, retry=1)


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """An engine that is alive."""
    engine = Engine(path, gate(), typed(), failing(), durability="normal", queue_name=unique_name())
    yield engine
    close_cleanly(engine)


@pytest.fixture
def live(engine: Engine, client: Callable[[], Client]) -> Client:
    """A client beside it."""
    return client()


@pytest.fixture
def alone(path: Path, client: Callable[[], Client]) -> Client:
    """A client of a database that nobody has open."""
    Engine(path).close()
    return client()


def rows(path: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608


class TestBesideALiveEngine:
    def test_what_it_starts_and_signals_runs_there(self, live: Client, engine: Engine) -> None:
        run = live.start("gate", id="g")
        assert run.wait(until="waiting", timeout=PATIENCE).state == State.WAITING
        run.signal("go", 7)
        assert run.result(timeout=PATIENCE) == 7
        assert engine.run("g").result(timeout=PATIENCE) == 7

    def test_texts_of_classes_of_their_own_are_texts(self, live: Client) -> None:
        run = live.start(Text("gate"), id=Text("g"), key=Text("k"), business_key=Text("b"))
        run.signal(Text("go"), 7, key=Text("once"))
        assert run.result(timeout=PATIENCE) == 7
        assert [each.id for each in live.list_executions(business_key=Text("b"))] == ["g"]
        live.fork(Text("g"), at=Text("answer"), by=Text("me"), reason=Text("why not")).result(timeout=PATIENCE)

    def test_a_start_is_answered_with_the_run_that_the_engine_has_begun(self, live: Client, engine: Engine) -> None:
        run = live.start("gate", tags={"who": "me"})
        found = engine.get_execution(run.id)
        assert found is not None
        assert found.tags == {"who": "me"}
        assert [each.id for each in live.list_executions("gate")] == [run.id]
        assert live.run(run.id).state in (State.RUNNING, State.WAITING)

    def test_its_errors_are_the_engine_s_own(self, live: Client) -> None:
        run = live.start("gate", id="g")
        with pytest.raises(UnknownSignal, match="never waits for 'gi'"):
            run.signal("gi", 1)
        run.signal("go", 1)
        run.wait(timeout=PATIENCE)
        with pytest.raises(ExecutionFinished) as finished:
            run.signal("go", 1)
        assert (finished.value.execution_id, finished.value.state) == ("g", "completed")
        with pytest.raises(IllegalTransition):
            run.cancel()
        for verb in (live.cancel, live.run, lambda name: live.signal(name, "go", 1)):
            with pytest.raises(ExecutionNotFound):
                verb("nobody")

    @pytest.mark.on_a_file
    def test_a_message_leaves_the_inbox_once_it_was_acted_on(self, live: Client, path: Path) -> None:
        live.start("gate", id="g").signal("go", 1)
        with pytest.raises(UnknownSignal):
            live.start("gate").signal("gi", 1)
        live.run("g").wait(timeout=PATIENCE)
        assert rows(path, "workflow_inbox") == []

    def test_a_run_that_fails_or_is_cancelled_is_told_as_such(self, live: Client) -> None:
        with pytest.raises(WorkflowFailed, match="no such street"):
            live.start("failing").result(timeout=PATIENCE)
        run = live.start("gate")
        run.cancel()
        with pytest.raises(WorkflowCancelled):
            run.result(timeout=PATIENCE)

    def test_a_run_can_be_awaited(self, live: Client) -> None:
        async def wait() -> Any:
            run = live.start("gate")
            run.signal("go", 3)
            return await run

        assert asyncio.run(wait()) == 3

    def test_a_wait_has_its_limit(self, live: Client) -> None:
        run = live.start("gate")
        with pytest.raises(WaitTimeout, match="still waiting"):
            run.result(timeout=0.01)

    def test_the_same_id_or_key_is_one_run(self, live: Client, engine: Engine) -> None:
        first = live.start("gate", key="k")
        assert live.start("gate", key="k").id == first.id
        assert engine.start("gate", key="k").id == first.id
        assert live.start("gate", id=first.id).id == first.id
        with pytest.raises(DuplicateExecution, match="idempotency key 'k'"):
            live.start("gate", key="k", if_exists="reject")
        with pytest.raises(DuplicateExecution, match="of workflow 'gate'"):
            live.start("failing", id=first.id)

    def test_a_workflow_object_is_for_types_only(self, live: Client) -> None:
        assert live.start(typed(), Order(1)).result(timeout=PATIENCE) == Order(2)
        with pytest.raises(InvalidPayload):
            live.start(typed(), "one")  # type: ignore[misc]
        with pytest.raises(InvalidPayload):
            live.signal(live.start("gate").id, GO, "one")  # type: ignore[misc]

    def test_a_workflow_that_is_known_here_is_started_by_name_as_by_itself(self, live: Client) -> None:
        live.start(typed(), Order(1))  # which makes it known
        name = typed().name
        assert live.start(name, {"number": 1}).result(timeout=PATIENCE) == Order(2)
        with pytest.raises(InvalidPayload):
            live.start(name, {"number": "one"})

    def test_a_run_whose_start_is_taken_between_two_looks_is_found(
        self, live: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start_of = Inbox.start_of

        def taken_first(inbox: Inbox, id: str) -> Any:
            engine.start("gate", id=id)
            return start_of(inbox, id)

        monkeypatch.setattr(Inbox, "start_of", taken_first)
        assert live.get_execution("g") is not None

    def test_a_start_can_be_put_off(self, live: Client, engine: Engine) -> None:
        run = live.start("gate", delay=timedelta(days=1))
        assert run.wait(until="waiting", timeout=PATIENCE).waiting_for[0].event is None
        due = engine.next_deadline()
        assert due is not None

    def test_a_handler_may_use_one_but_not_wait_for_itself(self, path: Path, engine: Engine, live: Client) -> None:
        def call(ctx: Context[Any]) -> Any:
            with pytest.raises(WouldDeadlock):
                live.run(ctx.execution_id).result()
            other = live.start("gate")
            other.signal("go", 9)
            return other.result(timeout=PATIENCE)

        engine.register(Workflow("caller").step("call", call))
        assert live.start("caller").result(timeout=PATIENCE) == 9

    def test_many_threads_may_share_one(self, live: Client) -> None:
        results: list[Any] = []

        def use(number: int) -> None:
            run = live.start("gate", id=f"g{number}")
            run.signal("go", number)
            results.append(run.result(timeout=PATIENCE))

        threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == list(range(8))

    def test_what_is_on_disk_is_no_error_though_the_database_goes_away_before_anybody_is_told(self, path: Path) -> None:
        Engine(path).close()
        store = Store(str(path), durability="normal")
        store.attach()
        courier = Courier(exchange_of(store.database), store.inbox)
        row = store.inbox.send(InboxRow(0, "signal", "g", None, None, None, "{}", 5))
        store.close()

        assert courier.deliver(row, "g") is None
        assert courier.deliver(row) is None

    @pytest.mark.on_a_file
    def test_a_schedule_is_changed_while_other_threads_start_runs(
        self, path: Path, client: Callable[[], Client]
    ) -> None:
        with Engine(path, gate()) as engine:
            engine.schedule("hourly", "gate", every=3600)
        shared = client()

        def start() -> None:
            for _ in range(600):
                shared.start("gate")

        def change() -> None:
            for _ in range(300):
                shared.pause_schedule("hourly")
                shared.resume_schedule("hourly")

        with ThreadPoolExecutor() as pool:
            ends = [pool.submit(act) for act in (start, change)]
            for end in ends:
                end.result()

        assert shared.count_executions() == 0
        assert len(rows(path, "workflow_inbox")) == 600

    def test_signals_are_taken_in_the_order_in_which_they_were_sent(self, path: Path, live: Client) -> None:
        collect = Workflow("collect")
        for number in range(5):
            collect = collect.wait_for(Signal("go", int)).step(f"s{number}", lambda ctx: ctx.signals["go"])
        with Engine(path, collect, durability="normal"):
            run = live.start("collect")
            for number in range(5):
                run.signal("go", number)
            steps = run.wait(timeout=PATIENCE).steps
            assert [step.result for name, step in steps.items() if name[0] == "s"] == [*range(5)]


class TestWithNobodyThere:
    @pytest.mark.on_a_file
    def test_what_it_does_waits_for_the_next_engine(self, alone: Client, path: Path) -> None:
        run = alone.start("gate", {"n": 1}, id="g", tags={"a": 1})
        run.signal("go", 5)
        execution = alone.get_execution("g")
        assert execution is not None
        assert (execution.state, execution.input, dict(execution.tags)) == (State.RUNNING, {"n": 1}, {"a": 1})
        assert alone.list_executions() == []
        with Engine(path, gate(), durability="normal") as engine:
            assert engine.run("g").result(timeout=PATIENCE) == 5
        assert run.result(timeout=PATIENCE) == 5
        assert rows(path, "workflow_inbox") == []

    @pytest.mark.on_a_file
    def test_a_message_for_a_workflow_that_is_not_registered_waits_until_it_is(self, alone: Client, path: Path) -> None:
        run = alone.start("gate", id="g")
        run.signal("go", 5)
        with Engine(path, failing(), durability="normal") as engine:
            assert len(rows(path, "workflow_inbox")) == 2
            engine.register(gate())
            assert run.result(timeout=PATIENCE) == 5

    def test_a_signal_that_came_in_time_opens_its_gate_however_late_it_is_seen(
        self, alone: Client, path: Path, freezer: Any
    ) -> None:
        timed = Workflow("timed").wait_for("go", timeout=60).step("answer", lambda ctx: ctx.signals["go"])
        with Engine(path, timed, durability="normal") as engine:
            engine.start("timed", id="in-time")
            engine.start("timed", id="late")
            engine.settle()
        freezer.tick(60)
        alone.signal("in-time", "go", "yes")
        freezer.tick(1)
        alone.signal("late", "go", "yes")
        freezer.tick(3600)
        with Engine(path, timed, durability="normal") as engine:
            engine.settle()
            assert engine.run("in-time").result(timeout=PATIENCE) == "yes"
            assert engine.run("late").wait(timeout=PATIENCE).state == State.FAILED

    def test_the_same_id_or_key_is_one_run(self, alone: Client) -> None:
        first = alone.start("gate", key="k")
        assert alone.start("gate", key="k").id == first.id
        assert alone.start("gate", id=first.id).id == first.id
        with pytest.raises(DuplicateExecution):
            alone.start("gate", key="k", if_exists="reject")

    @pytest.mark.on_a_file
    def test_what_the_database_can_tell_is_refused_at_once(self, alone: Client, path: Path) -> None:
        with Engine(path, gate(), durability="normal") as engine:
            engine.start("gate", id="g")
            engine.signal("g", "go", 1, key="once")
            engine.run("g").result(timeout=PATIENCE)
        with pytest.raises(ExecutionFinished):
            alone.signal("g", "go", 1)
        alone.signal("g", "go", 1, key="once")  # it was sent before
        with pytest.raises(IllegalTransition):
            alone.cancel("g")
        with pytest.raises(ExecutionNotFound):
            alone.signal("nobody", "go", 1)
        assert rows(path, "workflow_inbox") == []

    @pytest.mark.on_a_file
    def test_what_only_an_engine_can_tell_is_refused_later_and_logged(
        self, alone: Client, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        alone.start("gate", id="g").signal("gi", 1)
        with Engine(path, gate(), durability="normal") as engine:
            engine.settle()
        assert "'gate' never waits for 'gi'" in caplog.text
        assert rows(path, "workflow_inbox") == []

    @pytest.mark.on_a_file
    def test_a_message_of_another_release_is_left_for_that(
        self, alone: Client, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        alone.start("gate", id="g")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE workflow_inbox SET kind = 'teleport'")
        with Engine(path, gate(), durability="normal") as engine:
            engine.settle()
        assert "is of another release" in caplog.text
        assert len(rows(path, "workflow_inbox")) == 1

    @pytest.mark.on_a_file
    def test_it_takes_nothing_over_and_owns_nothing(self, alone: Client, path: Path) -> None:
        engines = rows(path, "workflow_engines")
        alone.start("gate")
        assert rows(path, "workflow_engines") == engines
        assert rows(path, "workflow_executions") == []

    @pytest.mark.on_a_file
    def test_to_open_and_read_touches_nothing(self, path: Path) -> None:
        with Engine(path, gate(), durability="normal") as engine:
            engine.start("gate", id="g")
        before = path.read_bytes()
        with Client(path) as client:
            assert client.get_execution("g") is not None
            assert client.get_execution("nobody") is None
            assert [found.id for found in client.list_executions(state="waiting")] == ["g"]
        assert path.read_bytes() == before


class TestMisuse:
    @pytest.mark.parametrize("path", [None, ":memory:", "mysql://host/db", 7])
    def test_a_database_that_it_cannot_use_is_refused(self, path: Any) -> None:
        with pytest.raises(UsageError):
            Client(path)

    @pytest.mark.on_a_file
    def test_a_file_that_is_not_there_is_refused_and_not_made(self, path: Path) -> None:
        with pytest.raises(StoreError, match="there is no database"):
            Client(path)
        assert not path.exists()

    @pytest.mark.on_a_file
    def test_a_file_that_is_no_database_of_ours_is_refused(self, path: Path) -> None:
        path.touch()
        with pytest.raises(StoreError, match="open it once with an engine"):
            Client(path)

    @pytest.mark.on_a_file
    def test_an_older_schema_is_left_to_an_engine(self, path: Path) -> None:
        Engine(path).close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM workflow_migrations WHERE number > 1")
        with pytest.raises(StoreError, match="open it once with an engine"):
            Client(path)

    @pytest.mark.parametrize(
        "use",
        [
            lambda client: client.start(""),
            lambda client: client.start(7),
            lambda client: client.start("gate", id=""),
            lambda client: client.start("gate", key=""),
            lambda client: client.start("gate", key="half \ud800"),
            lambda client: client.start("gate", version=7),
            lambda client: client.start("gate", object()),
            lambda client: client.start("gate", if_exists="ignore"),
            lambda client: client.start("gate", tags=7),
            lambda client: client.start("gate", tags={"half \ud800": 7}),
            lambda client: client.start("gate", business_key="half\0"),
            lambda client: client.signal("", "go"),
            lambda client: client.signal("g", ""),
            lambda client: client.signal("g", "go", key=""),
            lambda client: client.cancel(""),
            lambda client: client.cancel("g", reason="half \ud800"),
            lambda client: client.pause_schedule(7),
            lambda client: client.get_execution(7),
            lambda client: client.list_executions(7),
            lambda client: client.list_executions(limit=0),
            lambda client: client.list_executions(state="done"),
            lambda client: client.subscribe("g", print),
            lambda client: client.start("gate").events(),
            lambda client: Client(client.path, "gate"),  # type: ignore[arg-type]
            lambda client: Client(client.path, durability="none"),  # type: ignore[arg-type]
        ],
    )
    def test_a_wrong_argument_is_refused(self, alone: Client, use: Callable[[Client], Any]) -> None:
        with pytest.raises(UsageError):
            use(alone)

    @pytest.mark.parametrize("verb", ["start", "signal", "cancel", "run", "get_execution", "list_executions"])
    def test_a_closed_one_says_so(self, alone: Client, verb: str) -> None:
        arguments = {"signal": ("g", "go"), "list_executions": ()}
        alone.close()
        alone.close()
        assert alone.closed
        with pytest.raises(EngineClosed, match="this client is closed; open a new Client"):
            getattr(alone, verb)(*arguments.get(verb, ("gate",)))

    def test_whoever_waits_when_it_is_closed_is_told(self, live: Client) -> None:
        run = live.start("gate")
        caught: list[BaseException] = []
        waiting = threading.Event()
        live.when_changed(run.id, waiting.set)

        def wait() -> None:
            try:
                run.result()
            except EngineError as error:
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(PATIENCE)
        live.close()
        thread.join(PATIENCE)
        assert [type(error) for error in caught] == [EngineClosed]


def test_it_is_among_the_public_names() -> None:
    assert perdure.Client is Client
    assert "Client" in perdure.__all__


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-rather-long-name"] * 5)
    folder.mkdir(parents=True)
    path = folder / f"{'long' * 20}.db"
    assert len(os.fsencode(path)) > 200
    with Engine(path, gate(), durability="normal"), Client(path) as client:
        run = client.start("gate")
        run.signal("go", 1)
        assert run.result(timeout=PATIENCE) == 1
        assert rows(path, "workflow_inbox") == []
