"""Signals to whoever a matter concerns: by business key, by tags, in whatever workflow."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Engine, InvalidPayload, Signal, State, UnknownSignal, UsageError, Workflow
from tests.patience import PATIENCE

paid = Signal("paid", int)


def waiting_for_payment(name: str) -> Workflow[Any, Any]:
    return Workflow(name).wait_for(paid).step("look", lambda ctx: ctx[paid])


@pytest.fixture
def desk(lab: Engine) -> Engine:
    other = Workflow("other").wait_for("go")
    lab.register(waiting_for_payment("order"), waiting_for_payment("invoice"), other)
    for workflow, run, key in (
        ("order", "o-1", "A"),
        ("order", "o-2", "B"),
        ("invoice", "i-1", "A"),
        ("other", "x-1", "A"),
    ):
        lab.start(workflow, id=run, business_key=key, tags={"region": "north" if key == "A" else "south"})
    lab.settle()
    return lab


def test_a_signal_by_business_key_reaches_every_run_of_the_matter_that_waits_for_it(desk: Engine) -> None:
    assert sorted(desk.signal_where(paid, 7, business_key="A")) == ["i-1", "o-1"]
    desk.settle()

    assert [desk.run(run).state for run in ("o-1", "i-1", "o-2", "x-1")] == [
        State.COMPLETED,
        State.COMPLETED,
        State.WAITING,
        State.WAITING,
    ]
    assert desk.run("o-1").result(PATIENCE) == 7
    assert desk.signal_where(paid, 7, business_key="A", workflow="order") == [], "they have ended"


def test_a_signal_by_tags_reaches_those_that_have_them_and_a_key_makes_it_harmless_to_repeat(desk: Engine) -> None:
    for _ in range(2):
        assert desk.signal_where("paid", 1, key="p-1", tags={"region": "south"}) in (["o-2"], [])
        desk.settle()

    assert desk.run("o-2").result(PATIENCE) == 1


def test_more_runs_than_fit_a_page_are_all_reached(lab: Engine) -> None:
    lab.register(waiting_for_payment("order"))
    for _ in range(250):
        lab.start("order", business_key="A")
    lab.settle()

    assert len(lab.signal_where(paid, 1, business_key="A")) == 250


def test_what_concerns_nobody_or_everybody_is_refused(desk: Engine) -> None:
    with pytest.raises(UsageError, match="say whom"):
        desk.signal_where("paid", 1)
    with pytest.raises(UnknownSignal):
        desk.signal_where("paidd", 1, business_key="A")
    with pytest.raises(InvalidPayload):
        desk.signal_where("paid", "seven", business_key="A")
    assert desk.signal_where("paid", 1, business_key="nobody's") == []
