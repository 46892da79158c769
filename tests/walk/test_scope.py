"""What a node can see of the others: before it, beside it, in other turns and in other items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdure import Context, Workflow

from .driver import Crash, Driver, JsonReader


class Seen(dict[str, Any]):
    """Collects what steps see, by name and turn."""

    def steps(self, ctx: Context[Any]) -> str:
        """Note the results that are visible; return a result of its own."""
        where = ctx.step_name if ctx.turn is None else f"{ctx.step_name} in turn {ctx.turn}"
        self[where] = dict(ctx.steps)
        return where


def test_strands_of_a_parallel_group_see_what_was_before_them_and_nothing_of_each_other() -> None:
    seen = Seen()
    workflow = (
        Workflow("w")
        .step("before", seen.steps)
        .parallel(
            lambda strand: strand.step("left", seen.steps).step("left again", seen.steps),
            lambda strand: strand.step("right", seen.steps),
        )
        .step("after", seen.steps)
    )

    end = Driver.of(workflow, times={"right": 100}).run()

    assert end.state == "completed"
    assert seen["left"].keys() == {"before"}
    assert seen["left again"].keys() == {"before", "left"}
    assert seen["right"].keys() == {"before"}
    assert seen["after"].keys() == {"before", "left", "left again", "right"}


def test_a_turn_sees_the_results_of_the_turn_before_until_it_has_its_own() -> None:
    seen = Seen()
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 3, lambda body: body.step("one", seen.steps).step("two", seen.steps)
    )

    Driver.of(workflow).run()

    assert seen["one in turn 1"] == {}
    assert seen["two in turn 1"] == {"one": "one in turn 1"}
    assert seen["one in turn 3"] == {"one": "one in turn 2", "two": "two in turn 2"}
    assert seen["two in turn 3"] == {"one": "one in turn 3", "two": "two in turn 2"}


@pytest.mark.parametrize("undone", [False, True])
def test_a_step_that_counts_on_from_its_own_last_result_does_so_though_it_was_interrupted(*, undone: bool) -> None:
    def count(ctx: Context[Any]) -> int:
        return int(ctx.steps.get("count", 0)) + 1

    compensate = (lambda ctx: None) if undone else None
    workflow = Workflow("w").do_until(
        lambda ctx, turn: ctx.steps["count"] == 4, lambda body: body.step("count", count, compensate=compensate)
    )
    records = 12

    for crash_after in range(records):
        driver = Driver.of(workflow, crash_after=crash_after)
        with pytest.raises(Crash):
            driver.run()
        assert driver.again().run().value == 4
    assert Driver.of(workflow, crash_after=records).run().value == 4


def test_a_gate_that_waits_in_a_later_turn_leaves_the_last_payload_visible() -> None:
    seen: list[dict[str, Any]] = []
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 2,
        lambda body: body.parallel(
            lambda strand: strand.wait_for("go"),
            lambda strand: strand.step("look", lambda ctx: seen.append({**ctx.signals})),
        ),
    )
    driver = Driver.of(workflow, times={"__waitFor:go": 1, "look": 50}, crash_after=6)
    with pytest.raises(Crash):
        driver.run()

    driver.again().run()

    assert seen == [{}, {"go": "go for __waitFor:go"}]


def test_items_see_their_own_results_without_an_index_and_those_after_see_all_with_one() -> None:
    seen = Seen()
    workflow = (
        Workflow("w")
        .for_each(
            lambda ctx: ["a", "b"], "each", block=lambda body: body.step("one", seen.steps).step("two", seen.steps)
        )
        .step("after", seen.steps)
    )

    Driver.of(workflow).run()

    assert seen["one:0"] == {}
    assert seen["two:0"] == {"one": "one:0"}
    assert seen["two:1"] == {"one": "one:1", "one:0": "one:0", "two:0": "two:0"}
    assert seen["after"].keys() == {"one:0", "two:0", "one:1", "two:1"}


def test_concurrent_items_do_not_see_each_other() -> None:
    seen = Seen()
    workflow = Workflow("w").for_each(lambda ctx: ["a", "b", "c"], "each", seen.steps, concurrency=2)

    Driver.of(workflow).run()

    assert seen == {"each:0": {}, "each:1": {}, "each:2": {}}


def test_items_of_items_have_an_index_for_each_level() -> None:
    seen = Seen()
    workflow = Workflow("w").for_each(
        lambda ctx: ["a", "b"],
        "outer",
        block=lambda body: body.for_each(lambda ctx: [ctx.item + "x", ctx.item + "y"], "inner", seen.steps),
    )

    end = Driver.of(workflow).run()

    assert [name for name, _ in end.visible] == ["inner:0:0", "inner:0:1", "inner:1:0", "inner:1:1"]
    assert end.value == [["inner:0:0", "inner:0:1"], ["inner:1:0", "inner:1:1"]]


def test_a_shorter_turn_leaves_nothing_visible_of_a_longer_one_though_it_is_taken_up_again() -> None:
    seen = Seen()
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 3,
        lambda body: body.for_each(lambda ctx: list(range(4 - (ctx.turn or 0))), "each", lambda ctx: ctx.turn).step(
            "look", seen.steps
        ),
    )
    records = Driver.of(workflow)
    records.run()

    for crash_after in range(records.records):
        seen.clear()
        driver = Driver.of(workflow, crash_after=crash_after)
        with pytest.raises(Crash):
            driver.run()
        driver.again().run()
        assert {name: seen["look in turn 3"].get(name) for name in ("each:0", "each:1", "each:2")} == {
            "each:0": 3,
            "each:1": None,
            "each:2": None,
        }


def test_a_path_not_taken_this_turn_leaves_the_result_of_the_turn_that_took_it() -> None:
    seen = Seen()
    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 3,
        lambda body: (
            body.branch(lambda ctx: "odd" if (ctx.turn or 0) % 2 else "even", name="parity")
            .path("odd", lambda path: path.step("odd", seen.steps))
            .path("even", lambda path: path.step("even", seen.steps))
        ),
    )
    for crash_after in (None, 6, 7, 8):
        seen.clear()
        driver = Driver.of(workflow, crash_after=crash_after)
        if crash_after is not None:
            with pytest.raises(Crash):
                driver.run()
            driver = driver.again()
        driver.run()
        assert seen["odd in turn 3"] == {"odd": "odd in turn 1", "even": "even in turn 2"}


def test_an_undo_sees_the_item_turn_and_result_of_the_step_it_undoes() -> None:
    undone: list[tuple[Any, ...]] = []

    def undo(ctx: Context[Any]) -> None:
        undone.append((ctx.step_name, ctx.item, ctx.index, ctx.turn, ctx.result))

    def fail(ctx: Context[Any]) -> None:
        raise RuntimeError

    workflow = (
        Workflow("w")
        .do_until(
            lambda ctx, turn: turn == 2,
            lambda body: body.for_each(
                lambda ctx: ["a", "b"], "each", lambda ctx: f"{ctx.item}{ctx.turn}", compensate=undo
            ),
        )
        .step("fail", fail)
    )

    end = Driver.of(workflow).run()

    assert end.rollback == "complete"
    assert undone == [
        ("each:1", "b", 1, 2, "b2"),
        ("each:0", "a", 0, 2, "a2"),
        ("each:1", "b", 1, 1, "b1"),
        ("each:0", "a", 0, 1, "a1"),
    ]


def test_results_of_items_have_their_indices_behind_the_whole_name_of_their_step() -> None:
    seen = Seen()
    workflow = (
        Workflow("w")
        .for_each(
            lambda ctx: ["a", "b"],
            "outer",
            block=lambda body: body.for_each(lambda ctx: [1, 2], "pay:visa", lambda ctx: f"{ctx.item}", concurrency=2),
        )
        .step("after", lambda ctx: [seen.steps(ctx), ctx.results("pay:visa")])
    )

    end = Driver.of(workflow).run()

    assert seen["after"].keys() == {"pay:visa:0:0", "pay:visa:0:1", "pay:visa:1:0", "pay:visa:1:1"}
    assert end.value == ["after", ["1", "2", "1", "2"]]


def test_errors_of_items_have_their_indices_behind_the_whole_name_of_their_group() -> None:
    seen: list[set[str]] = []

    def fail(ctx: Context[Any]) -> None:
        raise RuntimeError

    workflow = (
        Workflow("w")
        .for_each(
            lambda ctx: ["a", "b"],
            "outer",
            block=lambda body: body.for_each(
                lambda ctx: [1, 2],
                "pay:all",
                block=lambda inner: inner.step("pay:one", fail),
                tolerated_failures=2,
            ),
        )
        .step("after", lambda ctx: seen.append(set(ctx.errors)))
    )

    Driver.of(workflow).run()

    assert seen == [{"pay:all:0:0", "pay:all:0:1", "pay:all:1:0", "pay:all:1:1"}]


def test_a_for_each_takes_no_results_away_but_those_of_its_own_items() -> None:
    seen = Seen()
    workflow = (
        Workflow("w")
        .step("pay:visa", seen.steps)
        .for_each(lambda ctx: [1], "pay", lambda ctx: ctx.item)
        .step("after", seen.steps)
    )

    Driver.of(workflow).run()

    assert seen["after"] == {"pay:visa": "pay:visa", "pay:0": 1}


def test_a_result_is_decoded_once_however_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    seen: list[Any] = []

    def decode(text: str) -> Any:
        decoded.append(text)
        return json.loads(text)

    def look(ctx: Context[Any]) -> None:
        if "a" in ctx.steps:
            seen.extend((ctx.steps.get("a"), ctx.steps["a"], ctx.steps.get("b"), decoded.count("[1]")))

    driver = Driver.of(Workflow("w").step("a", lambda ctx: [1]).step("look", look))
    monkeypatch.setattr(JsonReader, "decode", staticmethod(decode))
    driver.run()

    assert seen == [[1], [1], None, 1]
