"""What differs between two definitions is named, node by node."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Engine, UnknownWorkflow, UsageError, Workflow

Flow = Workflow[Any, Any]


@pytest.fixture(scope="module")
def engine() -> Any:
    with Engine() as engine:
        yield engine


def order(**options: Any) -> Flow:
    return Workflow("order", **options).step("reserve", str).step("charge", str)


def test_the_same_definition_shows_no_difference(engine: Engine) -> None:
    difference = engine.diff(order(), order())

    assert not difference
    assert difference.same_graph
    assert str(difference) == "no difference"


def test_nodes_that_came_or_went_are_named_with_their_place(engine: Engine) -> None:
    new = Workflow("order").step("reserve", str).branch(str).path("card", lambda w: w.step("pay", str))

    difference = engine.diff(order(), new)

    assert str(difference) == (
        "added 'branch(card)': a branch in the workflow\n"
        "added 'pay': a step in 'card' of 'branch(card)'\n"
        "removed 'charge': a step in the workflow"
    )
    assert not difference.same_graph


def test_nodes_in_another_place_or_order_have_moved(engine: Engine) -> None:
    old = Workflow("w").step("a", str).step("b", str).step("c", str).parallel(lambda w: w.step("d", str))
    new = Workflow("w").step("c", str).step("a", str).step("b", str).step("d", str)

    assert str(engine.diff(old, new)).splitlines() == [
        "moved 'c': to another position in the workflow",
        "moved 'd': from 'd' of 'parallel(d)' to the workflow",
        "removed 'parallel(d)': a parallel in the workflow",
    ]


def test_options_code_and_kinds_that_changed_are_named(engine: Engine) -> None:
    old = Workflow("w").step("a", str, retry=3).step("b", str).wait_for("yes")
    new = Workflow("w").step("a", repr, retry=5, timeout=9).map("b", str).wait_for("yes", timeout=60)

    difference = engine.diff(old, new)

    assert [change.detail for change in difference.changes] == [
        "handler: str → repr",
        "policy.retry.attempts: 3 → 5",
        "policy.timeout: nothing → 9.0",
        "kind: step → map",
        "timeout: nothing → 60.0",
    ]


def test_options_alone_leave_the_graph_the_same_so_that_every_run_goes_on(engine: Engine) -> None:
    difference = engine.diff(order(), order(version="2", timeout=60, input=dict))

    assert str(difference) == (
        "changed: version: nothing → 2\nchanged: timeout: nothing → 60.0\nchanged: input_type: nothing → dict"
    )
    assert difference.same_graph


def test_registered_definitions_are_compared_by_name_and_version(engine: Engine) -> None:
    engine.register(order(), order(version="2").step("ship", str))

    assert [change.node for change in engine.diff(("order", None), "order").changes] == ["", "ship"]
    assert not engine.diff("order", ("order", "2"))
    with pytest.raises(UnknownWorkflow, match="did you mean 'order'"):
        engine.diff("ordre", "order")
    with pytest.raises(UnknownWorkflow, match="no version '3' of workflow 'order'"):
        engine.diff("order", ("order", "3"))
    with pytest.raises(UsageError, match="expected a workflow, its name, or its name and version, got 7"):
        engine.diff("order", 7)  # type: ignore[arg-type]
