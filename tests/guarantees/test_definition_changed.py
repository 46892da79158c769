"""A definition that changed under a waiting run: it goes on, or is quarantined with the first difference named.

`check_upgrade` says beforehand what will happen; each test asks it first, and then lets it happen.
"""

from __future__ import annotations

from typing import Any

import pytest

from perdure import Context, DefinitionError, Engine, UsageError, Workflow, WorkflowQuarantined
from tests.patience import PATIENCE

Flow = Workflow[Any, Any]


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def build(ran: list[str]) -> Any:
    """Builds a workflow of such nodes: a name for a step, ``go!`` for a gate; every step can be undone."""

    def step(workflow: Flow, name: str) -> None:
        workflow.step(name, lambda: ran.append(name), compensate=lambda: ran.append(f"undo {name}"), retry=1)

    def build(*nodes: str, version: str | None = None, name: str = "flow") -> Flow:
        workflow: Flow = Workflow(name, version=version)
        for node in nodes:
            if node.endswith("!"):
                workflow.wait_for(node.removesuffix("!"))
            else:
                step(workflow, node)
        return workflow

    return build


OLD = ("reserve", "go!", "ship")
FITS = {
    "nothing": OLD,
    "a node after what was reached": ("reserve", "go!", "ship", "thank"),
    "a node right behind the gate": ("reserve", "go!", "pack", "ship"),
    "a node renamed that was not reached": ("reserve", "go!", "send"),
    "a node removed that was not reached": ("reserve", "go!"),
}
STRAYS = {
    "a node before": (("greet", "reserve", "go!", "ship"), "reserve"),
    "a node between": (("reserve", "check", "go!", "ship"), "__waitFor:go"),
    "a completed node renamed": (("book", "go!", "ship"), "reserve"),
    "a completed node removed": (("go!", "ship"), "reserve"),
    "the gate renamed": (("reserve", "approve!", "ship"), "__waitFor:go"),
    "the gate removed": (("reserve", "ship"), "__waitFor:go"),
    "reordered": (("reserve", "ship", "go!"), "__waitFor:go"),
}


def waiting_run(location: str, workflow: Flow, *, id: str = "x") -> None:
    """Leave a run that waits at its gate."""
    with Engine(location, workflow, durability="normal") as engine:
        engine.start(workflow, id=id).wait(PATIENCE, until="waiting")


def verdicts(location: str, workflow: Flow) -> dict[str, tuple[str, str | None]]:
    """Ask, on an engine that knows nothing, what the definition would mean."""
    with Engine(location, durability="normal") as engine:
        return {one.execution_id: (one.verdict, one.first_difference) for one in engine.check_upgrade(workflow)}


@pytest.mark.parametrize("change", FITS)
def test_a_run_whose_facts_fit_goes_on_by_the_new_definition(
    change: str, build: Any, ran: list[str], location: str
) -> None:
    new = FITS[change]
    waiting_run(location, build(*OLD))
    assert verdicts(location, build(*new)) == {"x": ("goes on", None)}

    with Engine(location, build(*new), durability="normal") as engine:
        engine.signal("x", "go")
        engine.run("x").result(PATIENCE)

    assert ran == ["reserve", *new[2:]]


@pytest.mark.parametrize("change", STRAYS)
def test_a_run_whose_facts_do_not_fit_is_quarantined_and_goes_on_once_the_old_definition_is_back(
    change: str, build: Any, ran: list[str], location: str
) -> None:
    new, first = STRAYS[change]
    waiting_run(location, build(*OLD))
    assert verdicts(location, build(*new)) == {"x": ("quarantined", first)}

    with Engine(location, build(*new), durability="normal") as engine:
        engine.signal("x", "go", strict=False)
        quarantined = engine.run("x").wait(PATIENCE)
        assert quarantined.state == "quarantined"
        assert quarantined.error is not None
        assert (quarantined.error.type, quarantined.error.step) == ("perdure.DefinitionChanged", first)
        with pytest.raises(WorkflowQuarantined, match=repr(first)):
            engine.run("x").result(PATIENCE)
    assert ran == ["reserve"]

    with Engine(location, build(*OLD), durability="normal") as engine:
        (mended,) = engine.check_upgrade(build(*OLD))
        assert (mended.goes_on, mended.state) == (True, "quarantined")
        assert "resume" in str(mended.reason)
        engine.resume("x")
        engine.run("x").result(PATIENCE)
    assert ran == ["reserve", "ship"]


def test_code_and_options_may_change_under_a_run(location: str) -> None:
    def flow(answer: str, **options: Any) -> Flow:
        return Workflow("flow").step("a", lambda: answer, **options).wait_for("go", timeout=60).map("b", seen(answer))

    def seen(answer: str) -> Any:
        return lambda ctx: (ctx.steps["a"], answer)

    waiting_run(location, flow("old"))
    new = flow("new", retry=7, timeout=5, compensate=lambda: None)
    assert verdicts(location, new) == {"x": ("goes on", None)}
    with Engine(location, new, durability="normal") as engine:
        engine.signal("x", "go")
        assert engine.run("x").result(PATIENCE) == ("old", "new")


def test_an_edit_of_another_workflow_concerns_nobody(build: Any, ran: list[str], location: str) -> None:
    waiting_run(location, build(*OLD))
    other = build("quite", "different", name="other")
    assert verdicts(location, other) == {}
    with Engine(location, build(*OLD), other, durability="normal") as engine:
        engine.signal("x", "go")
        assert engine.run("x").wait(PATIENCE).state == "completed"


