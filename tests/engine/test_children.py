"""Sub-workflows: executions of their own, whose end their parent is told of."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from perdure import Context, Engine, State, UnknownWorkflow, Workflow, WorkflowFailed
from perdure.testing import assert_events, record, restart
from tests.patience import PATIENCE

Flow = Workflow[Any, Any]


def fail(ctx: Context[Any]) -> None:
    msg = "no stock"
    raise ValueError(msg)


def states(engine: Engine) -> dict[str, State]:
    return {execution.workflow_name: execution.state for execution in engine.list_executions()}


def child_of(engine: Engine, name: str = "child") -> str:
    return next(execution.id for execution in engine.list_executions(name))


def test_a_childs_results_are_the_parents_to_see(lab: Engine) -> None:
    child = Workflow("child").step("one", lambda ctx: ctx.input + 1).map("two", lambda ctx: ctx.steps["one"] * 2)
    parent = (
        Workflow("w")
        .step("first", lambda: 5)
        .sub_workflow(child, lambda ctx: ctx.steps["first"])
        .step("look", lambda ctx: ctx.steps["sub:child"])
    )

    assert lab.register(parent, child).start("w").result(PATIENCE) == {"one": 6, "two": 12}


def test_a_child_without_a_mapper_has_no_input(lab: Engine) -> None:
    child = Workflow("child").step("look", lambda ctx: ctx.input)

    assert lab.register(Workflow("w").sub_workflow("child"), child).start("w", 7).result(PATIENCE) == {"look": None}


def test_a_mapper_may_be_asynchronous(lab: Engine) -> None:
    async def mapper(ctx: Context[Any]) -> int:
        return ctx.input * 2  # type: ignore[no-any-return]

    child = Workflow("child").step("look", lambda ctx: ctx.input)

    assert lab.register(Workflow("w").sub_workflow(child, mapper), child).start("w", 7).result(PATIENCE) == {"look": 14}


def test_a_child_that_is_used_twice_has_a_name_for_each(lab: Engine) -> None:
    child = Workflow("child").step("look", lambda ctx: ctx.input)
    parent = (
        Workflow("w")
        .sub_workflow(child, lambda: 1, as_="one")
        .sub_workflow(child, lambda: 2, as_="two")
        .step("look", lambda ctx: [ctx.steps["sub:one"], ctx.steps["sub:two"]])
    )

    assert lab.register(parent, child).start("w").result(PATIENCE) == [{"look": 1}, {"look": 2}]


def test_a_child_knows_its_parent(lab: Engine) -> None:
    lab.register(Workflow("w").sub_workflow("child"), Workflow("child").wait_for("go"))
    run = lab.start("w")
    lab.settle()

    execution = lab.get_execution(child_of(lab))

    assert execution is not None
    assert execution.parent_id == run.id
    parent = lab.get_execution(run.id)
    assert parent is not None
    assert parent.parent_id is None


def test_a_parent_waits_while_its_child_waits_and_goes_on_with_it(lab: Engine) -> None:
    record(lab)
    lab.register(Workflow("w").sub_workflow("child").step("after", lambda: 1), Workflow("child").wait_for("go"))
    run = lab.start("w")
    lab.settle()
    assert states(lab) == {"w": State.RUNNING, "child": State.WAITING}

    lab.signal(child_of(lab), "go")

    assert run.result(PATIENCE) == 1
    assert_events(
        run,
        *("workflow:started", "step:started sub:child", "step:completed sub:child"),
        *("step:started after", "step:completed after", "workflow:completed"),
    )


def test_parents_that_wait_hold_no_slot(tmp_path: Any) -> None:
    child = Workflow("child").step("c", lambda ctx: ctx.input)
    middle = Workflow("middle").sub_workflow(child, lambda ctx: ctx.input)
    parent = Workflow("w").for_each(
        lambda ctx: list(range(5)),
        "each",
        concurrency=5,
        block=lambda item: item.sub_workflow(middle, lambda ctx: ctx.item),
    )
    with Engine(tmp_path / "runs.db", parent, middle, child, concurrency=1, threads=1, durability="normal") as engine:
        runs = [engine.start("w") for _ in range(3)]

        for run in runs:
            assert len(run.result(PATIENCE)) == 5


def test_a_child_that_fails_fails_its_parent_which_is_undone(lab: Engine) -> None:
    undone: list[str] = []
    child = Workflow("child").step("c", lambda: 1, compensate=lambda: undone.append("c")).step("fail", fail, retry=1)
    parent = Workflow("w").step("a", lambda: 1, compensate=lambda: undone.append("a")).sub_workflow(child)
    run = lab.register(parent, child).start("w")

    with pytest.raises(WorkflowFailed) as failure:
        run.result(PATIENCE)

    error = failure.value.error
    assert error is not None
    assert (error.type, error.step) == ("perdure.ChildFailed", "sub:child")
    assert "sub-workflow 'child' failed: no stock" in error.message
    assert [(cause.type, cause.step) for cause in error.causes] == [("ValueError", "fail")]
    assert undone == ["c", "a"]


def test_a_child_that_is_cancelled_by_itself_fails_its_parent(lab: Engine) -> None:
    lab.register(Workflow("w").sub_workflow("child"), Workflow("child").wait_for("go"))
    run = lab.start("w")
    lab.settle()

    lab.cancel(child_of(lab))

    with pytest.raises(WorkflowFailed, match="sub-workflow 'child' cancelled"):
        run.result(PATIENCE)


def test_cancelling_a_parent_cancels_its_children_to_any_depth_and_undoes_them_first(lab: Engine) -> None:
    undone: list[str] = []

    def undo(ctx: Context[Any]) -> None:
        undone.append(ctx.workflow_name)

    lab.register(
        Workflow("w").step("a", lambda: 1, compensate=undo).sub_workflow("child"),
        Workflow("child").step("c", lambda: 1, compensate=undo).sub_workflow("grandchild"),
        Workflow("grandchild").step("g", lambda: 1, compensate=undo).wait_for("go"),
    )
    run = lab.start("w")
    lab.settle()

    run.cancel()

    assert run.wait(PATIENCE).rollback == "complete"
    assert undone == ["grandchild", "child", "w"]
    assert set(states(lab).values()) == {State.CANCELLED}


def test_a_parent_may_be_cancelled_without_undoing_anything(lab: Engine) -> None:
    undone: list[str] = []
    lab.register(
        Workflow("w").step("a", lambda: 1, compensate=lambda: undone.append("a")).sub_workflow("child"),
        Workflow("child").step("c", lambda: 1, compensate=lambda: undone.append("c")).wait_for("go"),
    )
    run = lab.start("w")
    lab.settle()

    run.cancel(compensate=False)

    assert run.wait(PATIENCE).rollback == "none"
    assert undone == []
    assert set(states(lab).values()) == {State.CANCELLED}


def test_a_wish_to_cancel_reaches_the_children_though_the_engine_died_at_once(lab: Engine) -> None:
    lab.register(Workflow("w").sub_workflow("child"), Workflow("child").wait_for("go"))
    lab.start("w", id="run")
    lab.settle()
    lab.cancel("run")

    fresh = restart(lab)

    assert fresh.run("run").wait(PATIENCE).state is State.CANCELLED
    fresh.settle()
    assert set(states(fresh).values()) == {State.CANCELLED}


def test_a_child_that_is_not_registered_is_refused_at_the_start(lab: Engine) -> None:
    lab.register(Workflow("w").sub_workflow("child"), Workflow("child").sub_workflow("grandchild"))

    with pytest.raises(UnknownWorkflow, match="'grandchild'"):
        lab.start("w")

    assert lab.list_executions() == []


def test_a_parent_is_left_alone_until_its_children_are_registered_again(lab: Engine, tmp_path: Any) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait(PATIENCE)

    parent = Workflow("w").step("slow", slow).sub_workflow("child")
    child = Workflow("child").step("c", lambda: 7)
    lab.register(parent, child).start("w", id="run")
    assert begun.wait(PATIENCE)
    lab.abandon()
    go_on.set()

    with Engine(lab.path, parent, durability="normal") as engine:
        engine.settle()
        assert engine.run("run").state is State.RUNNING
        engine.register(child)
        assert engine.run("run").result(PATIENCE) == {"c": 7}


def test_a_child_that_ended_while_nobody_drove_its_parent_is_not_lost(lab: Engine, tmp_path: Any) -> None:
    parent = Workflow("w").sub_workflow("child")
    child = Workflow("child").wait_for("go").step("c", lambda: 7)
    lab.register(parent, child).start("w", id="run")
    lab.settle()
    child_id = child_of(lab)
    lab.abandon()

    with Engine(lab.path, child, durability="normal") as engine:
        engine.signal(child_id, "go")
        assert engine.run(child_id).result(PATIENCE) == 7
        assert engine.run("run").state is State.RUNNING
        engine.register(parent)
        assert engine.run("run").result(PATIENCE) == {"c": 7}


def test_a_child_is_begun_once_though_the_parent_dies_right_after_asking_for_it(lab: Engine) -> None:
    calls: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def count() -> int:
        calls.append(1)
        begun.set()
        go_on.wait(PATIENCE)
        return len(calls)

    lab.register(Workflow("w").sub_workflow("child"), Workflow("child").step("c", count))
    lab.start("w", id="run")
    assert begun.wait(PATIENCE)

    fresh = restart(lab)
    go_on.set()

    assert fresh.run("run").result(PATIENCE) == {"c": 2}
    assert len(fresh.list_executions("child")) == 1


def test_a_mapper_that_raises_fails_the_sub_workflow(lab: Engine) -> None:
    lab.register(Workflow("w").sub_workflow("child", fail), Workflow("child").step("c", lambda: 1))
    run = lab.start("w")

    with pytest.raises(WorkflowFailed, match="in step 'sub:child': ValueError: no stock"):
        run.result(PATIENCE)

    assert run.wait(PATIENCE).steps["sub:child"].status == "failed"
    assert lab.list_executions("child") == []


def test_a_workflow_may_be_its_own_child(lab: Engine) -> None:
    def smaller(ctx: Context[Any]) -> int:
        return int(ctx.input) - 1

    workflow = (
        Workflow("down")
        .branch(lambda ctx: "deeper" if ctx.input else "done", name="deeper?")
        .path("deeper", lambda path: path.sub_workflow("down", smaller))
        .path("done", lambda path: path.step("bottom", lambda: "bottom"))
    )

    result = lab.register(workflow).start("down", 3).result(PATIENCE)

    assert result == {"sub:down": {"sub:down": {"bottom": "bottom"}}}


def test_the_value_of_a_child_holds_the_results_of_its_steps_and_nothing_of_its_gates_and_sleeps(lab: Engine) -> None:
    child = (
        Workflow("child")
        .wait_for("never", timeout=0, on_timeout=lambda w: None)
        .sleep("rest", 60)
        .branch(lambda: "way")
        .path("way", lambda w: w.step("one", lambda: 1))
        .for_each(lambda: ["a"], "it", lambda ctx: ctx.item)
    )
    run = lab.register(Workflow("w").sub_workflow(child), child).start("w")
    lab.advance(minutes=1)

    assert run.result(PATIENCE) == {"one": 1, "it:0": "a"}
