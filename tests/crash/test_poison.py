"""A step that kills its process is set aside after three adoptions; the runs beside it go on."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import Engine, Execution, State, Workflow
from perdure.testing.forks import run_in_fork
from tests.patience import PATIENCE

pytestmark = pytest.mark.not_pooled


@dataclass
class Lives:
    """Processes that live one after the other on one database; each has a run beside the poison.

    Attributes:
        location: The database.
        mended: Whether the step has stopped killing.
        count: How many have lived.
    """

    location: str
    mended: bool = False
    count: int = 0

    def live(self, *, resume: bool = False) -> bool:
        """Have one more process live until the poison is set aside or done; return whether it was killed."""
        self.count += 1
        death = run_in_fork(lambda: self._live(resume=resume), timeout=PATIENCE)
        assert not death.trouble, death.trouble
        return death.killed

    def _live(self, *, resume: bool) -> None:
        progress = threading.Event()

        def kill(ctx: Any) -> str:
            if self.mended:
                return "mended"
            progress.wait(PATIENCE)  # as a leak of memory would: the others are well on their way by then
            os.kill(os.getpid(), signal.SIGKILL)
            return "never"

        bad = Workflow("bad").step("before", lambda: 1).step("kill", kill)

        def note(ctx: Any) -> None:
            if ctx.execution_id == f"good-{self.count}":
                progress.set()

        good = Workflow("good").step("one", lambda: 1).step("two", note)
        with Engine(self.location, good, bad, durability="normal") as engine:
            if resume:
                engine.resume("bad")
            engine.start("bad", id="bad")
            engine.start("good", id=f"good-{self.count}").wait(PATIENCE)
            engine.run("bad").wait(PATIENCE)

    def shown(self, run: str) -> Execution:
        """What is on disk of a run."""
        with Engine(self.location) as engine:
            found = engine.get_execution(run)
            assert found is not None
            return found.loaded()


@pytest.fixture
def lives(location: str) -> Lives:
    return Lives(location)


def test_a_step_that_kills_its_process_is_set_aside_after_three_adoptions_and_the_others_go_on(lives: Lives) -> None:
    assert [lives.live() for _ in range(5)] == [True, True, True, True, False]

    bad = lives.shown("bad")
    assert bad.state is State.QUARANTINED
    assert bad.error is not None
    assert bad.error.type == "perdure.Poison"
    assert "then resume the run" in bad.error.message
    assert (bad.steps["kill"].attempts, bad.steps["before"].attempts) == (4, 1)
    assert {lives.shown(f"good-{number}").state for number in range(1, 6)} == {State.COMPLETED}


def test_a_poisoned_run_that_is_resumed_has_a_fresh_budget(lives: Lives) -> None:
    while lives.live():
        pass

    assert [lives.live(resume=number == 0) for number in range(5)] == [True, True, True, True, False]
    assert lives.shown("bad").state is State.QUARANTINED

    lives.mended = True
    assert not lives.live(resume=True)
    assert lives.shown("bad").result == "mended"
