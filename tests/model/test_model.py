"""The engine and a model of a hundred lines say the same, whatever callers, time and crashes do to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perdure import Context, Engine, Retry, Workflow
from perdure.dsl.errors import ExecutionFinished, IllegalTransition
from perdure.testing import freeze, restart
from perdure.testing.freezing import START
from perdure.testing.leaks import unique_name

from .reference import Flow, Node, Reference, ReferenceRun

_EVENTS = ("red", "green")
_steps = st.builds(
    Node,
    st.just("step"),
    st.just(""),
    fails=st.sampled_from([0, 0, 0, 1, 2, 9]),
    retry=st.integers(1, 3),
    undone=st.booleans(),
)
_gates = st.builds(Node, st.just("gate"), st.sampled_from(_EVENTS), seconds=st.sampled_from([None, 0.0, 3.0, 10.0]))
_sleeps = st.builds(Node, st.just("sleep"), st.just(""), seconds=st.sampled_from([0.0, 1.0, 10.0]))
_bodies = st.lists(st.one_of(_steps, _steps, _gates, _sleeps), min_size=1, max_size=5)
# All other times are quarters: a run's deadline is never that of a node, and nothing hangs on which comes first.
_flows = st.tuples(_bodies, st.sampled_from([None, None, 4.6, 12.6]))
_ids = st.sampled_from(["a", "b", "c"])
_keys = st.sampled_from([None, None, "k"])
_seconds = st.sampled_from([0.25, 1.0, 2.0, 3.0, 7.0, 40.0])

_world: dict[str, list[str]] = {}
"""What handlers have done, by run: the outside world, which no crash can change."""


class EngineAndModel(RuleBasedStateMachine):
    """Drives both."""

    clock: Any
    new_location: Callable[[], str | None]

    def __init__(self) -> None:
        super().__init__()
        self.clock.move_to(START)
        _world.clear()
        self.model = Reference()
        self.engine = Engine(type(self).new_location(), seed=0, queue_name=unique_name())

    @initialize(drawn=st.lists(_flows, min_size=1, max_size=2))
    def write_workflows(self, drawn: list[tuple[list[Node], float | None]]) -> None:
        self.flows = [_named(number, nodes, timeout) for number, (nodes, timeout) in enumerate(drawn)]
        self.engine.register(*map(_workflow, self.flows))

    @rule(id=_ids, which=st.integers(0, 1))
    def start(self, id: str, which: int) -> None:
        known = self.model.runs.get(id)
        flow = known.flow if known is not None else self.flows[which % len(self.flows)]
        assert self.engine.start(flow.name, id=id).id == id
        self.model.start(id, flow)

    @precondition(lambda self: self.model.runs)
    @rule(id=_ids, event=st.sampled_from(_EVENTS), key=_keys)
    def signal(self, id: str, event: str, key: str | None) -> None:
        run = self.model.runs.get(id)
        if run is None:
            return
        repeated = key is not None and key in run.keys
        if run.ended and not repeated:
            with pytest.raises(ExecutionFinished):
                self.engine.signal(id, event, key=key, strict=False)
        else:
            self.engine.signal(id, event, key=key, strict=False)
            run.signal(event, key, self.model.now)
            self.model.settle()

    @precondition(lambda self: self.model.runs)
    @rule(id=_ids)
    def cancel(self, id: str) -> None:
        run = self.model.runs.get(id)
        if run is None:
            return
        if run.ended:
            with pytest.raises(IllegalTransition):
                self.engine.cancel(id)
        else:
            self.engine.cancel(id)
            run.cancel()

    @rule(seconds=_seconds)
    def tick(self, seconds: float) -> None:
        self.engine.advance(seconds=seconds)
        self.model.advance(seconds)

    @rule()
    def crash(self) -> None:
        self.engine = restart(self.engine)

    @rule(seconds=_seconds)
    def be_down(self, seconds: float) -> None:
        self.engine.abandon()
        self.clock.tick(timedelta(seconds=seconds))
        self.engine = self.engine.reopen()
        self.engine.settle()
        self.model.sleep_through(seconds)

    @invariant()
    def they_agree(self) -> None:
        self.engine.settle()
        for name, run in self.model.runs.items():
            _compare(self.engine, name, run)
        assert _after_start(self.engine.next_deadline()) == _rounded(self.model.next_due)

    def teardown(self) -> None:
        self.engine.close()


def _compare(engine: Engine, id: str, run: ReferenceRun) -> None:
    execution = engine.get_execution(id)
    assert execution is not None
    assert execution.state == run.state
    assert _world.get(id, []) == run.effects
    attempts = {name: execution.steps[name].attempts for name in run.attempts}
    assert attempts == run.attempts
    if run.state == "waiting":
        assert [_after_start(wait.deadline) for wait in execution.waiting_for] == [_rounded(run.due)]


def _after_start(moment: Any) -> float | None:
    return None if moment is None else _rounded((moment - START).total_seconds())


def _rounded(time: float | None) -> float | None:
    return None if time is None else round(time, 6)


def _named(number: int, nodes: list[Node], timeout: float | None) -> Flow:
    named = [node if node.name else Node(**{**vars(node), "name": f"{node.kind}{at}"}) for at, node in enumerate(nodes)]
    return Flow(f"flow{number}", tuple(named), timeout)


def _workflow(flow: Flow) -> Workflow[Any, Any]:
    workflow: Workflow[Any, Any] = Workflow(flow.name, timeout=flow.timeout)
    for node in flow.nodes:
        match node.kind:
            case "step":
                retry = Retry(attempts=node.retry, initial=2, jitter=0)
                workflow.step(node.name, _handler(node), retry=retry, compensate=_undo if node.undone else None)
            case "gate":
                workflow.wait_for(node.name, timeout=node.seconds)
            case "sleep":
                workflow.sleep(node.name, node.seconds or 0)
    return workflow


def _handler(node: Node) -> Any:
    def act(ctx: Context[Any]) -> str:
        _world.setdefault(ctx.execution_id, []).append(f"{node.name} {ctx.attempt}")
        if ctx.attempt <= node.fails:
            raise RuntimeError(node.name)
        return node.name

    return act


def _undo(ctx: Context[Any]) -> None:
    _world.setdefault(ctx.execution_id, []).append(f"undo {ctx.step_name}")


@pytest.fixture
def frozen() -> Iterator[Any]:
    with freeze() as freezer:
        yield freezer


@pytest.mark.timeout(0)
@pytest.mark.on_every_store
def test_engine_and_model_agree_after_everything_that_can_be_done(
    frozen: Any, figures: Any, new_location: Callable[[], str | None], as_many: Callable[[int, int], int]
) -> None:
    EngineAndModel.clock = frozen
    EngineAndModel.new_location = new_location
    run_state_machine_as_test(
        EngineAndModel,
        settings=settings(
            max_examples=as_many(figures.machines, 2),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
