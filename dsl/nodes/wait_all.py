"""A gate for several events, of which all must come, in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

from ..gate import GateNode

__all__ = ["WaitAllNode"]


@dataclass(frozen=True, slots=True)
class WaitAllNode(GateNode):
    """A wait for one signal of each of several names."""

    kind = "wait_all"
    prefix = "__waitAll:"
