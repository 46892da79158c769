"""How deep a graph may be nested: at the limit everything works, and one level more is refused where it is said."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import DefinitionError, Engine, State, Workflow

Flow = Workflow[Any, Any]
Around = Callable[[Flow, Any], Flow]

numbers = itertools.count()

AROUND: dict[str, Around] = {
    "a path": lambda flow, block: flow.branch(lambda: "a").path("a", block),
    "another path": lambda flow, block: flow.branch(lambda: "a").otherwise(block),
    "a group": lambda flow, block: flow.parallel(block),
    "a loop": lambda flow, block: flow.do_until(lambda: True, block),
    "items": lambda flow, block: flow.for_each(lambda: [1], f"each {next(numbers)}", block=block),
    "a deadline": lambda flow, block: flow.wait_for("go", timeout=0, on_timeout=block),
}
DEEPEST = 100


def fail() -> None:
    raise OSError


def leaf(flow: Flow) -> Flow:
    return flow.step("leaf", lambda: "here", compensate=lambda: None)


def nested(around: Around, levels: int) -> Any:
    """Return a builder function of so many levels, each of which is called by the one around it."""
    block: Any = leaf
    for _ in range(levels):
        block = lambda flow, inner=block: around(flow, inner)  # noqa: E731
    return block


@pytest.mark.parametrize("kind", AROUND)
def test_a_graph_as_deep_as_may_be_runs_goes_on_after_a_restart_is_undone_and_drawn(kind: str, tmp_path: Path) -> None:
    flow: Flow = Workflow("deep")
    nested(AROUND[kind], DEEPEST)(flow)
    flow.wait_for("go on").step("fail", fail, retry=1)
    with Engine(tmp_path / "runs.db", flow) as engine:
        run = engine.start(flow)
        run.wait(timeout=50, until="waiting")

    with Engine(tmp_path / "runs.db", flow) as engine:
        engine.signal(run.id, "go on")
        ended = engine.run(run.id).wait(timeout=50)

    assert (ended.state, ended.rollback) == (State.FAILED, "complete")
    assert "leaf" in ended.to_mermaid()
    assert "leaf" in flow.to_svg()
    assert flow.check() is not None


@pytest.mark.parametrize("kind", AROUND)
@pytest.mark.parametrize("levels", [DEEPEST + 1, 5000])
def test_a_builder_function_too_deep_is_refused_with_the_limit(kind: str, levels: int) -> None:
    with pytest.raises(DefinitionError, match=r"'deep' is nested more than 100 levels deep.*sub_workflow"):
        nested(AROUND[kind], levels)(Workflow("deep"))


@pytest.mark.parametrize("kind", AROUND)
def test_workflows_put_into_each_other_too_deep_are_refused_with_the_limit(kind: str) -> None:
    flow = leaf(Workflow("deep"))
    for _ in range(DEEPEST):
        flow = AROUND[kind](Workflow("deep"), flow)

    with pytest.raises(DefinitionError, match="'deep' is nested more than 100 levels deep"):
        AROUND[kind](Workflow("deep"), flow)
