"""An engine that lost its runs to another one can record nothing more, whatever it still has in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure import Context, Engine, Workflow
from perdure.testing import stop_at
from tests.patience import PATIENCE

Begun = list[tuple[str, str]]


class Taken:
    """An engine whose handler was under way when another one took its run over and brought it to its end."""

    def __init__(self, engine: Engine, begun: Begun) -> None:
        self.engine = engine
        self.begun = begun

    def shown(self) -> dict[str, tuple[str, Any]]:
        """What is on disk of the run."""
        with Engine(self.engine.path) as third:
            found = third.get_execution("run")
            assert found is not None
            return {name: (step.status, step.result) for name, step in found.steps.items()}


def flow(name: str, begun: Begun) -> Workflow[Any, Any]:
    def act(ctx: Context[Any]) -> str:
        begun.append((name, ctx.step_name))
        return f"by {name}"

    return Workflow("flow").step("one", act).step("two", act).step("three", act)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Callable[[], Taken]]:
    """What lets the handler that was under way return, with everything that follows from it."""
    begun: Begun = []
    with stop_at("handler.after", step="two") as stop:
        old = Engine(tmp_path / "runs.db", flow("old", begun))
        old.start("flow", id="run")
        stop.wait()
        old._machine.store._membership.die()  # as if its process had died; it lives, and knows nothing of it
        with Engine(tmp_path / "runs.db", flow("new", begun)) as new:
            assert new.run("run").result(timeout=PATIENCE) == "by new"

        def go_on() -> Taken:
            stop.go_on()
            old.settle()
            return Taken(old, begun)

        yield go_on
    old.close(force=True)


def test_what_an_engine_learns_after_its_runs_were_taken_over_is_not_recorded(taken: Callable[[], Taken]) -> None:
    after = taken()

    assert after.shown() == {
        "one": ("completed", "by old"),
        "two": ("completed", "by new"),
        "three": ("completed", "by new"),
    }
    assert ("old", "three") not in after.begun


def test_an_engine_whose_runs_were_taken_over_goes_on_with_others(taken: Callable[[], Taken]) -> None:
    after = taken()

    assert after.engine.start("flow", id="another").result(timeout=PATIENCE) == "by old"
    assert after.engine.run("run").result(timeout=PATIENCE) == "by new"
