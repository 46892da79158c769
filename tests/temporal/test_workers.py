"""A worker that is killed in the middle of a handler loses nothing: another one takes its runs over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from perdure import Workflow, WorkflowFailed
from tests.engine import heavy
from tests.patience import PATIENCE

from .conftest import MakeEngine

PROGRAM = """
import asyncio, sys
from datetime import timedelta

from temporalio.client import Client

from perdure.temporal import worker
from tests.temporal.test_workers import work

async def main():
    client = await Client.connect(sys.argv[1])
    soon = timedelta(seconds=1)
    await worker(client, [work(sys.argv[3])], task_queue=sys.argv[2], sticky_queue_schedule_to_start_timeout=soon).run()

asyncio.run(main())
"""

Kill = Callable[[], None]


def work(on_interrupted: Any) -> Workflow[str, int]:
    """Return a workflow whose handler waits in the folder that it is given, until somebody opens its gate."""
    return Workflow("work", input=str).step("wait", heavy.wait, on_interrupted=on_interrupted)


@pytest.fixture
def start_worker(server: str, checkout: Path) -> Iterator[Callable[[str, str], Kill]]:
    """Start a worker in a process of its own; what is returned kills it."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with ExitStack() as stack:

        def start(task_queue: str, on_interrupted: str) -> Kill:
            command = [sys.executable, "-c", PROGRAM, server, task_queue, on_interrupted]
            process = stack.enter_context(subprocess.Popen(command, env=environment))
            stack.callback(process.kill)
            return process.kill

        yield start


@pytest.mark.parametrize("on_interrupted", ["repeat", "fail"])
def test_a_handler_whose_worker_was_killed_runs_again_elsewhere_unless_it_must_not(
    on_interrupted: str, temporal: MakeEngine, start_worker: Callable[[str, str], Kill], tmp_path: Path
) -> None:
    for name in ("gate", "news"):
        os.mkfifo(tmp_path / name)
    queue = f"mortal-{on_interrupted}"
    face = temporal(work(on_interrupted), task_queue=queue, heartbeat=1, run_worker=False)
    kill = start_worker(queue, on_interrupted)
    run = face.start(work(on_interrupted), str(tmp_path))
    assert (tmp_path / "news").read_text() == "began\n"

    kill()
    temporal(work(on_interrupted), task_queue=queue, heartbeat=1)

    if on_interrupted == "fail":
        with pytest.raises(WorkflowFailed, match="'wait' was interrupted: its worker gave no more sign of life"):
            run.result(PATIENCE)
        return
    assert (tmp_path / "news").read_text() == "began\n"
    (tmp_path / "gate").write_text("open")
    assert run.result(PATIENCE) == os.getpid()
    assert run.wait(PATIENCE).steps["wait"].attempts == 2
