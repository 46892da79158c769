"""`crash_everywhere` kills at every point, finds nothing wrong where nothing is, and finds what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from perdure import Context, Engine, Execution, State, UsageError, WaitTimeout, Workflow
from perdure.dsl.facts import FactKind, FactStatus
from perdure.persistence.store import Store
from perdure.testing import CrashError, crash_everywhere
from tests.patience import PATIENCE

Forget = Callable[[Any], bool]


def order() -> Workflow[Any, Any]:
    return Workflow("order").step("charge", lambda: "receipt").step("ship", lambda: "parcel")


def saga() -> Workflow[Any, Any]:
    def fail(ctx: Context[Any]) -> None:
        raise RuntimeError

    return (
        Workflow("saga")
        .step("charge", lambda: 1, compensate=lambda ctx: None)
        .wait_for("packed", timeout=3600)
        .sub_workflow("parcel")
        .for_each(lambda: ["a", "b"], "notify", lambda ctx: ctx.item, compensate=lambda ctx: None)
        .step("close", fail, retry=2)
    )


def parcel() -> Workflow[Any, Any]:
    return Workflow("parcel").step("label", lambda: 1, compensate=lambda ctx: None).sleep("collect", 60)


def test_every_point_is_killed_at_once_for_each_time_it_was_passed() -> None:
    report = crash_everywhere(order(), points=["commit.before", "commit.after", "handler.after"])

    assert report.points == {"commit.before": 3, "commit.after": 3, "handler.after": 2}
    assert report.kills == 8
    assert 4 <= report.repeated <= 6, "what had begun and was not recorded, at its begin or its end"


def test_a_saga_with_signals_timers_and_children_is_undone_wherever_it_is_killed() -> None:
    def look(execution: Execution) -> None:
        assert execution.state is State.FAILED
        assert execution.rollback == "complete"

    report = crash_everywhere(
        saga(), others=[parcel()], signals={"packed": 7}, points=["commit.after", "handler.after"], check=look
    )

    assert report.kills > 20


@pytest.mark.parametrize(
    ("forget", "seen"),
    [
        (lambda fact: fact.kind is FactKind.STEP, "state is quarantined, undisturbed it was failed"),
        (lambda fact: fact.kind is FactKind.UNDO, "undo:notify:1 began again though its result was on disk"),
    ],
    ids=["steps", "compensations"],
)
def test_an_engine_that_forgets_after_a_crash_is_found_out(
    monkeypatch: pytest.MonkeyPatch, forget: Forget, seen: str
) -> None:
    load = Store.load

    def forgetful(store: Store, run: int) -> Any:
        stored = load(store, run)
        if stored is None or stored.execution.adoptions == 0:
            return stored
        return stored._replace(
            facts=[fact for fact in stored.facts if not (forget(fact) and fact.status is FactStatus.COMPLETED)]
        )

    monkeypatch.setattr(Store, "load", forgetful)

    with pytest.raises(CrashError, match=seen):
        crash_everywhere(saga(), others=[parcel()], signals={"packed": 7}, points=["commit.after"])


def test_results_that_differ_each_time_are_found_out_unless_that_is_meant() -> None:
    flow = Workflow("w").step("draw", os.getpid)

    with pytest.raises(CrashError, match="result of 'draw'"):
        crash_everywhere(flow, points=["handler.after"])

    assert crash_everywhere(flow, points=["handler.after"], same_results=False).kills == 1


def test_what_a_check_finds_is_reported_with_the_place() -> None:
    def look(execution: Execution) -> None:
        assert execution.result == "letter"

    with pytest.raises(CrashError, match=r"(?s)undisturbed: .*look.*AssertionError"):
        crash_everywhere(order(), check=look)


def test_a_gate_that_nobody_opens_is_reported_with_its_event() -> None:
    with pytest.raises(CrashError, match=r"which signals are to be sent\? It waits for \['packed'\]"):
        crash_everywhere(Workflow("w").wait_for("packed"))


def test_a_process_that_hangs_is_reported_with_where_it_stands() -> None:
    def stand_still(ctx: Context[Any]) -> None:
        os.read(os.pipe()[0], 1)

    def told(timeout: float) -> str:
        with pytest.raises((CrashError, WaitTimeout)) as error:
            crash_everywhere(Workflow("w").step("hang", stand_still), timeout=timeout)
        return str(error.value)

    longer = (0.3, 3, PATIENCE / 2)  # until it has come that far
    assert any(re.search(r"(?s)undisturbed: Timeout.*in stand_still", told(timeout)) for timeout in longer)


def test_a_process_with_an_open_engine_is_not_forked(engine: Engine) -> None:
    with pytest.raises(UsageError, match="close them first"):
        crash_everywhere(order())


def test_a_point_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'handler\.after'"):
        crash_everywhere(order(), points=["handler.aftr"])
