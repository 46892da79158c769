"""When an engine dies, another one on the file that can drive its runs does so at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from perdure import Client, Engine, State, Workflow
from perdure.testing import Moment, close_cleanly, watch_points
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE, quickest

AT_ONCE = 0.3
"""Seconds from a death to the interrupted step running again: the promise."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@pytest.mark.on_a_file
def test_a_live_engine_takes_over_at_once(worker: Any, client: Callable[[], Client], held: Any) -> None:
    heir = worker("held")

    def trial() -> float:
        owner = worker("held")
        run = owner.ask("start", "held", f"run-{owner.pid}", answer="started")[0]
        owner.hear("begin")
        begin = now()
        owner.kill()
        key, at = heir.hear("begin")
        assert key == f"{run}:hold"
        return float(at) - begin

    assert quickest(trial, AT_ONCE, trials=10) < AT_ONCE
    held()
    for run in client().list_executions():
        assert client().run(run.id).result(timeout=PATIENCE) == "held"


@pytest.mark.not_pooled
def test_an_engine_that_opens_takes_over_at_once(worker: Any, path: Path) -> None:
    begun: list[float] = []
    beginning = threading.Event()

    def hold() -> str:
        begun.append(now())
        beginning.set()
        return "held"

    def trial() -> float:
        beginning.clear()
        owner = worker("held")
        owner.tell("start", "held", f"run-{owner.pid}")
        owner.hear("begin")
        owner.kill()
        begin = now()
        with Engine(path, Workflow("held").step("hold", hold), durability="normal"):
            assert beginning.wait(PATIENCE)
            return begun[-1] - begin

    assert quickest(trial, AT_ONCE, trials=10) < AT_ONCE


def test_of_two_heirs_each_run_has_one(worker: Any, client: Callable[[], Client], held: Any) -> None:
    owner = worker("held")
    heirs = [worker("held"), worker("held")]
    runs = [owner.ask("start", "held", f"run-{number}", answer="started")[0] for number in range(4)]
    for _ in runs:
        owner.hear("begin")
    owner.kill()
    held()
    reader = client()
    executions = [reader.run(run).wait(timeout=PATIENCE) for run in runs]
    assert [execution.steps["hold"].attempts for execution in executions] == [2] * 4
    assert [heir.close() for heir in heirs] == [0, 0]


def test_an_engine_that_is_closed_gives_its_runs_to_a_live_one(worker: Any, client: Callable[[], Client]) -> None:
    owner, heir = worker("gate", "timed"), worker("gate", "timed")
    owner.ask("start", "gate", "g", answer="started")
    owner.ask("start", "timed", "t", answer="started")
    assert owner.close() == 0
    reader = client()
    for run in ("g", "t"):
        reader.signal(run, "go", run)
        assert reader.run(run).result(timeout=PATIENCE) == run
    assert heir.hear("note") == ["g:note", "g"]


def test_a_waiting_timer_goes_on_at_the_heir(worker: Any, client: Callable[[], Client]) -> None:
    owner, heir = worker("timed"), worker("timed")
    owner.ask("start", "timed", "t", answer="started")
    reader = client()
    reader.run("t").wait(until="waiting", timeout=PATIENCE)
    assert heir.ask("deadline", answer="deadline") == ["None"]
    owner.kill()
    reader.signal("t", "go", 1)
    assert reader.run("t").result(timeout=PATIENCE) == 1


def test_what_an_heir_cannot_drive_goes_to_one_that_can(worker: Any, client: Callable[[], Client]) -> None:
    owner = worker("gate", "quick")
    reader = client()
    reader.start("gate", id="g").wait(until="waiting", timeout=PATIENCE)
    stranger = worker("quick")
    owner.kill()
    expert = worker("gate")  # it opens when the stranger has taken over, or is about to
    reader.signal("g", "go", 4)
    assert reader.run("g").result(timeout=PATIENCE) == 4
    assert expert.hear("note") == ["g:note", "4"]
    assert stranger.close() == 0


