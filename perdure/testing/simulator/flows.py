"""From plans to workflows: builders, and the handlers, which all workflows share.

A handler learns what it stands for from the engine it runs on. It does nothing but tell the ledger, and fail, pause or
take its time as its plan says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ...actors.attempt import Attempt, running_attempt
from ...dsl.context import Context
from ...dsl.errors import NonRetryable
from ...dsl.policies import Compensation, Retry
from ...dsl.workflow import Workflow
from .plans import Flow, Plan

if TYPE_CHECKING:
    from .lanes import SimulatedLanes

__all__ = ["Stage", "build", "node_name"]


class Stage(Protocol):
    """What a handler can reach: the simulated process it runs in."""

    lanes: SimulatedLanes
    plans: dict[str, Plan]

    def began(self, attempt: Attempt, context: Context[Any]) -> str:
        """Note that a handler has begun; return what it is to return."""
        ...

    def ended(self, attempt: Attempt, token: str, *, raised: bool) -> None:
        """Note that it has returned or raised."""
        ...

    def take(self, seconds: float) -> None:
        """Let time pass while a ``def`` handler runs, and perhaps the process die."""
        ...


def build(flow: Flow) -> Workflow[Any, Any]:
    """Return the workflow."""
    workflow: Workflow[Any, Any] = Workflow(flow.name, timeout=flow.timeout)
    _add(workflow, flow.body)
    return workflow


def _add(workflow: Workflow[Any, Any], body: tuple[Plan, ...]) -> None:
    for plan in body:
        _add_one(workflow, plan)


def _block(body: tuple[Plan, ...]) -> Callable[[Workflow[Any, Any]], None]:
    return lambda inner: _add(inner, body)


def _add_one(workflow: Workflow[Any, Any], plan: Plan) -> None:  # noqa: C901 - one case a kind
    name, blocks = plan.name, [_block(body) for body in plan.inside]
    match plan.kind:
        case "step":
            _add_step(workflow, plan)
        case "map":
            workflow.map(name, _look)
        case "gate" if blocks:
            workflow.wait_for(name, timeout=plan.timeout or 0, on_timeout=blocks[0])
        case "gate":
            workflow.wait_for(name, timeout=plan.timeout)
        case "sleep":
            workflow.sleep(name, plan.timeout or 0)
        case "child":
            mapper: Any = _look if plan.pauses is None else _look_slowly
            workflow.sub_workflow(plan.child, mapper, as_=name)
        case "do_until":
            workflow.do_until(_reached, blocks[0], name=name)
        case "do_while":
            workflow.do_while(_not_reached, blocks[0], name=name)
        case "for_each":
            workflow.for_each(_items, name, block=blocks[0], concurrency=plan.limit)
        case "branch":
            _add_branch(workflow, name, blocks)
        case "parallel":
            workflow.parallel(*blocks)
        case "pivot":
            workflow.pivot()


def _add_step(workflow: Workflow[Any, Any], plan: Plan) -> None:
    retry = Retry(attempts=plan.retry, initial=1.0)
    workflow.step(
        plan.name,
        _act if plan.pauses is None else _act_slowly,
        retry=retry,
        timeout=plan.timeout,
        compensate=Compensation(_act, retry=retry, timeout=0) if plan.undone else None,
    )


def _add_branch(workflow: Workflow[Any, Any], name: str, blocks: list[Callable[[Workflow[Any, Any]], None]]) -> None:
    workflow.branch(_label, name=name)
    for number, block in enumerate(blocks[:-1]):
        workflow.path(str(number), block)
    workflow.otherwise(blocks[-1])


# ---- handlers


def _scene() -> tuple[Attempt, Stage, Plan]:
    attempt = running_attempt()
    assert attempt is not None
    stage: Stage = attempt.actor.core.lanes.stage  # type: ignore[attr-defined]
    return attempt, stage, stage.plans[node_name(attempt.effect.place.name)]


def node_name(name: str) -> str:
    """Return the name of the node, without what marks items and what the engine puts before it."""
    return name.removeprefix("__items:").removeprefix("sub:").partition(":")[0]


def _act(ctx: Context[Any]) -> str:
    attempt, stage, plan = _scene()
    token = stage.began(attempt, ctx)
    stage.take(0.0 if ctx.failure else plan.takes)
    return _outcome(attempt, stage, token, ctx)


async def _act_slowly(ctx: Context[Any]) -> str:
    attempt, stage, plan = _scene()
    token = stage.began(attempt, ctx)
    for _ in range(plan.pauses or 0):
        await stage.lanes.pause()
    return _outcome(attempt, stage, token, ctx)


def _outcome(attempt: Attempt, stage: Stage, token: str, ctx: Context[Any]) -> str:
    plan = stage.plans[node_name(attempt.effect.place.name)]
    fails = plan.undo_fails if ctx.failure else plan.fails
    stage.ended(attempt, token, raised=ctx.attempt <= fails)
    if ctx.attempt <= fails:
        if plan.fatal:
            raise NonRetryable(token)
        raise RuntimeError(token)
    return token


def _look(ctx: Context[Any]) -> str:
    attempt, stage, _ = _scene()
    return stage.began(attempt, ctx)


async def _look_slowly(ctx: Context[Any]) -> str:
    attempt, stage, _ = _scene()
    token = stage.began(attempt, ctx)
    await stage.lanes.pause()
    return token


def _label(ctx: Context[Any]) -> str:
    attempt, stage, plan = _scene()
    stage.began(attempt, ctx)
    return str((plan.number + (ctx.turn or 0)) % len(plan.inside))


def _reached(ctx: Context[Any], turn: int) -> bool:
    attempt, stage, plan = _scene()
    stage.began(attempt, ctx)
    return turn >= plan.number


def _not_reached(ctx: Context[Any], turn: int) -> bool:
    return not _reached(ctx, turn)


def _items(ctx: Context[Any]) -> list[int]:
    attempt, stage, plan = _scene()
    stage.began(attempt, ctx)
    return list(range(plan.number))
