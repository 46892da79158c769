"""A run painted on its workflow's graph shows what is done, running, waiting, failed, undone, and never taken."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from perdure import Engine, Execution, UnknownWorkflow, Workflow
from perdure.dsl.diagram import boxes
from perdure.testing import restart

Flow = Workflow[Any, Any]


def painted(engine: Engine, id: str) -> dict[str, str]:
    """Return the mark of every node, and the note where there is one."""
    execution = look(engine, id)
    found = {box.name or box.title: box.paint for box in boxes(execution._figure().series) if box.name or box.title}
    return {name: f"{paint.mark or '-'}{f': {paint.note}' if paint.note else ''}" for name, paint in found.items()}


def look(engine: Engine, id: str) -> Execution:
    execution = engine.get_execution(id)
    assert execution is not None
    return execution


def fail() -> None:
    msg = "no stock"
    raise ValueError(msg)


def order(**last: Any) -> Flow:
    return (
        Workflow("order")
        .step("reserve", lambda: 1, compensate=lambda: None)
        .branch(lambda ctx: ctx.input)
        .path("card", lambda w: w.step("charge", lambda: 1, compensate=lambda: None))
        .path("bill", lambda w: w.step("print", lambda: 1).step("send", lambda: 1))
        .wait_for("approval")
        .pivot()
        .step("ship", lambda: 1, **last)
    )


def test_a_waiting_run_shows_where_it_waits_and_which_path_it_did_not_take(lab: Engine) -> None:
    lab.register(order())
    lab.start("order", "card", id="o-1")
    lab.settle()

    assert painted(lab, "o-1") == {
        "order": "done",
        "reserve": "done",
        "branch(card|bill)": "done",
        "charge": "done",
        "print": "not taken",
        "send": "not taken",
        "__waitFor:approval": "waiting",
        "pivot": "-",
        "ship": "-",
        "end": "-: waiting",
    }


def test_the_picture_is_the_same_after_a_restart(lab: Engine) -> None:
    lab.register(order())
    lab.start("order", "card", id="o-1")
    lab.settle()
    before = look(lab, "o-1").to_mermaid()

    engine = restart(lab)

    assert look(engine, "o-1").to_mermaid() == before
    engine.close()


def test_a_completed_run_is_done_but_for_the_path_it_did_not_take(lab: Engine) -> None:
    lab.register(order())
    lab.start("order", "bill", id="o-1")
    lab.signal("o-1", "approval")
    lab.settle()

    marks = painted(lab, "o-1")

    assert [name for name, mark in marks.items() if mark == "not taken"] == ["charge"]
    assert marks["pivot"] == "done"
    assert marks["end"] == "done: completed"


def test_a_cancelled_run_shows_what_was_undone_and_what_it_gave_up(lab: Engine) -> None:
    lab.register(order())
    lab.start("order", "card", id="o-1")
    lab.settle()
    lab.cancel("o-1")
    lab.settle()

    marks = painted(lab, "o-1")

    assert (marks["reserve"], marks["charge"]) == ("undone", "undone")
    assert (marks["__waitFor:approval"], marks["pivot"], marks["ship"]) == ("not taken", "not taken", "not taken")
    assert marks["end"] == "undone: cancelled"


def test_a_failed_step_shows_its_error_and_its_attempts(lab: Engine) -> None:
    lab.register(
        Workflow("w").step("good", lambda: 1, compensate=fail).step("bad", fail, retry=2).step("next", lambda: 1)
    )
    lab.start("w", id="r")
    lab.settle()
    lab.advance(hours=1)

    assert painted(lab, "r") == {
        "w": "done",
        "good": "failed: undo failed",
        "bad": "failed: 2 attempts, ValueError",
        "next": "not taken",
        "end": "failed: failed",
    }


def test_a_running_step_is_seen_while_it_runs(lab: Engine) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait()

    lab.register(Workflow("w").step("work", work).parallel(lambda w: w.step("a", lambda: 1).step("b", lambda: 1)))
    run = lab.start("w")
    began.wait()

    marks = painted(lab, run.id)
    go_on.set()
    run.wait()

    assert marks == {"w": "done", "work": "running", "parallel(a,b)": "-", "a": "-", "b": "-", "end": "-: running"}
    assert painted(lab, run.id)["parallel(a,b)"] == "done"


def test_a_gate_whose_time_has_passed_led_another_way(lab: Engine) -> None:
    lab.register(Workflow("w").wait_for("yes", timeout=60, on_timeout=lambda w: w.step("late", lambda: 1)))
    lab.start("w", id="in-time")
    lab.signal("in-time", "yes")
    lab.settle()
    lab.start("w", id="too-late")
    lab.settle()
    lab.advance(hours=1)

    assert painted(lab, "in-time") == {
        "w": "done",
        "__waitFor:yes": "done",
        "late": "not taken",
        "end": "done: completed",
    }
    assert painted(lab, "too-late") == {
        "w": "done",
        "__waitFor:yes": "done: went another way",
        "late": "done",
        "end": "done: completed",
    }


def test_loops_tell_their_turn_and_items_how_many_are_through(lab: Engine) -> None:
    lab.register(
        Workflow("w")
        .do_until(lambda ctx, turn: turn >= 3, lambda w: w.step("again", lambda: 1))
        .for_each(lambda: [1, 2, 0], "each", lambda ctx: 1 / ctx.item, retry=1, concurrency=3)
    )
    lab.start("w", id="r")
    lab.settle()

    marks = painted(lab, "r")

    assert (marks["do_until(again)"], marks["again"]) == ("done: turn 3", "done: turn 3")
    assert marks["each"] == "failed: 2 of 3, ZeroDivisionError"


def test_a_path_taken_in_any_item_counts_as_taken(lab: Engine) -> None:
    lab.register(
        Workflow("w").for_each(
            lambda: ["a", "b"],
            "each",
            block=lambda w: (
                w.branch(lambda ctx: ctx.item)
                .path("a", lambda w: w.step("do-a", lambda: 1))
                .path("b", lambda w: w.step("do-b", lambda: 1))
                .otherwise(lambda w: w.step("do-c", lambda: 1))
            ),
        )
    )
    lab.start("w", id="r")
    lab.settle()

    marks = painted(lab, "r")

    assert (marks["do-a"], marks["do-b"], marks["do-c"]) == ("done", "done", "not taken")


def test_a_run_of_a_workflow_that_is_not_registered_cannot_be_drawn(lab: Engine) -> None:
    lab.register(Workflow("w").step("a", lambda: 1))
    lab.start("w", id="r").wait()
    path = lab.path
    lab.close()

    with Engine(path) as stranger:
        execution = look(stranger, "r")
        with pytest.raises(UnknownWorkflow, match="no workflow 'w' is registered"):
            execution.to_mermaid()
        assert execution._repr_html_() is None


def test_a_run_shows_itself_in_a_notebook(lab: Engine) -> None:
    lab.register(Workflow("w").step("a", lambda: 1))
    lab.start("w", id="r").wait()

    shown = look(lab, "r")._repr_svg_()

    assert shown is not None
    assert 'class="perdure-box perdure-work perdure-done" data-node="a"' in shown


def test_a_failure_that_a_group_bears_is_seen_in_its_strand_and_not_in_the_group(lab: Engine) -> None:
    lab.register(
        Workflow("w")
        .parallel(lambda w: w.step("good", lambda: 1).step("bad", fail, retry=1), tolerated_failures=1)
        .for_each(lambda: [1, 0], "each", block=lambda w: w.step("part", fail, retry=1), tolerated_failures=2)
    )
    lab.start("w", id="r")
    lab.settle()

    marks = painted(lab, "r")

    assert (marks["parallel(good,bad)"], marks["good"], marks["bad"]) == ("done", "done", "failed: ValueError")
    assert (marks["each"], marks["part"], marks["end"]) == ("done", "failed: 0 of 2, ValueError", "done: completed")


def test_a_strand_that_lost_a_race_was_not_taken_to_its_end(lab: Engine) -> None:
    lab.register(Workflow("w").parallel(lambda w: w.step("quick", lambda: 1).wait_for("slow"), race=True))
    lab.start("w", id="r")
    lab.settle()

    marks = painted(lab, "r")

    assert (marks["quick"], marks["__waitFor:slow"], marks["end"]) == ("done", "not taken", "done: completed")
