"""What clients send that know no workflow: made of the declared types where it arrives, or refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Context, Engine, InvalidPayload, Signal, State, StoreError, Workflow, WorkflowFailed
from perdure.actors.admission import Admission
from perdure.actors.tray import Tray
from perdure.testing import close_cleanly
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE


class Slow:
    """What the constructor of a name waits for, and where it was called."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.threads: list[str] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()


SLOW = Slow()


@dataclass
class Order:
    number: int
    name: str = ""

    def __post_init__(self) -> None:
        if self.name == "odd":
            raise LookupError("no such name")
        if self.name == "exit":
            raise SystemExit("no more")
        SLOW.threads.append(threading.current_thread().name)
        SLOW.names.append(self.name)
        if self.name.startswith("slow"):
            SLOW.begun.set()
            assert SLOW.may_end.wait(PATIENCE)


@dataclass
class Decision:
    by: str

    def __post_init__(self) -> None:
        if self.by == "slow":
            SLOW.begun.set()
            assert SLOW.may_end.wait(PATIENCE)


DECIDED = Signal("decided", Decision)


def ship(ctx: Context[Order]) -> int:
    return ctx.input.number


ORDERS = Workflow("orders", input=Order).step("ship", ship, retry=1)
DECISIONS = (
    Workflow("decisions")
    .wait_for(DECIDED, timeout=timedelta(days=1))
    .step("file", lambda ctx: ctx[DECIDED].by, retry=1)
)
TYPED = (
    Workflow("typed", input=Order).wait_for(DECIDED).step("end", lambda ctx: f"{ctx.input.number} {ctx[DECIDED].by}")
)
PLAIN = Workflow("plain").step("answer", lambda ctx: ctx.input)


@pytest.fixture(autouse=True)
def _slow() -> Iterator[None]:
    SLOW.__init__()  # type: ignore[misc]
    yield
    SLOW.may_end.set()


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = Engine(path, ORDERS, DECISIONS, TYPED, PLAIN, durability="normal", queue_name=unique_name())
    yield engine
    close_cleanly(engine)


@pytest.fixture
def stranger(engine: Engine, client: Callable[[], Client]) -> Client:
    """A client that knows no workflow, beside an engine that is alive."""
    return client()


