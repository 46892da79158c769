"""What a run's facts amount to for somebody outside: results by step name."""

from __future__ import annotations

from collections.abc import Iterable

from ..dsl.facts import Fact, FactKind

__all__ = ["RESULT_KINDS", "step_results"]

RESULT_KINDS = (FactKind.STEP, FactKind.MAP, FactKind.CHILD)


def step_results(facts: Iterable[Fact]) -> dict[str, str]:
    """Return the encoded results of completed and skipped steps, maps and children by name, in order of start."""
    completed = [
        fact for fact in facts if fact.kind in RESULT_KINDS and fact.succeeded and not fact.key.startswith("__remind:")
    ]
    return {fact.name: fact.value or "null" for fact in sorted(completed, key=lambda fact: fact.order)}
