"""Branches: the choice is made once, recorded, and the path not taken leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Context, Engine, Workflow


def by_input(ctx: Context[Any]) -> str:
    return str(ctx.input)


def note(ran: list[str], name: str, result: str) -> Any:
    def handler() -> str:
        ran.append(name)
        return result

    return handler


def sorting(ran: list[str]) -> Workflow[Any, Any]:
    return (
        Workflow("sort")
        .branch(by_input)
        .path("small", lambda w: w.step("wrap", note(ran, "wrap", "paper")))
        .path("large", lambda w: w.step("crate", note(ran, "crate", "wood")))
        .otherwise(lambda w: w.step("ask", note(ran, "ask", "who knows")))
        .step("label", lambda ctx: sorted(ctx.steps))
    )


@pytest.mark.parametrize(("label", "taken"), [("small", "wrap"), ("large", "crate"), ("odd", "ask")])
def test_the_path_of_the_label_is_taken_and_no_other(label: str, taken: str, lab: Engine) -> None:
    ran: list[str] = []
    lab.register(sorting(ran))
    run = lab.start("sort", label)
    lab.settle()
    assert ran == [taken]
    assert run.result(0) == [taken]


def test_a_choice_is_not_made_again_after_a_restart(lab: Engine) -> None:
    asked: list[str] = []

    def choose() -> str:
        asked.append("asked")
        return "left" if len(asked) == 1 else "right"

    workflow = (
        Workflow("fork")
        .branch(choose)
        .path("left", lambda w: w.wait_for("go").step("l", lambda: "left"))
        .path("right", lambda w: w.step("r", lambda: "right"))
    )
    lab.register(workflow)
    lab.start("fork", id="x")
    lab.settle()
    lab.abandon()
    with lab.reopen() as heir:
        heir.signal("x", "go")
        heir.settle()
        assert heir.run("x").result(0) == "left"
    assert asked == ["asked"]


def test_a_selector_may_be_asynchronous_and_see_the_steps_before(lab: Engine) -> None:
    async def choose(ctx: Context[Any]) -> str:
        return str(ctx.steps["weigh"])

    lab.register(
        Workflow("w").step("weigh", lambda: "heavy").branch(choose).path("heavy", lambda w: w.step("lift", lambda: 2))
    )
    run = lab.start("w")
    lab.settle()
    assert run.result(0) == 2


def test_an_empty_otherwise_goes_on_behind_the_branch(lab: Engine) -> None:
    lab.register(
        Workflow("w")
        .branch(lambda: "none of these")
        .path("a", lambda w: w.step("a", lambda: 1))
        .otherwise(lambda w: w.step("pass", lambda: None))
        .step("after", lambda: "went on")
    )
    run = lab.start("w")
    lab.settle()
    assert run.result(0) == "went on"
