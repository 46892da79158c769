"""Selectors, conditions, mappers, extractors, schemas that raise or answer nonsense: the run fails and is undone."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from perdure import Workflow
from tests.patience import PATIENCE

Flow = Workflow[Any, Any]


def boom(*_: Any) -> Any:
    raise LookupError("boom")


# Any: a type checker would refuse most of these, as it should.
WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a selector that raises": (lambda w: w.branch(boom).path("a", leaf), "LookupError: boom"),
    "a selector that names no path": (lambda w: w.branch(lambda: "b").path("a", leaf), "chose 'b'"),
    "a selector that returns a number": (lambda w: w.branch(lambda: 7).path("a", leaf), "chose 7"),
    "a condition after": (lambda w: w.do_until(boom, leaf), "LookupError: boom"),
    "a condition before": (lambda w: w.do_while(boom, leaf), "LookupError: boom"),
    "a mapper": (lambda w: w.sub_workflow("child", boom), "LookupError: boom"),
    "a mapper whose answer cannot be stored": (
        lambda w: w.sub_workflow("child", lambda ctx: threading.Lock()),
        "_thread.lock is not a storable type",
    ),
    "an extractor that raises": (lambda w: w.for_each(boom, "each", leaf_step), "LookupError: boom"),
    "an extractor that returns a text": (lambda w: w.for_each(lambda: "abc", "each", leaf_step), "'each'.*str"),
    "an extractor that returns a generator": (
        lambda w: w.for_each(lambda: (n for n in [1]), "each", leaf_step),
        "'each'.*generator",
    ),
    "a map": (lambda w: w.map("shape", boom), "LookupError: boom"),
    "a point in time that raises": (lambda w: w.sleep_until("nap", boom), "LookupError: boom"),
    "a point in time without a zone": (
        lambda w: w.sleep_until("nap", lambda: datetime(2026, 1, 1)),  # noqa: DTZ001
        "nap",
    ),
    "a point in time that is none": (lambda w: w.sleep_until("nap", lambda: "tomorrow"), "nap"),
    "an input schema": (lambda w: w.step("s", leaf_step, input_schema=boom), "'s'.*input_schema.*boom"),
    "an output schema": (lambda w: w.step("s", leaf_step, output_schema=boom, retry=1), "'s'.*output_schema.*boom"),
}


def leaf(body: Flow) -> None:
    body.step("leaf", leaf_step)


def leaf_step() -> int:
    return 1


@pytest.mark.parametrize("what", WRONG)
def test_user_code_that_fails_fails_the_run_which_is_undone(what: str, open_engine: Any) -> None:
    add, says = WRONG[what]
    undone: list[str] = []
    workflow: Flow = Workflow("w").step("book", lambda: 1, compensate=lambda: undone.append("book"))
    add(workflow)
    engine = open_engine(Workflow("child").step("a", leaf_step), workflow)
    failed = engine.start("w").wait(PATIENCE)
    assert (failed.state, failed.rollback, undone) == ("failed", "complete", ["book"])
    assert re.search(says, str(failed.error), re.DOTALL)
    assert failed.error.step


def test_a_handler_that_returns_after_its_run_was_cancelled_is_still_recorded_and_undone(open_engine: Any) -> None:
    began, go = threading.Event(), threading.Event()
    undone: list[str] = []

    def work() -> str:
        began.set()
        go.wait(PATIENCE)
        return "late"

    engine = open_engine(Workflow("w").step("work", work, compensate=lambda ctx: undone.append(ctx.steps["work"])))
    run = engine.start("w")
    assert began.wait(PATIENCE)
    run.cancel()
    assert not run.wait(until=["running", "compensating"]).finished
    go.set()
    assert run.wait(PATIENCE).state == "cancelled"
    assert undone == ["late"]


def test_a_handler_that_never_returns_costs_one_thread_and_no_slot(open_engine: Any) -> None:
    go = threading.Event()
    engine = open_engine(
        Workflow("hang").step("hang", lambda: go.wait(PATIENCE), timeout=0.01, retry=1),
        Workflow("quick").step("a", lambda: 1),
        concurrency=1,
        threads=2,
    )
    assert engine.start("hang").wait(PATIENCE).state == "failed"
    assert engine.start("quick").result(PATIENCE) == 1
    late = threading.Event()
    engine.on("step:late", lambda event: late.set())
    go.set()
    assert late.wait(PATIENCE)
