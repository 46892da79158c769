"""Workflows made up by hypothesis: every kind of node, nested, with steps that fail here and there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from perdure import Context, Workflow

__all__ = ["Plan", "build", "plans"]


@dataclass(frozen=True)
class Plan:
    """A node to be built.

    Attributes:
        kind: Which.
        number: Turns, items, or which path; what it means depends on the kind.
        fails: In which turn or item a step or condition fails; None for never.
        undone: Whether a step has a compensation.
        limit: Concurrency of a for_each.
        policy: Options of a group.
        inside: Its bodies.
    """

    kind: str
    number: int = 0
    fails: int | None = None
    undone: bool = False
    limit: int = 1
    policy: tuple[tuple[str, Any], ...] = ()
    inside: tuple[tuple[Plan, ...], ...] = ()


_policies = st.sampled_from(
    [
        (),
        (),
        (("race", True),),
        (("race", True), ("min_successful", 2)),
        (("race", True), ("tolerated_failures", 0), ("fail_fast", True)),
        (("fail_fast", True),),
        (("fail_fast", True), ("tolerated_failures", 1)),
        (("min_successful", 1),),
        (("tolerated_failures", 1),),
        (("tolerated_failures", 9),),
    ]
)
_rarely = st.sampled_from([None] * 8 + [0, 1, 2])
_steps = st.builds(Plan, st.just("step"), fails=_rarely, undone=st.booleans())
_leaves = st.one_of(
    _steps,
    _steps,
    _steps,
    st.builds(Plan, st.sampled_from(["map", "gate", "sleep", "child"])),
    st.builds(Plan, st.sampled_from(["quorum", "any", "all", "reminded"]), fails=_rarely),
    st.builds(Plan, st.sampled_from(["map", "gate", "sleep", "child", "pivot"])),
)


def _bodies(depth: int, most: int) -> st.SearchStrategy[tuple[Plan, ...]]:
    if depth == 0:
        return st.lists(_leaves, min_size=1, max_size=most).map(tuple)
    body = _bodies(depth - 1, 2)
    one, several = st.tuples(body), st.lists(body, min_size=2, max_size=3).map(tuple)
    nodes = st.one_of(
        _leaves,
        st.builds(Plan, st.sampled_from(["do_until", "do_while"]), st.integers(1, 3), _rarely, inside=one),
        st.builds(Plan, st.just("for_each"), st.integers(0, 4), limit=st.integers(1, 3), policy=_policies, inside=one),
        st.builds(Plan, st.just("branch"), st.integers(0, 2), inside=several),
        st.builds(Plan, st.just("parallel"), policy=_policies, inside=several),
        st.builds(Plan, st.sampled_from(["on_timeout", "led"]), inside=one),
    )
    return st.lists(nodes, min_size=1, max_size=most).map(tuple)


plans = _bodies(2, 4)
"""Bodies of whole workflows."""


def build(body: tuple[Plan, ...]) -> Workflow[Any, Any]:
    """Return the workflow, each node with a name of its own."""
    flow: Workflow[Any, Any] = Workflow("generated")
    _add(flow, body, itertools.count())
    return flow


def _add(flow: Workflow[Any, Any], body: tuple[Plan, ...], numbers: Iterator[int]) -> None:
    for plan in body:
        _add_one(flow, plan, f"{plan.kind}-{next(numbers)}", numbers)


def _add_one(flow: Workflow[Any, Any], plan: Plan, name: str, numbers: Iterator[int]) -> None:  # noqa: C901, PLR0912
    def block(which: int) -> Any:
        return lambda inner: _add(inner, plan.inside[which], numbers)

    match plan.kind:
        case "step":
            flow.step(name, _handler(plan), compensate=_undo if plan.undone else None, retry=1)
        case "map":
            flow.map(name, _seen)
        case "gate":
            flow.wait_for(name)
        case "on_timeout":
            flow.wait_for(name, timeout=60, on_timeout=block(0))
        case "led":
            flow.wait_for(name, timeout=60, on_timeout="late").branch(lambda: "in time", name=f"{name}-way")
            flow.path("in time", lambda other: None).path("late", block(0))
        case "quorum":
            flow.wait_for(name, count=2)
        case "any":
            flow.wait_any(f"{name}-a", f"{name}-b")
        case "all":
            flow.wait_all(f"{name}-a", f"{name}-b")
        case "reminded":
            flow.wait_for(name, timeout=60, on_timeout=lambda other: other.sleep(f"{name}-over", 1), **_reminder(plan))
        case "sleep":
            flow.sleep(name, 60)
        case "child":
            flow.sub_workflow(name)
        case "pivot":
            flow.pivot()
        case "do_until":
            flow.do_until(lambda ctx, turn: _unless_it_fails(plan, turn) >= plan.number, block(0), name=name)
        case "do_while":
            flow.do_while(lambda ctx, turn: _unless_it_fails(plan, turn) < plan.number, block(0), name=name)
        case "for_each":
            # The number of items differs from turn to turn, so that a turn may leave fewer results than the one before.
            flow.for_each(
                lambda ctx: list(range(max(0, plan.number - (ctx.turn or 1) + 1))),
                name,
                block=block(0),
                concurrency=plan.limit,
                **dict(plan.policy),
            )
        case "branch":
            flow.branch(lambda ctx: f"path {(plan.number + (ctx.turn or 0)) % 3}", name=name)
            for which in range(len(plan.inside) - 1):
                flow.path(f"path {which}", block(which))
            flow.otherwise(block(len(plan.inside) - 1))
        case "parallel":
            flow.parallel(*(block(which) for which in range(len(plan.inside))), **dict(plan.policy))


def _reminder(plan: Plan) -> dict[str, Any]:
    return {"remind_every": 2, "remind": _handler(plan)}


def _seen(ctx: Context[Any]) -> dict[str, Any]:
    """Return all that a handler can see."""
    steps = {name: _brief(value) for name, value in sorted(ctx.steps.items())}
    return {
        "steps": steps,
        "signals": dict(sorted(ctx.signals.items())),
        "errors": sorted(ctx.errors),
        "last": ctx.last_signal,
        "received": {event: ctx.received(event) for event in sorted(ctx.signals)},
        "item": ctx.item,
        "index": ctx.index,
        "turn": ctx.turn,
    }


def _brief(value: Any) -> Any:
    return sorted(value["steps"]) if isinstance(value, dict) and "steps" in value else value


def _unless_it_fails(plan: Plan, where: int) -> int:
    if plan.fails == where:
        msg = f"{plan.kind} fails at {where}"
        raise RuntimeError(msg)
    return where


def _handler(plan: Plan) -> Any:
    def act(ctx: Context[Any]) -> dict[str, Any]:
        _unless_it_fails(plan, ctx.index if ctx.index is not None else ctx.turn if ctx.turn is not None else 0)
        return _seen(ctx)

    return act


def _undo(ctx: Context[Any]) -> dict[str, Any]:
    return {"of": ctx.result, **_seen(ctx)}