def test_two_versions_live_side_by_side_and_each_run_keeps_to_its_own(
    build: Any, ran: list[str], location: str
) -> None:
    one, two = build(*OLD, version="1"), build("greet", "go!", "part", version="2")
    waiting_run(location, one)
    assert verdicts(location, two) == {"x": ("left alone", None)}

    with Engine(location, one, two, durability="normal") as engine:
        engine.start("flow", id="y").wait(PATIENCE, until="waiting")
        for run_id in ("x", "y"):
            engine.signal(run_id, "go")
            engine.run(run_id).result(PATIENCE)
        shown = {run.id: (run.version, [*run.steps]) for run in engine.list_executions()}
    assert shown["x"] == ("1", ["reserve", "__waitFor:go", "ship"])
    assert shown["y"] == ("2", ["greet", "__waitFor:go", "part"])


@pytest.mark.parametrize("registered", ["another version", "nothing"])
def test_a_run_whose_definition_is_missing_is_left_alone_and_named(
    registered: str, build: Any, ran: list[str], location: str
) -> None:
    waiting_run(location, build(*OLD, version="1"))
    present = [build("greet", version="2")] if registered == "another version" else []
    with Engine(location, *present, durability="normal") as engine:
        engine.settle()
        assert engine.unregistered() == {("flow", "1"): 1}
        assert engine.run("x").state == "waiting"
        engine.signal("x", "go")  # kept for whoever knows the workflow
        engine.settle()
        assert not engine.run("x").wait(until="running").finished
    with Engine(location, build(*OLD, version="1"), durability="normal") as engine:
        assert engine.unregistered() == {}
        engine.run("x").result(PATIENCE)
    assert ran == ["reserve", "ship"]


def test_a_run_that_is_being_undone_is_judged_too(location: str) -> None:
    def flow(*more: str) -> Flow:
        workflow = Workflow("flow").step("a", lambda: 1, compensate=undo_a).step("b", fail, retry=1)
        for name in more:
            workflow.step(name, lambda: 1)
        return workflow

    def undo_a(ctx: Context[Any]) -> None:
        if failing:
            raise RuntimeError("not now")

    def fail() -> None:
        raise RuntimeError("no")

    failing = [True]
    engine = Engine(location, flow(), durability="normal")
    engine.start("flow", id="x").wait(PATIENCE, until="compensating")
    engine.close(force=True)
    assert verdicts(location, flow("c")) == {"x": ("goes on", None)}
    assert verdicts(location, Workflow("flow").step("b", fail)) == {"x": ("quarantined", "a")}
    forgiving = Workflow("flow").step("a", lambda: 1, compensate=undo_a).step("b2", fail)
    assert verdicts(location, forgiving) == {"x": ("quarantined", "b")}
    failing.clear()
    with Engine(location, flow("c"), durability="normal") as heir:
        assert heir.run("x").wait(PATIENCE).rollback == "complete"


def test_a_run_that_was_set_aside_while_it_was_being_undone_still_knows_why_it_is(location: str) -> None:
    told: list[tuple[str, str | None]] = []

    def undo_a(ctx: Context[Any]) -> None:
        told.append((ctx.idempotency_key, ctx.failure.message if ctx.failure is not None else None))
        if len(told) == 1:
            raise RuntimeError("not now")

    def fail() -> None:
        raise RuntimeError("no stock")

    def flow(first: str) -> Flow:
        return Workflow("flow").step(first, lambda: 1, compensate=undo_a).step("b", fail, retry=1)

    engine = Engine(location, flow("a"), durability="normal")
    engine.start("flow", id="x").wait(PATIENCE, until="compensating")
    engine.close(force=True)
    with Engine(location, flow("renamed"), durability="normal") as wrong:
        assert wrong.run("x").wait(PATIENCE).state == "quarantined"
    with Engine(location, flow("a"), durability="normal") as heir:
        heir.resume("x")
        ended = heir.run("x").wait(PATIENCE)
    assert told == [("x:undo:a", "no stock")] * 2
    assert (ended.state, ended.rollback) == ("failed", "complete")
    assert ended.error is not None
    assert ended.error.message == "no stock"


def test_a_run_that_has_not_begun_goes_on_whatever_has_changed(build: Any, location: str) -> None:
    with Engine(location, build(*OLD), durability="normal") as engine:
        engine.start("flow", id="x", delay=3600)
        engine.settle()
    assert verdicts(location, build("something", "else")) == {"x": ("goes on", None)}


def test_each_unfinished_run_is_judged_by_itself_oldest_first(build: Any, location: str) -> None:
    with Engine(location, build("a", "one!", "b", "two!"), durability="normal") as engine:
        for run_id in ("first", "second", "done"):
            engine.start("flow", id=run_id).wait(PATIENCE, until="waiting")
        engine.signal("second", "one")
        engine.signal("done", "one")
        engine.signal("done", "two")
        engine.run("done").wait(PATIENCE)
        engine.settle()
        new = build("a", "one!", "c", "two!")
        assert [(one.execution_id, one.verdict, one.first_difference) for one in engine.check_upgrade(new)] == [
            ("first", "goes on", None),
            ("second", "quarantined", "b"),
        ]
        assert {run.state for run in engine.list_executions("flow", "waiting")} == {"waiting"}


def test_a_check_takes_a_workflow_that_can_be_built(location: str) -> None:
    with Engine(location) as engine:
        with pytest.raises(UsageError, match="check_upgrade takes a workflow"):
            engine.check_upgrade("flow")  # type: ignore[arg-type]
        with pytest.raises(DefinitionError, match="no nodes"):
            engine.check_upgrade(Workflow("flow"))
