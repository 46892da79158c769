"""A gate for whichever of several events comes first."""

from __future__ import annotations

from dataclasses import dataclass

from ..gate import GateNode

__all__ = ["WaitAnyNode"]


@dataclass(frozen=True, slots=True)
class WaitAnyNode(GateNode):
    """A wait for the first of several signals."""

    kind = "wait_any"
    prefix = "__waitAny:"
