"""A definition that has changed under a run: it goes on where its facts fit, else the first that strays is named."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Workflow

from .driver import Crash, Driver

Flow = Workflow[Any, Any]


def act(ctx: object) -> None:
    """Do nothing."""


def flow(*nodes: str) -> Flow:
    """Return a workflow of such nodes: a name for a step, ``go!`` for a gate."""
    workflow: Flow = Workflow("w")
    for node in nodes:
        if node.endswith("!"):
            workflow.wait_for(node.removesuffix("!"))
        else:
            workflow.step(node, act)
    return workflow


def at_the_gate(workflow: Flow, gate: str) -> Driver:
    """Return what is left of a run that was cut short while it waited at a gate."""
    for records in range(100):
        driver = Driver.of(workflow, crash_after=records)
        with pytest.raises(Crash):
            driver.run()
        if f"__waitFor:{gate}" in driver.facts:
            return driver.again()
    raise AssertionError


OLD = ("one", "two", "go!", "three")

FITS: dict[str, tuple[str, ...]] = {
    "nothing": OLD,
    "a node after": (*OLD, "four"),
    "a node right behind the gate": ("one", "two", "go!", "new", "three"),
    "a node less that was not reached": ("one", "two", "go!"),
    "a node renamed that was not reached": ("one", "two", "go!", "drei"),
    "two completed nodes in another order": ("two", "one", "go!", "three"),
}

STRAY: dict[str, tuple[tuple[str, ...], str]] = {
    "a node before": (("new", *OLD), "one"),
    "a node between": (("one", "new", "two", "go!", "three"), "two"),
    "a node right before the gate": (("one", "two", "new", "go!", "three"), "__waitFor:go"),
    "a node less": (("two", "go!", "three"), "one"),
    "a node renamed": (("one", "zwei", "go!", "three"), "two"),
    "the gate less": (("one", "two", "three"), "__waitFor:go"),
    "the gate renamed": (("one", "two", "come!", "three"), "__waitFor:go"),
    "the gate further up": (("one", "go!", "two", "three"), "two"),
    "the gate further down": (("one", "two", "three", "go!"), "__waitFor:go"),
    "all other nodes": (("four", "five"), "one"),
}


@pytest.mark.parametrize("change", FITS)
def test_a_run_whose_facts_fit_goes_on(change: str) -> None:
    run = at_the_gate(flow(*OLD), "go").again(flow(*FITS[change]).definition())

    assert run.restore() is None
    assert [effect.place.name for effect in run.walk.open] == ["__waitFor:go"]
    assert run.again().run().state == "completed"


@pytest.mark.parametrize("change", STRAY)
def test_a_run_whose_facts_do_not_fit_names_the_first_that_strays(change: str) -> None:
    nodes, first = STRAY[change]
    run = at_the_gate(flow(*OLD), "go").again(flow(*nodes).definition())

    stray = run.restore()

    assert stray is not None
    assert stray.name == first


def inside(kind: str, body: Flow) -> Flow:
    workflow: Flow = Workflow("w")
    match kind:
        case "path":
            return workflow.branch(lambda ctx: "a", name="choice").path("a", body).otherwise(act_in)
        case "parallel":
            return workflow.parallel(body, lambda strand: strand.step("beside", act))
        case "do_until":
            return workflow.do_until(lambda ctx, turn: False, body, name="loop")
        case "do_while":
            return workflow.do_while(lambda ctx, turn: True, body, name="loop")
        case _:
            return workflow.for_each(lambda ctx: [1, 2], "each", block=body)


@pytest.mark.parametrize("kind", ["path", "parallel", "do_until", "do_while", "for_each"])
@pytest.mark.parametrize("change", FITS)
def test_what_fits_fits_inside_other_nodes_too(kind: str, change: str) -> None:
    stray = at_an_inner_gate(kind).again(inside(kind, flow(*FITS[change])).definition()).restore()

    if kind.startswith("do_") and "not reached" in change:  # it was reached, in the turn before
        assert stray is not None
        assert stray.name == "three"
    else:
        assert stray is None


@pytest.mark.parametrize("kind", ["path", "parallel", "do_until", "do_while", "for_each"])
@pytest.mark.parametrize("change", STRAY)
def test_what_strays_strays_inside_other_nodes_too(kind: str, change: str) -> None:
    nodes, first = STRAY[change]
    new = flow(*nodes)

    stray = at_an_inner_gate(kind).again(inside(kind, new).definition()).restore()

    assert stray is not None
    assert stray.name == (f"{first}:0" if kind == "for_each" else first)


def at_an_inner_gate(kind: str) -> Driver:
    """Return a run that waits at a gate inside another node: in a loop in its second turn."""
    workflow = inside(kind, flow(*OLD))
    for records in range(100):
        driver = Driver.of(workflow, crash_after=records, times={"beside": 0})
        with pytest.raises(Crash):
            driver.run()
        gate = driver.facts.get("__waitFor:go") or driver.facts.get("__waitFor:go:0")
        if gate is not None and gate.turn in ((), (2,)):
            return driver.again()
    raise AssertionError


def test_a_step_that_moved_into_a_loop_or_out_of_it_is_noticed() -> None:
    plain = flow("one", "two", "go!")
    looped: Flow = (
        Workflow("w")
        .step("one", act)
        .do_until(lambda ctx, turn: True, lambda body: body.step("two", act))
        .wait_for("go")
    )

    inward = at_the_gate(plain, "go").again(looped.definition()).restore()
    outward = at_the_gate(looped, "go").again(plain.definition()).restore()

    assert inward is not None
    assert outward is not None


def test_another_kind_of_node_under_the_same_name_is_noticed() -> None:
    waiting = at_the_gate(flow("one", "two", "go!"), "go")
    others: list[Flow] = [
        Workflow("w").step("one", act).sleep("two", 5).wait_for("go"),
        Workflow("w").step("one", act).branch(lambda ctx: "a", name="two").path("a", act_in).wait_for("go"),
        Workflow("w").step("one", act).do_until(lambda ctx, turn: True, act_in, name="two").wait_for("go"),
    ]

    for other in others:
        stray = waiting.again(other.definition()).restore()
        assert stray is not None
        assert stray.name == "two"


def act_in(body: Flow) -> None:
    body.step("inside", act)


def test_a_path_that_was_taken_and_is_gone_is_noticed() -> None:
    def workflow(label: str) -> Flow:
        return (
            Workflow("w")
            .branch(lambda ctx: "left", name="choice")
            .path(label, act_in)
            .path("other", act_in)
            .wait_for("go")
        )

    stray = at_the_gate(workflow("left"), "go").again(workflow("links").definition()).restore()

    assert stray is not None
    assert stray.name == "choice"
