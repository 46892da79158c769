"""Wherever a process dies, no slot or place in line is lost with it, and no attempt comes too soon after another."""

from __future__ import annotations

from typing import Any

from perdure import Concurrency, Execution, Rate, State, Workflow
from perdure.testing import crash_everywhere


def family() -> tuple[Workflow[Any, Any], Workflow[Any, Any]]:
    """A run whose children share one slot by turns, each of which is attempted at a rate."""
    child = (
        Workflow("child", input=str, concurrency=Concurrency(1, key=lambda ctx: ctx.input))
        .step("call", lambda ctx: ctx.input, rate=Rate(1, per=60, name="service"))
        .sleep("rest", 5)
    )
    parent = (
        Workflow("parent", concurrency=2)
        .step("begin", lambda: 1, compensate=lambda: None)
        .parallel(
            lambda w: (
                w.sub_workflow("child", lambda ctx: "a", as_="one")
                .sub_workflow("child", lambda ctx: "a", as_="two")
                .sub_workflow("child", lambda ctx: "b", as_="three")
            )
        )
        .step("end", lambda: 2)
    )
    return parent, child


def test_runs_in_line_and_attempts_that_wait_come_to_the_same_end_wherever_the_process_is_killed() -> None:
    parent, child = family()

    def look(execution: Execution) -> None:
        assert execution.state is State.COMPLETED

    report = crash_everywhere(parent, others=[child], points=["commit.after", "handler.after"], check=look)

    assert report.kills > 30
