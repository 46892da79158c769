"""Workflows drawn from a seed: every kind of node, nested, with steps that fail here and there."""

from __future__ import annotations

import random
from typing import Any

from perdure import Workflow

from ..walk.generated import Plan, build

__all__ = ["draw", "is_repeatable", "workflows"]

_LEAVES = ["step"] * 6 + ["map", "gate", "gate", "sleep", "child", "child"]
_NESTS = ["do_until", "do_while", "for_each", "for_each", "branch", "parallel", "parallel", "on_timeout"]


def draw(chance: random.Random) -> tuple[Plan, ...]:
    """Draw the body of a workflow: some steps that can be undone, whatever there is, and often a failure at the end."""
    body = [Plan("step", undone=True), *(_node(chance, 2) for _ in range(chance.randint(1, 3)))]
    if chance.random() < 0.1:
        body.append(Plan("pivot"))
    body.append(Plan("step", fails=0 if chance.random() < 0.5 else None, undone=True))
    return tuple(body)


def _node(chance: random.Random, depth: int) -> Plan:
    if depth and chance.random() < 0.5:
        return _nest(chance, depth)
    kind = chance.choice(_LEAVES)
    if kind != "step":
        return Plan(kind)
    return Plan("step", fails=chance.choice([None] * 10 + [0, 1]), undone=chance.random() < 0.7)


def _nest(chance: random.Random, depth: int) -> Plan:
    kind = chance.choice(_NESTS)
    bodies = 2 if kind in ("branch", "parallel") else 1
    inside = tuple(tuple(_node(chance, depth - 1) for _ in range(chance.randint(1, 2))) for _ in range(bodies))
    fails = chance.choice([None] * 9 + [1]) if kind.startswith("do_") else None
    return Plan(kind, chance.randint(1, 3), fails, limit=chance.randint(1, 3), inside=inside)


def workflows(body: tuple[Plan, ...]) -> list[Workflow[Any, Any]]:
    """Return the workflow and the children it starts."""
    flow = build(body)
    return [*map(_child, sorted(flow.definition().children)), flow]


def _child(name: str) -> Workflow[Any, Any]:
    flow: Workflow[Any, Any] = Workflow(name)
    return flow.step("first", lambda: 1, compensate=lambda ctx: None).step("second", lambda ctx: ctx.steps["first"] + 1)


def is_repeatable(body: tuple[Plan, ...]) -> bool:
    """Tell whether every life comes to the same end: no item begins or not because another was first to fail."""
    return not any(plan.kind == "for_each" and plan.limit > 1 and _may_fail(plan) for plan in _every(body))


def _may_fail(plan: Plan) -> bool:
    return any(inner.fails is not None for body in plan.inside for inner in _every(body))


def _every(body: tuple[Plan, ...]) -> list[Plan]:
    return [found for plan in body for found in (plan, *(inner for inside in plan.inside for inner in _every(inside)))]
