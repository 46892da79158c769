"""Engines that have nothing to do do nothing, and are there at once when they are called."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Engine, Workflow
from tests.patience import PATIENCE, quickest

pytestmark = pytest.mark.on_a_file  # these are what a file promises
SOON = 0.05
"""Seconds from a signal in one process to the next handler in another: the promise."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def test_a_signal_from_another_process_reaches_the_next_handler_soon(worker: Any, client: Callable[[], Client]) -> None:
    owner, caller = worker("gate"), client()

    def trial() -> float:
        run = caller.start("gate")
        run.wait(until="waiting", timeout=PATIENCE)
        begin = now()
        run.signal("go", "on")
        assert owner.hear("note") == [f"{run.id}:note", "on"]
        return now() - begin

    assert quickest(trial, SOON, trials=100) < SOON


def test_an_idle_engine_sleeps_until_it_is_called_and_writes_nothing(path: Path) -> None:
    gate = Workflow("gate").wait_for("go")
    with Engine(path, gate, durability="normal") as one, Engine(path, gate, durability="normal") as other:
        one.start("gate", id="g").wait(until="waiting", timeout=PATIENCE)
        other.signal("g", "go")
        one.run("g").wait(timeout=PATIENCE)
        with closing(sqlite3.connect(path)) as connection:
            before = connection.execute("PRAGMA data_version").fetchone()
            for engine in (one, other):
                engine.settle()
                assert engine._machine.bell._patience() is None, "its thread waits without a limit"
            assert other._machine.lookout._thread is None, "nobody has waited there for a run that is driven elsewhere"
            assert connection.execute("PRAGMA data_version").fetchone() == before


def test_a_client_needs_a_thread_only_while_somebody_waits(path: Path) -> None:
    with Engine(path, Workflow("gate").wait_for("go"), durability="normal"):
        threads = threading.active_count()
        with Client(path) as client:
            client.start("gate", id="g")
            client.list_executions()
            assert threading.active_count() <= threads + 2, "the engine's own"
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("perdure-client")]