def test_what_nobody_could_drive_goes_on_when_somebody_learns_to(worker: Any, client: Callable[[], Client]) -> None:
    owner, stranger, learner = worker("gate"), worker("quick"), worker("quick")
    reader = client()
    reader.start("gate", id="g").wait(until="waiting", timeout=PATIENCE)
    owner.kill()
    reader.signal("g", "go", 4)
    learner.ask("register", "gate", answer="registered")
    assert reader.run("g").result(timeout=PATIENCE) == 4
    assert stranger.close() == 0


def test_a_family_stays_together(worker: Any, client: Callable[[], Client], held: Any) -> None:
    owner = worker("parent", "held")
    owner.tell("start", "parent", "p")
    owner.hear("begin")
    half = worker("held")  # it could drive the child, but not the parent
    owner.kill()
    whole = worker("parent", "held")
    held()
    assert client().run("p").result(timeout=PATIENCE) == "grown"
    assert half.close() == 0
    assert whole.close() == 0


def test_a_handle_on_another_engine_s_run_outlives_that_engine(worker: Any, path: Path, held: Any) -> None:
    engine = Engine(path, Workflow("held").step("hold", lambda: "mine"), durability="normal", queue_name=unique_name())
    owner = worker("held")
    owner.tell("start", "held", "h")
    owner.hear("begin")
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(engine.run("h").result(timeout=PATIENCE)))
    waiting.start()
    owner.kill()
    waiting.join()
    assert results == ["mine"]
    close_cleanly(engine)


def test_frozen_time_neither_delays_it_nor_brings_it_about(worker: Any, path: Path, held: Any) -> None:
    taken = threading.Event()
    workflow = Workflow("held").step("hold", taken.set)
    with freeze_time("2001-01-01") as frozen, Engine(path, workflow, durability="normal"):
        owner = worker("held")
        owner.tell("start", "held", "h")
        owner.hear("begin")
        frozen.move_to("2101-01-01")
        assert not taken.is_set()
        owner.kill()
        assert taken.wait(PATIENCE)


@pytest.mark.on_a_file
def test_engines_of_one_process_take_over_from_each_other(path: Path) -> None:
    engines = [Engine(path, Workflow("gate").wait_for("go"), durability="normal") for _ in range(3)]
    run = engines[0].start("gate", id="g")
    run.wait(until="waiting", timeout=PATIENCE)
    engines[0].abandon()
    for engine in engines[1:]:
        engine.signal("g", "go", key="once")
    assert [engine.run("g").wait(timeout=PATIENCE).state for engine in engines[1:]] == [State.COMPLETED] * 2
    for engine in engines:
        engine.close()
    assert sorted(file.name for file in path.parent.glob(f"{path.name}-bell-*")) == []


def test_an_engine_that_waits_for_others_keeps_nobody_waiting(path: Path) -> None:
    name = unique_name()
    with Engine(path, durability="normal"):
        other = Engine(path, durability="normal", queue_name=name)
        begin = now()
        close_cleanly(other, timeout=2 * PATIENCE)
        assert now() - begin < PATIENCE
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.mark.on_a_file
def test_what_an_engine_leaves_that_closes_while_another_one_opens_is_gone_on_with(path: Path) -> None:
    workflow = Workflow("gate").wait_for("go")
    old = Engine(path, workflow, durability="normal")
    old.start("gate", id="g").wait(until="waiting", timeout=PATIENCE)

    def close(moment: Moment) -> None:
        if moment.point == "takeover.after" and not old.closed:  # the new one has found nobody dead
            old.close()

    with watch_points(close):
        heir = Engine(path, workflow, durability="normal")
    heir.signal("g", "go", 7)

    assert heir.run("g").wait(timeout=PATIENCE).state == State.COMPLETED
    heir.close()
