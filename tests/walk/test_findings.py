"""`workflow.check()` finds what is allowed and still looks wrong, and says nothing of what is right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings

from perdure import Compensation, Concurrency, Context, Finding, Retry, Signal, Workflow, step

from .generated import Plan, build, plans

Flow = Workflow[Any, Any]
approval = Signal("approval", bool)


@step
def charge() -> int:
    return 1


def nothing(w: Flow) -> None:
    """Build an empty block."""


def found(flow: Flow, code: str = "") -> list[tuple[str, str]]:
    """Return level and node of each finding of a sort."""
    return [(str(finding.level), finding.node) for finding in flow.check() if finding.code == code or not code]


def only(flow: Flow) -> Finding:
    (finding,) = flow.check()
    return finding


# ---- paths that nobody takes


def test_a_path_whose_label_the_selector_never_returns_is_found() -> None:
    flow = (
        Workflow("w")
        .branch(lambda ctx: "card" if ctx.input else "bill")
        .path("card", lambda w: None)
        .path("bill", lambda w: None)
        .path("cash", lambda w: None)
    )

    assert str(only(flow)) == (
        "warning: 'branch' never takes the path 'cash': its selector returns only 'bill', 'card' [unreachable-path]"
    )


def test_a_label_without_a_path_is_found_before_a_run_meets_it() -> None:
    flow = Workflow("w").branch(lambda ctx: "card" if ctx.input else "bil").path("card", nothing).path("bill", nothing)

    assert found(flow, "missing-path") == [("error", "branch(card|bill)")]
    assert "may return 'bil', which is not a path; did you mean 'bill'?" in flow.check()[0].message


def test_an_otherwise_that_is_never_needed_is_found() -> None:
    flow = Workflow("w").branch(lambda ctx: "a").path("a", lambda w: None).otherwise(lambda w: None)

    assert "never takes its otherwise" in only(flow).message


def test_labels_are_read_from_a_literal_annotation() -> None:
    def choose(ctx: Context[Any]) -> Literal["a", "b"]:
        return ctx.input  # type: ignore[no-any-return]

    flow = Workflow("w").branch(choose, name="which").path("a", lambda w: None).path("c", lambda w: None)

    assert found(flow) == [("error", "which"), ("warning", "which")]


@pytest.mark.parametrize(
    "selector",
    [
        lambda ctx: ctx.input,
        lambda ctx: ctx.input or "a",
        lambda ctx: f"{ctx.input}",
        lambda ctx: str(ctx.input),
        str,
    ],
)
def test_of_a_selector_that_computes_its_label_nothing_is_said(selector: Any) -> None:
    assert Workflow("w").branch(selector).path("a", lambda w: None).path("b", lambda w: None).check() == []


def test_an_async_selector_is_read_like_any_other() -> None:
    async def choose() -> str:
        return "a"

    assert found(Workflow("w").branch(choose).path("b", lambda w: None)) == [
        ("error", "branch(b)"),
        ("warning", "branch(b)"),
    ]


def test_a_loop_whose_condition_never_changes_is_found() -> None:
    body = Workflow("w").step("s", lambda: 1)

    assert found(Workflow("w").do_until(lambda: False, body)) == [("error", "do_until(s)")]
    assert found(Workflow("w").do_while(lambda: True, body)) == [("error", "do_while(s)")]
    assert found(Workflow("w").do_while(lambda: False, body), "unreachable-path") == [("warning", "do_while(s)")]
    assert found(Workflow("w").do_until(lambda: True, body)) == []


# ---- results that need not be there


def test_a_look_up_of_what_only_one_path_leaves_is_found() -> None:
    flow = (
        Workflow("w")
        .branch(lambda ctx: ctx.input)
        .path("a", lambda w: w.step(charge))
        .path("b", lambda w: None)
        .map("by-name", lambda ctx: ctx.steps["charge"])
        .map("by-step", lambda ctx: ctx[charge])
        .map("safe", lambda ctx: (ctx.get(charge), ctx.steps.get("charge")))
    )

    assert found(flow) == [("warning", "by-name"), ("warning", "by-step")]
    assert flow.check()[0].message == (
        "'by-name' looks up the step 'charge', which need not have run by then:"
        ' use ctx.steps.get("charge"), which gives None'
    )


def test_a_look_up_of_what_every_path_leaves_is_right() -> None:
    flow = (
        Workflow("w")
        .branch(lambda ctx: ctx.input)
        .path("a", lambda w: w.step("pay", lambda: 1))
        .path("b", lambda w: w.step("pay", lambda: 2))
        .map("m", lambda ctx: ctx.steps["pay"])
    )

    assert flow.check() == []


def test_a_look_up_that_is_tested_or_guarded_is_right() -> None:
    def guarded(ctx: Context[Any]) -> Any:
        try:
            return ctx.steps["a"]
        except KeyError:
            return None

    flow = (
        Workflow("w")
        .branch(lambda ctx: ctx.input)
        .path("x", lambda w: w.step("a", lambda: 1))
        .otherwise(lambda w: None)
        .map("tested", lambda ctx: ctx.steps["a"] + 1 if "a" in ctx.steps else 0)
        .map("guarded", guarded)
    )

    assert flow.check() == []


def test_a_look_up_of_a_later_step_a_sibling_or_nobody_cannot_go_well() -> None:
    flow = (
        Workflow("w")
        .map("early", lambda ctx: ctx.steps["late"])
        .parallel(lambda w: w.step("left", lambda: 1).step("right", lambda ctx: ctx.steps["left"]))
        .map("misspelt", lambda ctx: ctx.steps["lefd"])
        .step("late", lambda: 1)
    )

    assert found(flow, "look-up") == [("error", "early"), ("error", "right"), ("error", "misspelt")]
    assert flow.check()[-1].message.endswith("and there is none; did you mean 'left'?")


def test_after_a_group_all_its_strands_can_be_looked_up() -> None:
    flow = Workflow("w").parallel(lambda w: w.step("a", lambda: 1).step("b", lambda: 1))

    assert flow.map("m", lambda ctx: ctx.steps["a"] + ctx.steps["b"]).check() == []


def test_what_is_looked_up_in_a_comprehension_is_seen() -> None:
    flow = Workflow("w").map("m", lambda ctx: [ctx.steps["a"] for _ in range(3)])

    assert found(flow, "look-up") == [("error", "m")]


def test_results_of_items_have_an_index_behind_their_loop_and_none_inside() -> None:
    def items() -> Flow:
        return Workflow[Any, Any]("w").for_each(
            lambda ctx: ctx.input,
            "each",
            block=lambda w: w.step("a", lambda: 1).map("b", lambda ctx: (ctx.steps["a"], ctx.steps["__item"])),
        )

    assert items().check() == []
    assert found(items().map("m", lambda ctx: ctx.steps["a:0"])) == [("warning", "m")]
    assert found(items().map("m", lambda ctx: ctx.steps["a"])) == [("error", "m")]
    assert items().map("m", lambda ctx: ctx.results("a")).check() == []


def test_a_loop_knows_what_it_surely_leaves() -> None:
    def body(w: Flow) -> Flow:
        return w.step("first", lambda ctx: ctx.steps["second"]).step("second", lambda ctx: ctx.steps["first"])

    assert found(Workflow("w").do_until(lambda ctx: ctx.steps["second"], body)) == [("warning", "first")]
    assert found(Workflow("w").do_while(lambda ctx: ctx.steps["second"], body)) == [
        ("warning", "do_while(first)"),
        ("warning", "first"),
    ]


def test_a_compensation_knows_what_its_step_knew() -> None:
    flow = Workflow("w").step("a", lambda: 1, compensate=lambda ctx: ctx.steps["b"]).map("b", lambda: 1)

    assert found(flow, "look-up") == [("error", "a")]


def test_a_signal_is_there_behind_its_gate_but_not_when_it_timed_out() -> None:
    surely = Workflow("w", timeout=9).wait_for(approval).map("m", lambda ctx: ctx[approval])
    perhaps = (
        Workflow("w")
        .wait_for(approval, timeout=9, on_timeout=lambda w: None)
        .map("m", lambda ctx: ctx.signals["approval"])
    )

    assert surely.check() == []
    assert found(perhaps) == [("warning", "m")]
    assert "which need not have come by then: use ctx.signals.get" in perhaps.check()[0].message


def test_methods_and_callable_objects_are_read_or_left_alone() -> None:
    class Shop:
        def pay(self, ctx: Context[Any]) -> Any:
            return ctx.steps["nothing"]

        def __call__(self, ctx: Context[Any]) -> Any:
            return ctx.steps["nothing"]

    flow = Workflow("w").map("method", Shop().pay).map("object", Shop())

    assert found(flow, "look-up") == [("error", "method")]


# ---- waits, undoing, and time


def test_a_wait_without_a_timeout_is_noted_unless_the_workflow_has_one() -> None:
    assert found(Workflow("w").wait_for("yes")) == [("note", "__waitFor:yes")]
    assert found(Workflow("w", timeout=60).wait_for("yes")) == []
    assert found(Workflow("w").wait_for("yes", timeout=60)) == []


def act(ctx: Context[Any]) -> None:
    Path("ledger").write_text("paid")


def test_a_step_that_acts_and_cannot_be_undone_is_noted_where_something_may_still_fail() -> None:
    assert found(Workflow("w").step("a", act).step("b", act)) == [("note", "a")]


def test_a_step_with_compensation_or_behind_the_pivot_or_at_the_end_is_right() -> None:
    assert Workflow("w").step("a", act, compensate=lambda: None).step("b", act).check() == []
    assert Workflow("w").pivot().step("a", act).step("b", act).check() == []
    assert Workflow("w").step("a", act).map("b", lambda ctx: ctx.steps["a"]).check() == []


def test_a_step_that_only_computes_needs_no_undo() -> None:
    def total(ctx: Context[Any]) -> int:
        if not ctx.input:
            msg = "nothing"
            raise ValueError(msg)
        return sum(sorted(len(str(item)) for item in ctx.input))

    assert Workflow("w").step("a", total).step("b", lambda: 1).check() == []


def test_retries_that_cannot_fit_into_the_time_around_them_are_found() -> None:
    retry = Retry(attempts=4, initial=10, factor=1, jitter=0)
    flow = Workflow("w", timeout=60).step("a", lambda: 1, retry=retry, timeout=20).step("b", lambda: 1, timeout=15)

    assert str(only(flow)) == (
        "warning: 'a': its attempts and the delays between them may take 110 s, longer than the 60 s that"
        " the workflow 'w' has [too-long]"
    )


def test_a_wait_or_sleep_longer_than_the_workflow_is_found() -> None:
    flow = (
        Workflow("w", timeout=60)
        .sleep("night", timedelta(hours=8))
        .sleep_until("new-year", datetime(2027, 1, 1, tzinfo=UTC))
        .wait_for("yes", timeout=61)
        .wait_for("no", timeout=60)
    )

    assert found(flow) == [("warning", "night"), ("warning", "__waitFor:yes")]


def test_very_many_attempts_are_added_up_at_once() -> None:
    flow = Workflow("w", timeout=60).step("a", lambda: 1, retry=Retry(attempts=10**9, initial=1, factor=1))

    assert found(flow) == [("warning", "a")]


# ---- slots


def test_a_sub_workflow_that_waits_for_the_slot_of_its_parent_is_found() -> None:
    parent = Workflow("parent", concurrency=Concurrency(2, name="gpu")).step("a", act).sub_workflow("child")
    child = Workflow("child", concurrency=Concurrency(5, name="gpu")).step("b", act)

    assert found(parent, "own-slot") == [], "of a sub-workflow it knows only the name"
    assert str(parent.check(child)[-1]) == (
        "warning: the sub-workflow 'child' needs a slot of 'gpu', of which the run that waits for it holds one: "
        "once such runs hold all slots, they wait for ever; give 'child' a limit of its own [own-slot]"
    )
    assert found(child, "own-slot") == []


def test_it_is_found_through_other_sub_workflows_and_wherever_it_is_started() -> None:
    parent = Workflow("parent", concurrency=Concurrency(1, name="gpu")).do_while(
        lambda ctx: ctx.input, lambda w: w.sub_workflow("middle")
    )
    middle = Workflow("middle", concurrency=1).sub_workflow("middle too")
    middle_too = Workflow("middle too").sub_workflow("middle").sub_workflow("child")
    child = Workflow("child", concurrency=Concurrency(1, name="gpu")).step("b", act)

    (finding,) = (each for each in parent.check(middle, middle_too, child) if each.code == "own-slot")

    assert "the sub-workflow 'child', started through 'middle', 'middle too', needs a slot" in finding.message
    (finding,) = middle.check(middle_too, child)
    assert "'middle', started through 'middle too', needs a slot of 'middle'" in finding.message


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"singleton": True}])
def test_a_workflow_that_starts_itself_and_needs_a_slot_is_found_by_itself(limit: dict[str, Any]) -> None:
    flow = Workflow("w", **limit).branch(lambda ctx: ctx.input).path("again", lambda w: w.sub_workflow("w"))

    assert found(flow, "own-slot") == [("warning", "sub:w")]


def test_a_sub_workflow_with_a_limit_of_its_own_or_none_is_all_right() -> None:
    own, none = Workflow("own", concurrency=1).step("a", act), Workflow("none").step("a", act)

    assert Workflow("w", concurrency=1).sub_workflow("own").sub_workflow("none").check(own, none) == []
    assert Workflow("w").sub_workflow("w").check() == []


# ---- the check as a whole


def test_checking_neither_freezes_nor_calls_anything() -> None:
    def never() -> str:
        raise AssertionError

    flow = Workflow("w").branch(never).path("a", lambda w: None).step("s", never, compensate=Compensation(never))

    assert flow.check() == []
    assert flow.step("more", lambda: 1).check() == []


@settings(max_examples=30, deadline=None)
@given(plans)
def test_a_generated_workflow_that_looks_nothing_up_has_no_wrong_look_ups(plan: tuple[Plan, ...]) -> None:
    assert found(build(plan), "look-up") == []


# ---- cost


def test_loops_within_loops_are_looked_at_in_no_time_however_deep_they_are() -> None:
    def nest(flow: Flow, depth: int) -> Flow:
        flow = flow.step(f"step-{depth}", lambda ctx: ctx.steps["nowhere"])
        return flow.do_until(lambda: True, lambda w: nest(w, depth - 1), max_iterations=2) if depth else flow

    findings = nest(Workflow("deep"), 30).check()  # twice the looks for each level would never end

    assert len({finding.node for finding in findings}) == 31
