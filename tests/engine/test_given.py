"""Results given by hand: checked as the node's own would be, and nothing is stored of one that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import Client, Compensation, Engine, InvalidPayload, Signal, UsageError, Workflow

from .plant import Flow, Plant, run, state

Give = Callable[[Engine, str, Any], object]


@dataclass(frozen=True)
class Decision:
    approved: bool


YES = Decision(approved=True)
DECIDED = Signal("decided", Decision)
SEEN = Signal("seen", int)


def even(number: Any) -> Any:
    if not isinstance(number, int) or number % 2:
        msg = f"{number!r} is not even"
        raise ValueError(msg)
    return number * 10


def counting(on_exhausted: Any = "fail") -> Flow:
    return (
        Workflow("w")
        .step("count", Plant("count"), retry=1, output_schema=even, on_exhausted=on_exhausted)
        .map("end", lambda ctx: ctx.steps["count"])
    )


def client_completes(lab: Engine, step: str, result: Any) -> None:
    with Client(lab.path, *lab.workflows) as client:
        client.complete_step("run", step, result=result)


GIVE: dict[str, Give] = {
    "complete_step": lambda lab, step, result: lab.complete_step("run", step, result=result),
    "skip": lambda lab, step, result: lab.skip("run", step, result=result),
    "a client that knows the workflow": client_completes,
}


@pytest.mark.parametrize("how", GIVE)
def test_a_result_that_does_not_fit_the_output_schema_is_refused_and_one_that_does_is_what_it_returns(
    how: str, lab: Engine
) -> None:
    assert run(lab, counting()) == "failed"
    with pytest.raises(InvalidPayload, match="the result given for step 'count' does not fit its output_schema: 3"):
        GIVE[how](lab, "count", 3)
    assert state(lab) == "failed"
    assert lab.audit("run") == []

    GIVE[how](lab, "count", 4)

    assert state(lab) == "completed"
    assert lab.run("run").result() == 40


def test_a_skipped_step_may_leave_nothing_whatever_its_schema_says(lab: Engine) -> None:
    assert run(lab, counting()) == "failed"

    lab.skip("run", "count")

    assert state(lab) == "completed"


def test_a_step_that_is_done_leaves_what_its_schema_takes_and_not_nothing(lab: Engine) -> None:
    assert run(lab, counting()) == "failed"

    with pytest.raises(InvalidPayload, match="None is not even"):
        lab.complete_step("run", "count")


@pytest.mark.parametrize("named", [True, False])
def test_an_incident_ends_only_with_a_result_that_fits_its_step(lab: Engine, *, named: bool) -> None:
    assert run(lab, counting("park")) == "waiting"
    what: Any = lab.incidents()[0] if named else "run"
    with pytest.raises(InvalidPayload, match="3 is not even"):
        lab.resolve(what, "complete", result=3)
    assert len(lab.incidents()) == 1

    assert lab.resolve(what, "complete", result=4) == 1

    lab.settle()
    assert lab.run("run").result() == 40


def test_incidents_whose_schemas_make_different_results_of_one_are_resolved_step_by_step(lab: Engine) -> None:
    plant = Plant("a", "b")
    options: Any = {"retry": 1, "on_exhausted": "park"}
    both = Workflow("w").parallel(
        lambda w: w.step("a", plant, output_schema=even, **options).step("b", plant, output_schema=int, **options)
    )
    assert run(lab, both) == "waiting"
    with pytest.raises(UsageError, match="for each of a, b: name the step"):
        lab.resolve("run", "complete", result=4)

    lab.resolve("run", "complete", step="a", result=4)
    lab.resolve("run", "complete", step="b", result=4)

    lab.settle()
    steps = lab.run("run").wait().steps
    assert (steps["a"].result, steps["b"].result) == (40, 4)


def test_an_item_of_a_for_each_is_checked_by_its_steps_schema(lab: Engine) -> None:
    plant = Plant("each:0")
    assert run(lab, Workflow("w").for_each(lambda: [1], "each", plant, retry=1, output_schema=even)) == "failed"

    with pytest.raises(InvalidPayload, match="step 'each:0' does not fit"):
        lab.complete_step("run", "each:0", result=1)


def test_what_a_compensation_is_said_to_leave_is_not_checked(lab: Engine) -> None:
    plant = Plant("b", "undo a")
    flow: Flow = Workflow("w").step(
        "a", lambda: 2, output_schema=even, compensate=Compensation(plant.undo, retry=1, on_exhausted="park")
    )
    assert run(lab, flow.step("b", plant, retry=1)) == "compensating"

    lab.complete_step("run", "a")

    assert state(lab) == "failed"


GATES: dict[str, tuple[Callable[[], Flow], Any, Any]] = {
    "one signal": (lambda: Workflow("w").wait_for(DECIDED), {"approved": "perhaps"}, {"approved": True}),
    "a quorum": (lambda: Workflow("w").wait_for(SEEN, count=2), [1, "two"], [1, 2]),
    "any": (lambda: Workflow("w").wait_any(DECIDED, SEEN), {"seen": "x"}, {"decided": YES}),
    "all": (
        lambda: Workflow("w").wait_all(DECIDED, SEEN),
        {"decided": {"approved": True}, "seen": "x"},
        {"decided": {"approved": True}, "seen": 1},
    ),
}


@pytest.mark.parametrize("kind", GATES)
def test_a_gate_is_passed_by_hand_only_with_what_its_signals_may_carry(kind: str, lab: Engine) -> None:
    make, wrong, right = GATES[kind]
    heard: list[Any] = []
    flow = make().step("end", lambda ctx: heard.append(dict(ctx.signals)))
    gate = flow.definition().body.nodes[0].name
    assert run(lab, flow) == "waiting"
    with pytest.raises(InvalidPayload, match="the result given for step"):
        lab.complete_step("run", gate, result=wrong)
    assert state(lab) == "waiting"

    lab.complete_step("run", gate, result=right)

    assert state(lab) == "completed"
    assert heard[0].get("decided", YES) == YES  # revived as a signal's would be


def test_a_fork_begins_only_with_results_that_fit(lab: Engine) -> None:
    assert run(lab, counting()) == "failed"
    with pytest.raises(InvalidPayload, match="3 is not even"):
        lab.fork("run", steps={"count": 3})

    fork = lab.fork("run", steps={"count": 4})

    lab.settle()
    assert fork.result() == 40
