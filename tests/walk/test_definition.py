"""Names and fingerprints: what a definition is known by, and what does not change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure import DefinitionError, Workflow

Flow = Workflow[Any, Any]


def names(workflow: Flow) -> list[str]:
    return [node.name for node in workflow.definition().body.every()]


def act(ctx: object) -> None:
    """Do nothing."""


def basic() -> Flow:
    return (
        Workflow("w")
        .step("one", act)
        .branch(lambda: "a")
        .path("a", lambda path: path.step("two", act))
        .otherwise(lambda path: path.wait_for("go"))
        .for_each(list, "each", act)
    )


def test_nodes_without_a_name_are_called_after_what_they_hold() -> None:
    workflow = (
        Workflow("w")
        .wait_for("go")
        .branch(lambda: "a")
        .path("a", lambda path: path.step("one", act))
        .path("b", lambda path: path.step("two", act))
        .parallel(lambda group: group.step("left", act).step("right", act))
        .do_until(lambda: True, lambda body: body.step("poll", act))
        .do_while(lambda: False, lambda body: body.step("drain", act))
        .sub_workflow("child")
    )

    assert [name for name in names(workflow) if name not in {"one", "two", "left", "right", "poll", "drain"}] == [
        "__waitFor:go",
        "branch(a|b)",
        "parallel(left,right)",
        "do_until(poll)",
        "do_while(drain)",
        "sub:child",
    ]


def test_a_second_node_alike_gets_a_number_and_the_first_keeps_its_name() -> None:
    workflow = Workflow("w").wait_for("go").step("one", act).wait_for("go").parallel(lambda group: group.wait_for("go"))

    assert [name for name in names(workflow) if name.startswith("__waitFor")] == [
        "__waitFor:go",
        "__waitFor:go#2",
        "__waitFor:go#3",
    ]


def test_exclusive_paths_may_share_names_and_what_follows_may_not() -> None:
    def workflow() -> Flow:
        return (
            Workflow("w")
            .branch(lambda: "a")
            .path("a", lambda path: path.step("ship", act).wait_for("go"))
            .path("b", lambda path: path.step("ship", act).wait_for("go"))
        )

    assert names(workflow()).count("ship") == 2
    assert names(workflow()).count("__waitFor:go") == 2
    assert names(workflow().wait_for("go"))[-1] == "__waitFor:go#2"
    with pytest.raises(DefinitionError, match="'ship' stands twice"):
        workflow().step("ship", act).definition()


def nest(workflow: Flow, kind: str, inside: Callable[[Flow], Any]) -> Flow:
    match kind:
        case "parallel":
            return workflow.parallel(inside, lambda strand: strand.step("other", act))
        case "do_until":
            return workflow.do_until(lambda: True, inside)
        case "for_each":
            return workflow.for_each(list, "each", block=inside)
        case _:
            return workflow.wait_for("go", timeout=1, on_timeout=inside)


@pytest.mark.parametrize("kind", ["parallel", "do_until", "for_each", "wait_for"])
def test_a_name_that_stands_twice_where_both_could_run_is_refused_with_both_places(kind: str) -> None:
    workflow = nest(Workflow("w").step("one", act), kind, lambda inner: inner.step("one", act))

    with pytest.raises(DefinitionError, match=r"'one' stands twice: in workflow 'w' and in workflow 'w', ") as error:
        workflow.definition()

    assert "another" in str(error.value)


@pytest.mark.parametrize("name", ["each:0", "each:17", "each:0:1"])
def test_a_name_that_looks_like_an_item_of_a_for_each_is_refused(name: str) -> None:
    workflow = Workflow("w").for_each(list, "each", act).step(name, act)

    with pytest.raises(DefinitionError, match="collides with the results of the for_each 'each'"):
        workflow.definition()


def test_the_same_definition_built_again_has_the_same_fingerprint() -> None:
    assert basic().definition().fingerprint == basic().definition().fingerprint == "28a00b21579a351f"


def test_code_and_options_do_not_change_the_fingerprint() -> None:
    changed = (
        Workflow("w", input=dict)
        .step("one", lambda: 5, retry=7, timeout=3, compensate=act)
        .branch(lambda: "b")
        .path("a", lambda path: path.step("two", lambda: 6))
        .otherwise(lambda path: path.wait_for("go", timeout=5))
        .for_each(lambda: [1], "each", lambda: 8, concurrency=3, max_iterations=5)
    )

    assert changed.definition().fingerprint == basic().definition().fingerprint


CHANGES: dict[str, Callable[[], Flow]] = {
    "another name": lambda: Workflow("other").step("one", act),
    "a renamed step": lambda: Workflow("w").step("two", act),
    "another kind": lambda: Workflow("w").map("one", act),
    "a node more": lambda: Workflow("w").step("one", act).step("two", act),
    "a step in a loop": lambda: Workflow("w").do_until(lambda: True, lambda body: body.step("one", act)),
    "a step in another path": lambda: (
        Workflow("w").branch(lambda: "a", name="choice").path("a", lambda path: path.step("one", act)).otherwise(act_in)
    ),
    "a step in the other path": lambda: (
        Workflow("w").branch(lambda: "a", name="choice").path("a", act_in).otherwise(lambda path: path.step("one", act))
    ),
    "a renamed path": lambda: (
        Workflow("w").branch(lambda: "a", name="choice").path("b", lambda path: path.step("one", act)).otherwise(act_in)
    ),
}


def act_in(path: Flow) -> None:
    """Add a step."""
    path.step("two", act)


def test_kinds_names_and_nesting_make_the_fingerprint() -> None:
    prints = {what: change().definition().fingerprint for what, change in CHANGES.items()}
    prints["the original"] = Workflow("w").step("one", act).definition().fingerprint

    assert len(set(prints.values())) == len(prints), prints
