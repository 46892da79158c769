"""A loop leaves the same behind, whether its run has rested or gone on without a pause."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Context, Engine, Workflow


def turn(ctx: Context[Any]) -> int | None:
    return ctx.turn


def beside_a_gate(kind: str) -> Workflow[Any, Any]:
    if kind == "do_until":
        return Workflow("w").parallel(
            lambda w: w.do_until(lambda _, n: n == 2, lambda body: body.step("a", turn), name="loop").wait_for("go")
        )
    return Workflow("w").parallel(
        lambda w: w.do_while(lambda _, n: n < 2, lambda body: body.step("a", turn), name="loop").wait_for("go")
    )


@pytest.mark.parametrize("kind", ["do_until", "do_while"])
def test_a_loop_that_has_ended_keeps_its_value_while_its_run_rests(kind: str) -> None:
    with Engine(None, beside_a_gate(kind)) as engine:
        run = engine.start("w")
        run.wait(timeout=10, until="waiting")
        run.signal("go", "on")
        assert run.result(timeout=10) == {"loop": 2, "__waitFor:go": "on"}