def test_an_input_is_made_of_the_declared_type(stranger: Client, engine: Engine) -> None:
    run = stranger.start("orders", {"number": 7})
    assert run.result(timeout=PATIENCE) == 7
    assert SLOW.threads
    assert all("-crew-" in name for name in SLOW.threads), "types are user code"
    execution = engine.get_execution(run.id)
    assert execution is not None
    assert execution.input == Order(7)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"number": "seven"}, r"the input of workflow 'orders': \$\.number: expected int, got str 'seven'"),
        ({"amount": 7}, "has no field 'amount'"),
        (None, "expected Order, got NoneType"),
        ({"number": 7, "name": "odd"}, "no such name"),
        ({"number": 7, "name": "exit"}, "SystemExit: no more"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_and_starts_nothing(
    stranger: Client, engine: Engine, given: Any, why: str
) -> None:
    with pytest.raises(InvalidPayload, match=why):
        stranger.start("orders", given, id="one")
    assert engine.get_execution("one") is None
    assert stranger.start("orders", {"number": 1}, id="one").result(timeout=PATIENCE) == 1, "and the id is free"


def test_a_payload_is_made_of_the_declared_type(stranger: Client) -> None:
    run = stranger.start("decisions")
    run.wait(until="waiting", timeout=PATIENCE)
    with pytest.raises(InvalidPayload, match=r"the payload of signal 'decided'.*needs the field 'by'"):
        run.signal("decided", {})
    assert run.wait(until="waiting", timeout=PATIENCE).state is State.WAITING
    run.signal("decided", {"by": "me"})
    assert run.result(timeout=PATIENCE) == "me"


def test_what_was_sent_while_nobody_was_there_is_taken_in_order(path: Path, client: Callable[[], Client]) -> None:
    Engine(path).close()
    sender = client()
    sender.start("typed", {"number": 3}, id="one").signal("decided", {"by": "me"})
    sender.start("orders", {"number": "three"}, id="bad")
    sender.start("plain", 5, id="other")
    with Engine(path, ORDERS, TYPED, PLAIN, durability="normal") as engine:
        engine.settle()
        assert engine.run("one").result(timeout=PATIENCE) == "3 me"
        assert engine.run("other").result(timeout=PATIENCE) == 5
        assert engine.get_execution("bad") is None


def test_whatever_comes_while_types_are_at_work_is_handed_on_after_it(stranger: Client, engine: Engine) -> None:
    results: list[Any] = []

    def call(*what: Any, id: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: results.append(stranger.start(*what, id=id).id))
        thread.start()
        return thread

    first = call("orders", {"number": 1, "name": "slow"}, id="first")
    assert SLOW.begun.wait(PATIENCE)
    second = call("plain", 5, id="second")
    own = engine.start("plain", 6)
    assert own.result(timeout=PATIENCE) == 6, "what the engine is asked itself goes on"
    assert engine.get_execution("second") is None

    SLOW.may_end.set()
    for thread in (first, second):
        thread.join(PATIENCE)

    assert sorted(results) == ["first", "second"]
    assert [engine.run(name).result(timeout=PATIENCE) for name in ("first", "second")] == [1, 5]


def test_types_do_not_wait_for_handlers_to_return(path: Path, client: Callable[[], Client]) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert may_end.wait(PATIENCE)

    asked = Workflow("asked").wait_for(DECIDED)
    engine = Engine(
        path, Workflow("hold").step("hold", hold), asked, threads=1, durability="normal", queue_name=unique_name()
    )
    engine.start("hold")
    assert begun.wait(PATIENCE)
    run = client().start("asked")
    run.signal("decided", {"by": "me"})
    assert run.wait(timeout=PATIENCE / 2).state is State.COMPLETED, "though the only thread for handlers is taken"
    may_end.set()
    close_cleanly(engine)


def test_a_typed_signal_that_was_accepted_in_time_is_before_the_deadline(
    path: Path, client: Callable[[], Client], freezer: Any
) -> None:
    with Engine(path, DECISIONS, durability="normal") as engine:
        run = engine.start(DECISIONS)
        engine.settle()
    client().signal(run.id, "decided", {"by": "slow"})
    freezer.tick(timedelta(days=2))
    with Engine(path, DECISIONS, PLAIN, durability="normal") as engine:
        assert SLOW.begun.wait(PATIENCE)
        ring(engine)
        SLOW.may_end.set()
        assert engine.run(run.id).result(timeout=PATIENCE) == "slow"

        late = engine.start(DECISIONS)
        late.wait(until="waiting", timeout=PATIENCE)
        freezer.tick(timedelta(days=2))
        ring(engine)
        with pytest.raises(WorkflowFailed):  # timers are looked at again: nobody has decided
            late.result(timeout=PATIENCE)


def ring(engine: Engine) -> None:
    """Have timers looked at as the alarm does, and wait until they were."""
    engine._machine._ring()
    assert engine.start("plain", 1).result(timeout=PATIENCE) == 1


def test_an_engine_that_closes_while_types_are_at_work_leaves_the_message_for_the_next(
    path: Path, client: Callable[[], Client]
) -> None:
    Engine(path).close()
    client().start("orders", {"number": 4, "name": "slow"}, id="one")
    first = Engine(path, ORDERS, durability="normal", queue_name=unique_name())
    assert SLOW.begun.wait(PATIENCE)
    first.close(force=True)
    with Engine(path, ORDERS, durability="normal") as second:
        SLOW.may_end.set()
        second.settle()
        assert second.run("one").result(timeout=PATIENCE) == 4
    close_cleanly(first)
    assert [each for each in SLOW.names if each] == ["slow", "slow"]


def test_a_turn_of_the_inbox_that_fails_meanwhile_loses_nothing(
    stranger: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = Admission.fitted
    failures: list[BaseException] = []

    def fail_once(admission: Admission, answer: Any) -> None:
        if not failures:
            failures.append(StoreError("the disk has failed; for this test"))
            raise failures[0]
        fitted(admission, answer)

    monkeypatch.setattr(Admission, "fitted", fail_once)
    monkeypatch.setattr(Tray, "_try_again", lambda tray: tray.catch_up())  # at once, not in a while
    run = stranger.start("orders", {"number": 5}, id="one")
    assert run.result(timeout=PATIENCE) == 5
    assert failures
