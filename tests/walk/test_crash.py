"""A walk that is cut short anywhere and taken up from its facts comes to the same end."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure import Context, Workflow

from .driver import Crash, Driver, End
from .generated import Plan, build, plans


def undisturbed(workflow: Workflow[Any, Any], *, timeouts: bool) -> tuple[End, Driver]:
    driver = Driver.of(workflow, timeouts=timeouts)
    return driver.run(), driver


def cut_short(workflow: Workflow[Any, Any], crashes: list[int], *, timeouts: bool) -> tuple[End, Driver]:
    driver = Driver.of(workflow, timeouts=timeouts)
    for crash_after in crashes:
        driver.crash_after = crash_after
        try:
            return driver.run(), driver
        except Crash:
            assert driver.again().restore() is None, f"of its own facts one strays, cut short after {crashes}"
            driver = driver.again()
    return driver.run(), driver


def contents(driver: Driver) -> dict[str, Any]:
    return {key: (fact.kind, fact.status, fact.turn, fact.value, fact.error) for key, fact in driver.facts.items()}


def check_same(calm: Driver, calm_end: End, later: Driver, later_end: End, where: object) -> None:
    assert later_end == calm_end, where
    assert contents(later) == contents(calm), where
    assert set(later.ledger) == set(calm.ledger), where


MOST_CUTS = 20
small = settings(
    max_examples=int(os.environ.get("PERDURE_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@small
@given(body=plans, timeouts=st.booleans())
def test_a_walk_ends_the_same_though_it_is_cut_short_after_any_fact(*, body: tuple[Plan, ...], timeouts: bool) -> None:
    workflow = build(body)
    end, calm = undisturbed(workflow, timeouts=timeouts)
    assert max(Counter(calm.ledger).values(), default=1) == 1, "nothing is asked twice"

    for crash_after in range(0, calm.records, 1 + calm.records // MOST_CUTS):
        later_end, later = cut_short(workflow, [crash_after], timeouts=timeouts)
        check_same(calm, end, later, later_end, f"cut short after {crash_after} of {calm.records} records")


@small
@given(body=plans, timeouts=st.booleans(), crashes=st.lists(st.integers(0, 12), min_size=2, max_size=6))
def test_a_walk_ends_the_same_though_it_is_cut_short_again_and_again(
    *, body: tuple[Plan, ...], timeouts: bool, crashes: list[int]
) -> None:
    workflow = build(body)
    end, calm = undisturbed(workflow, timeouts=timeouts)

    later_end, later = cut_short(workflow, crashes, timeouts=timeouts)

    check_same(calm, end, later, later_end, crashes)


def test_no_further_item_begins_after_one_has_failed_though_the_walk_is_taken_up_again() -> None:
    def act(ctx: Context[Any]) -> None:
        if ctx.index == 1:
            raise RuntimeError

    for slow in range(4):
        workflow = Workflow("w").for_each(lambda ctx: [0, 1, 2, 3, 4], "each", act, compensate=act, concurrency=2)
        times = {"each:1": 1 + 2 * slow, "each:0": 2}
        calm = Driver.of(workflow, times=times)
        end = calm.run()
        assert end.error is not None
        assert end.error.type == "RuntimeError"
        for crash_after in range(calm.records):
            driver = Driver.of(workflow, times=times, crash_after=crash_after)
            with pytest.raises(Crash):
                driver.run()
            later = driver.again()
            check_same(calm, end, later, later.run(), f"each:1 takes {times['each:1']}, cut short after {crash_after}")


def test_a_condition_that_raises_fails_the_walk_though_it_is_taken_up_again() -> None:
    for loop in ("do_until", "do_while"):

        def condition(ctx: Context[Any], turn: int, loop: str = loop) -> bool:
            if turn == 2:
                raise RuntimeError
            return loop == "do_while"

        workflow = Workflow("w").step("before", lambda ctx: 1, compensate=lambda ctx: None)
        getattr(workflow, loop)(condition, lambda inner: inner.step("body", lambda ctx: 2))
        calm = Driver.of(workflow)
        end = calm.run()
        assert end.undone == ("before",)
        for crash_after in range(calm.records):
            driver = Driver.of(workflow, crash_after=crash_after)
            with pytest.raises(Crash):
                driver.run()
            later = driver.again()
            check_same(calm, end, later, later.run(), f"{loop}, cut short after {crash_after}")


def test_no_further_item_begins_after_one_has_failed_inside_a_loop_of_its_own() -> None:
    def act(ctx: Context[Any]) -> None:
        if ctx.step_name == "deep:1:1":
            raise RuntimeError

    def item(body: Workflow[Any, Any]) -> None:
        body.branch(lambda ctx: "deep" if ctx.index == 1 else "flat", name="way").path(
            "deep", lambda w: w.for_each(lambda ctx: [0, 1], "deep", act, compensate=act, concurrency=2)
        ).otherwise(lambda w: w.step("flat", act, compensate=act))

    workflow: Workflow[Any, Any] = Workflow("w")
    workflow.for_each(lambda ctx: [0, 1, 2], "outer", block=item, concurrency=2)
    times = {"flat:0": 9, "deep:1:0": 1, "deep:1:1": 2}
    calm = Driver.of(workflow, times=times)
    end = calm.run()
    assert "flat:2" not in calm.facts
    for crash_after in range(calm.records):
        driver = Driver.of(workflow, times=times, crash_after=crash_after)
        with pytest.raises(Crash):
            driver.run()
        later = driver.again()
        check_same(calm, end, later, later.run(), f"cut short after {crash_after}")
