"""A commit that fails costs time and nothing else: the run is read back from the disk and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, State, Workflow
from perdure.errors import StoreUnavailable
from perdure.testing import Moment, close_cleanly, watch_points
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE


class Trouble:
    """Fails a point, as the disk would, as often as it is told to.

    Attributes:
        point: Where.
        times: How often it will fail yet.
    """

    def __init__(self) -> None:
        self.point = "commit.before"
        self.times = 0

    def visit(self, moment: Moment) -> None:
        """Fail, if it is time to."""
        if moment.point == self.point and self.times:
            self.times -= 1
            msg = "the disk is full"
            raise StoreUnavailable(msg)


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    trouble = Trouble()
    with watch_points(trouble.visit):
        yield trouble


@pytest.fixture
def lab(frozen: Any, tmp_path: Path, trouble: Trouble) -> Iterator[Engine]:
    """An engine on frozen time whose disk may fail; it has no room for runs that rest, and so reads each anew."""
    engine = Engine(tmp_path / "runs.db", durability="normal", queue_name=unique_name(), concurrency=2, max_in_memory=4)
    yield engine
    trouble.times = 0
    close_cleanly(engine)


def naps() -> Workflow[Any, Any]:
    return (
        Workflow("naps")
        .sleep("nap", 60)
        .wait_for("never", timeout=60, on_timeout=lambda w: w.step("late", lambda: "late"))
    )


def advance_in_spite_of_it(engine: Engine, trouble: Trouble) -> None:
    """Let five minutes pass; whoever waits for a moment in which the disk fails is told."""
    while True:
        before = trouble.times
        with suppress(StoreUnavailable):
            engine.advance(minutes=5)
        if trouble.times == before:
            return


def test_a_timer_whose_turn_could_not_be_written_fires_again(lab: Engine, trouble: Trouble) -> None:
    run = lab.register(naps()).start("naps")
    lab.settle()

    trouble.times = 3
    advance_in_spite_of_it(lab, trouble)

    assert trouble.times == 0
    assert run.result(timeout=PATIENCE) == "late"


def test_a_timer_whose_run_could_not_be_read_fires_again(lab: Engine, trouble: Trouble) -> None:
    run = lab.register(naps()).start("naps")
    lab.settle()

    trouble.point, trouble.times = "load.before", 1
    advance_in_spite_of_it(lab, trouble)

    assert trouble.times == 0
    assert run.state is State.COMPLETED


def test_a_schedule_goes_on_after_a_night_in_which_the_disk_was_full(lab: Engine, trouble: Trouble) -> None:
    lab.register(Workflow("backup").step("copy", lambda: None))
    lab.schedule("often", "backup", every=240)

    trouble.times = 1100  # as many tries take nine hours, since the later ones come every half minute
    advance_in_spite_of_it(lab, trouble)
    lab.advance(hours=12)

    assert trouble.times == 0
    assert len(lab.list_executions("backup")) >= 2
