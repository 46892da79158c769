"""Gates that want several signals, or one of several, and the reminders that are given while a gate waits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest

from perdure import Context, DefinitionError, Engine, InvalidPayload, Run, Signal, State, UsageError, Workflow
from perdure.events import SignalReminder
from perdure.testing import assert_events, record, restart
from perdure.testing.freezing import START
from tests.patience import PATIENCE

vote = Signal("vote", int)


def look(ctx: Context[Any]) -> dict[str, Any]:
    return {"signals": dict(ctx.signals), "last": ctx.last_signal, "votes": ctx.received(vote)}


def waiting(engine: Engine, workflow: Workflow[Any, Any]) -> Run[Any]:
    run = engine.register(workflow).start(workflow, id="run")
    engine.settle()
    assert run.state is State.WAITING
    return run


# ---- several signals


def test_a_quorum_opens_with_so_many_signals_and_gives_their_payloads_in_order(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_for(vote, count=3).step("look", look))
    run.signal("vote", 1, key="ada")
    run.signal("vote", 1, key="ada")  # the same voter again: dropped
    run.signal("vote", 2, key="alan")
    lab.settle()
    [wait] = run.wait(PATIENCE, until="waiting").waiting_for
    assert (wait.event, wait.needed, wait.received) == ("vote", 3, 2)

    run.signal("vote", 3, key="grace")

    assert run.result(PATIENCE) == {"signals": {"vote": 3}, "last": "vote", "votes": [1, 2, 3]}
    assert run.wait(PATIENCE).steps["__waitFor:vote"].result == [1, 2, 3]


def test_a_quorum_that_times_out_takes_nothing_so_a_later_gate_may(lab: Engine) -> None:
    workflow = (
        Workflow("w").wait_for(vote, count=2, timeout=60, on_timeout=lambda w: w.wait_for(vote)).step("look", look)
    )
    run = waiting(lab, workflow)
    run.signal("vote", 7)
    lab.settle()

    lab.advance(seconds=60)

    assert run.result(PATIENCE)["votes"] == [7]


def test_a_signal_after_the_deadline_closes_a_quorum_whatever_arrives_first(
    lab: Engine, frozen: Any, unnoticed: Callable[[], AbstractContextManager[None]]
) -> None:
    run = waiting(lab, Workflow("w").wait_for(vote, count=2, timeout=60))
    run.signal("vote", 1)
    lab.settle()

    with unnoticed():
        frozen.move_to(START + timedelta(seconds=61))
        run.signal("vote", 2)
    lab.settle()

    error = run.wait(PATIENCE).error
    assert error is not None
    assert error.type == "perdure.SignalTimeout"


def test_the_first_of_any_of_several_signals_opens_the_gate_and_the_others_stay(lab: Engine) -> None:
    workflow = (
        Workflow("w")
        .wait_any("approved", "rejected")
        .branch(lambda ctx: ctx.last_signal or "")
        .path("approved", lambda w: w.step("yes", lambda ctx: ctx.signals["approved"]))
        .path("rejected", lambda w: w.wait_for("approved").step("after all", look))
    )
    run = waiting(lab, workflow)
    assert [wait.event for wait in run.wait(PATIENCE, until="waiting").waiting_for] == ["approved", "rejected"]

    run.signal("rejected", "no")
    run.signal("approved", "yes")

    assert run.result(PATIENCE)["signals"] == {"rejected": "no", "approved": "yes"}
    assert run.wait(PATIENCE).steps["__waitAny:approved|rejected"].result == {"rejected": "no"}


def test_a_gate_for_all_of_several_signals_waits_for_each_in_whatever_order(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_all("paid", "signed").step("look", look))
    run.signal("signed", 2)
    run.signal("signed", 3)
    lab.settle()
    counts = [(wait.event, wait.needed, wait.received) for wait in run.wait(PATIENCE, until="waiting").waiting_for]
    assert counts == [("paid", 1, 0), ("signed", 1, 2)]

    engine = restart(lab)
    engine.signal("run", "paid", 1)
    engine.settle()

    shown = engine.get_execution("run")
    assert shown is not None
    assert shown.result == {"signals": {"signed": 2, "paid": 1}, "last": "paid", "votes": []}
    assert shown.steps["__waitAll:paid|signed"].result == {"signed": 2, "paid": 1}
    engine.close()


def test_each_signal_of_such_a_gate_is_checked_by_its_own_type(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_any(vote, Signal("name", str)))

    with pytest.raises(InvalidPayload):
        run.signal("vote", "three")
    run.signal("name", "Ada")

    assert run.result(PATIENCE) == {"name": "Ada"}


@pytest.mark.parametrize("verb", ["skip", "complete_step"])
@pytest.mark.parametrize(
    ("gate", "result", "heard"),
    [
        ("__waitAny:a|b", None, {}),
        ("__waitAny:a|b", {"b": 5}, {"b": 5}),
        ("__waitAny:a|b", 5, "'a' or 'b'"),
        ("__waitAny:a|b", {"c": 5}, "'a' or 'b'"),
        ("__waitFor:vote", None, {}),
        ("__waitFor:vote", [5, 6], {"vote": 6}),
        ("__waitFor:vote", 5, "a list of 2 payloads"),
    ],
)
def test_a_gate_for_several_signals_that_is_passed_by_hand_has_a_value_of_its_own_form(
    lab: Engine, verb: str, gate: str, result: Any, heard: Any
) -> None:
    workflow = Workflow("w").wait_any("a", "b") if "Any" in gate else Workflow("w").wait_for(vote, count=2)
    run = waiting(lab, workflow.step("look", look))

    if isinstance(heard, str):
        with pytest.raises(InvalidPayload, match=heard):
            getattr(run, verb)(gate, result=result)
        assert run.state is State.WAITING
        return
    getattr(run, verb)(gate, result=result)

    assert run.result(PATIENCE)["signals"] == heard
    with pytest.raises(UsageError, match="cannot fork"):
        run.fork(at="look", steps={gate: 5})


def test_a_name_that_looks_like_one_of_the_codecs_tags_is_a_name(lab: Engine) -> None:
    run = waiting(lab, Workflow("w").wait_any("$map", "$set").step("look", lambda ctx: dict(ctx.signals)))

    run.signal("$set", [1])

    assert run.result(PATIENCE) == {"$set": [1]}


# ---- reminders


def test_reminders_are_given_at_every_interval_until_the_signal_comes(lab: Engine) -> None:
    given: list[tuple[int, str]] = []

    def remind(ctx: Context[Any]) -> None:
        given.append((ctx.turn, ctx.input))

    workflow = (
        Workflow("w")
        .wait_for("go", remind_every=timedelta(days=1), remind=remind)
        .step("s", lambda ctx: len(ctx.steps))
    )
    recorded: list[SignalReminder] = []
    lab.on(SignalReminder, recorded.append)
    run = lab.register(workflow).start("w", "ada")
    lab.advance(days=3, hours=1)
    assert run.state is State.WAITING

    run.signal("go")

    assert run.result(PATIENCE) == 0
    lab.advance(days=9)
    assert given == [(1, "ada"), (2, "ada"), (3, "ada")]
    assert [(event.event, event.number, event.missed) for event in recorded] == [
        ("go", 1, 0),
        ("go", 2, 0),
        ("go", 3, 0),
    ]
    assert [event.at - START for event in recorded] == [timedelta(days=day) for day in (1, 2, 3)]
    assert lab.next_deadline() is None


def test_reminders_keep_their_times_across_a_restart_and_those_missed_are_given_as_one(
    lab: Engine, frozen: Any
) -> None:
    workflow = Workflow("w").wait_for("go", remind_every=3600)
    waiting(lab, workflow)
    lab.advance(hours=1, minutes=30)

    engine = restart(lab)
    recorded: list[SignalReminder] = []
    engine.on(SignalReminder, recorded.append)
    engine.advance(minutes=30)
    engine.close()
    frozen.move_to(START + timedelta(hours=5, minutes=10))
    engine = restart(engine)
    engine.on(SignalReminder, recorded.append)
    engine.advance(minutes=50)
    engine.close()

    assert [(event.number, event.missed) for event in recorded if event.number < 3] == [(2, 0)]
    assert [(event.number, event.at - START) for event in recorded if event.number > 3] == [(4, timedelta(hours=6))]


def test_nobody_is_reminded_at_the_deadline_or_after_it(lab: Engine, frozen: Any) -> None:
    workflow = Workflow("w").wait_for(
        "go", timeout=30, on_timeout=lambda w: w.step("late", lambda: "late"), remind_every=10
    )
    record(lab)
    run = waiting(lab, workflow)

    lab.advance(seconds=15)
    frozen.move_to(START + timedelta(seconds=40))
    lab.settle()

    assert run.result(PATIENCE) == "late"
    assert_events(
        run,
        "workflow:started",
        "workflow:waiting",
        "signal:reminder go",
        "signal:timeout go",
        ...,
        "workflow:completed",
    )


def test_a_reminder_that_cannot_be_given_is_tried_again_and_then_left_for_the_next(lab: Engine) -> None:
    tried: list[int] = []

    def remind(ctx: Context[Any]) -> None:
        tried.append(ctx.turn)
        if ctx.turn == 1:
            raise OSError

    run = waiting(lab, Workflow("w").wait_for("go", remind_every=3600, remind=remind))

    lab.advance(hours=2)
    run.signal("go", 5)

    assert run.result(PATIENCE) == 5
    assert tried == [1, 1, 1, 2]


def test_gates_in_items_and_turns_have_reminders_of_their_own(lab: Engine) -> None:
    given: list[tuple[int, str]] = []

    def remind(ctx: Context[Any]) -> None:
        given.append((ctx.turn, ctx.idempotency_key))

    workflow = Workflow("w").do_until(
        lambda ctx, turn: turn == 2,
        lambda w: w.for_each(
            lambda: [1, 2],
            "each",
            block=lambda item: item.wait_any("a", "b", remind_every=60, remind=remind),
            concurrency=2,
        ),
    )
    run = waiting(lab, workflow)
    for _ in range(2):
        lab.advance(seconds=60)
        run.signal("a")
        run.signal("b")
        lab.settle()

    assert run.wait(PATIENCE).state is State.COMPLETED
    assert len({key for _, key in given}) == len(given) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "count"),
        ({"count": True}, "count"),
        ({"remind_every": 0}, "more than zero"),
        ({"remind": lambda ctx: None}, "remind needs remind_every"),
        ({"remind_every": 60, "timeout": 60}, "nobody would be reminded"),
        ({"remind_every": 60, "remind": "mail"}, "expected a function"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_where_it_is_written(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Workflow("w").wait_for("go", **options)


def test_a_gate_for_several_signals_wants_each_of_them_once() -> None:
    for events in ((), ("a", "a")):
        with pytest.raises(DefinitionError, match="each once"):
            Workflow("w").wait_any(*events)
        with pytest.raises(DefinitionError, match="each once"):
            Workflow("w").wait_all(*events)
