"""A timer, and what it ends the wait for, at the very same instant: what came in time wins, whatever is heard first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from perdure import Engine, ExecutionFinished, State, Workflow
from perdure.actors import clock, execution
from perdure.actors.core import CoreActor, Letter, Mail
from perdure.actors.supervisor import Tick
from perdure.dsl.messages import Message, Signalled
from perdure.machine import Machine
from perdure.testing import assert_events, record
from tests.patience import PATIENCE


def after_the_timer(lab: Engine, frozen: Any, ring: Callable[[Machine], object], answer: Callable[[], None]) -> None:
    """Let five seconds pass, have the timer rung, and only then have the answer given; the core sees both at once."""
    machine = lab._machine
    post = machine.core.post
    answered = threading.Event()

    def seen(actor: CoreActor, letter: Mail) -> None:
        post(actor, letter)
        answered.set()

    def both() -> None:
        frozen.tick(5)
        ring(machine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(machine.core, "post", seen)
            threading.Thread(target=answer).start()
            assert answered.wait(PATIENCE)

    with machine.lanes.alarm_paused():
        machine.exclusively(both)
    lab.settle()


def test_a_signal_at_the_deadline_wins_though_the_timer_was_first(lab: Engine, frozen: Any) -> None:
    record(lab)
    run = lab.register(Workflow("w").wait_for("go", timeout=5)).start("w")
    run.wait(PATIENCE, until="waiting")

    # Whoever knows of timers and hands out signals has the timer in its mail, and the signal behind it.
    after_the_timer(
        lab,
        frozen,
        lambda machine: machine.core.post(machine.supervisor, Letter(Tick())),
        lambda: run.signal("go", "in time"),
    )

    assert run.wait(PATIENCE).signals["go"] == "in time"
    assert_events(run, "workflow:started", "workflow:waiting", "signal:received go", "workflow:completed")


def test_a_result_at_the_time_limit_counts_though_the_timer_was_first(lab: Engine, frozen: Any) -> None:
    record(lab)
    begun, release = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert release.wait(PATIENCE)
        return "in time"

    run = lab.register(Workflow("w").step("slow", slow, timeout=5, retry=1)).start("w")
    assert begun.wait(PATIENCE)

    # The run itself has the timer in its mail, and the result behind it.
    after_the_timer(lab, frozen, lambda machine: machine.supervisor.timekeeper.fire(clock.micros()), release.set)

    assert run.result(PATIENCE) == "in time"
    assert_events(run, "workflow:started", "step:started slow", "step:completed slow", "workflow:completed")


def test_mail_that_comes_while_a_timer_looks_through_what_stands_behind_it_does_no_harm(
    lab: Engine, frozen: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine, came_in_time = lab._machine, execution._came_in_time
    looked_at: list[Message] = []

    def disturbed(message: Message, due: int) -> bool:
        looked_at.append(message)
        (actor,) = machine.supervisor._live.values()
        machine.core.post(actor, Letter(Signalled("go", "null")))
        return came_in_time(message, due)

    def too_late() -> None:
        with suppress(ExecutionFinished):
            run.signal("go", "too late")

    monkeypatch.setattr(execution, "_came_in_time", disturbed)
    run = lab.register(Workflow("w").wait_for("go", timeout=4)).start("w")
    run.wait(PATIENCE, until="waiting")

    after_the_timer(lab, frozen, lambda _: machine.core.post(machine.supervisor, Letter(Tick())), too_late)

    assert run.wait(PATIENCE).state is State.FAILED
    assert len(looked_at) == 1
    assert caplog.messages == []
