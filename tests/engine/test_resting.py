"""Runs that only wait are rows, but for those that came to rest last: what wakes these soon need not read them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Workflow
from perdure.testing import Moment, close_cleanly, watch_points
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE

approval = Workflow("approval").wait_for("approved").step("file", lambda ctx: ctx.signals["approved"])
order = Workflow("order").sub_workflow("approval")


class Reads:
    """Counts how often a run is read from the database."""

    def __init__(self) -> None:
        self.number = 0

    def visit(self, moment: Moment) -> None:
        """Count, if it is one."""
        self.number += moment.point == "load.before"


@pytest.fixture
def reads() -> Iterator[Reads]:
    reads = Reads()
    with watch_points(reads.visit):
        yield reads


@pytest.fixture
def small(frozen: Any, location: str) -> Iterator[Engine]:
    """An engine in whose memory two runs may rest."""
    engine = Engine(
        location, approval, order, durability="normal", concurrency=2, max_in_memory=20, queue_name=unique_name()
    )
    yield engine
    close_cleanly(engine)


def test_a_run_that_came_to_rest_lately_is_not_read_when_a_signal_comes(small: Engine, reads: Reads) -> None:
    run = small.start(approval)
    small.settle()
    run.signal("approved", "yes")

    assert run.result(timeout=PATIENCE) == "yes"
    assert reads.number == 0


def test_a_run_that_waits_for_another_one_is_a_row(small: Engine, reads: Reads) -> None:
    run = small.start(order)
    small.settle()
    (child,) = small.list_executions("approval")
    small.signal(child.id, "approved", "yes")

    run.result(timeout=PATIENCE)
    assert reads.number > 0


def test_of_many_that_wait_those_that_came_to_rest_first_are_rows(small: Engine, reads: Reads) -> None:
    runs = []
    for _ in range(5):
        runs.append(small.start(approval))
        small.settle()

    for run, read in zip(runs, (1, 2, 3, 3, 3), strict=True):
        run.signal("approved", "yes")
        assert run.result(timeout=PATIENCE) == "yes"
        assert reads.number == read


def test_a_run_that_is_at_work_again_does_not_leave_memory_for_those_that_come_to_rest(
    small: Engine, reads: Reads
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        may_end.wait(PATIENCE)
        return "done"

    small.register(Workflow("job").wait_for("go").step("work", work))
    job = small.start("job")
    small.settle()
    job.signal("go")
    assert begun.wait(PATIENCE)
    for _ in range(3):
        small.start(approval)
    small.run(small.list_executions("approval")[0].id).wait(timeout=PATIENCE, until="waiting")
    may_end.set()

    assert job.result(timeout=PATIENCE) == "done"
    assert reads.number == 0


def test_runs_that_rest_do_not_count_as_being_under_way(small: Engine) -> None:
    for _ in range(5):
        small.start(approval)
    small.settle()

    assert small.load().runs == 0


def test_a_private_engine_is_there_for_others_once_its_path_is_asked_for() -> None:
    with Engine(None, approval) as engine:
        folder = Path(engine._machine.store.path).parent
        before = [file.name for file in folder.glob("*-bell-*")]
        assert engine.path == str(folder / "private.db")
        after = [file.name for file in folder.glob("*-bell-*")]

    assert (before, after) == ([], ["private.db-bell-1"])
