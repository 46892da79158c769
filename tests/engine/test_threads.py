"""Threads are kept for the next engine."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Workflow
from perdure.actors.threads import run_in_thread
from tests.patience import PATIENCE


def test_what_runs_next_gets_the_thread_that_idles() -> None:
    used: list[int] = []

    for _ in range(3):
        assert run_in_thread("lent", lambda: used.append(threading.get_ident())).join(timeout=PATIENCE)

    assert len(set(used)) < len(used)


def test_a_thread_bears_the_name_of_what_it_does_and_another_one_while_it_idles() -> None:
    names: list[str] = []

    assert run_in_thread("worker of mine", lambda: names.append(threading.current_thread().name)).join(timeout=PATIENCE)

    assert names == ["worker of mine"]
    assert "worker of mine" not in [thread.name for thread in threading.enumerate()]


def test_two_tasks_at_a_time_have_two_threads() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)

    tasks = [run_in_thread("pair", lambda: _meet(meeting)) for _ in range(2)]

    assert all(task.join(timeout=PATIENCE) for task in tasks)


def _meet(meeting: threading.Barrier) -> None:
    meeting.wait()


def test_what_raises_is_told_of_as_by_any_thread_and_harms_no_later_task(monkeypatch: pytest.MonkeyPatch) -> None:
    told: queue.SimpleQueue[type[BaseException]] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda failure: told.put(failure.exc_type))

    def broken() -> None:
        raise RuntimeError

    assert run_in_thread("broken", broken).join(timeout=PATIENCE)
    assert told.get(timeout=PATIENCE) is RuntimeError
    assert run_in_thread("sound", lambda: None).join(timeout=PATIENCE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_that_only_its_parent_has() -> None:
    assert run_in_thread("before the fork", lambda: None).join(timeout=PATIENCE)

    child = os.fork()
    if child == 0:
        os._exit(0 if run_in_thread("in the child", lambda: None).join(timeout=PATIENCE) else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_an_engine_leaves_its_threads_to_the_next_one() -> None:
    used: set[int] = set()
    flow = Workflow("flow").step("look", lambda: used.add(threading.get_ident()))

    with Engine(None, flow, queue_name="leaver") as engine:
        engine.start("flow").result(timeout=PATIENCE)

    assert used <= {thread.ident for thread in threading.enumerate()}
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("leaver")]


def test_a_parallel_group_counts_once_for_concurrency(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)
    pair = Workflow("pair").parallel(
        lambda w: w.step("one", lambda: _meet(meeting)), lambda w: w.step("two", lambda: _meet(meeting))
    )
    with Engine(tmp_path / "runs.db", pair, concurrency=1, durability="normal") as engine:
        runs = [engine.start("pair") for _ in range(3)]
        assert [run.wait(PATIENCE).state for run in runs] == ["completed"] * 3


def test_mail_that_comes_while_something_that_fails_has_the_core_to_itself_is_handled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "runs.db", Workflow("gated").wait_for("go"), durability="normal") as engine:
        run = engine.start("gated")
        run.wait(until="waiting", timeout=PATIENCE)
        engine.settle()
        sent = threading.Thread(target=run.signal, args=["go"])
        posted = threading.Event()
        post = engine._machine.core.post

        def seen(*letter: Any) -> None:
            post(*letter)
            posted.set()

        monkeypatch.setattr(engine._machine.core, "post", seen)

        def fail() -> None:
            sent.start()
            assert posted.wait(timeout=PATIENCE)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            engine._machine.lanes.exclusively(fail)

        assert run.wait(timeout=PATIENCE).state == "completed"
        sent.join(timeout=PATIENCE)
