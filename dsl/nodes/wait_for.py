"""A gate for one event: the run waits for a signal, or for several of one name, for so long and no longer."""

from __future__ import annotations

from dataclasses import dataclass

from ..gate import GateNode

__all__ = ["WaitForNode"]


@dataclass(frozen=True, slots=True)
class WaitForNode(GateNode):
    """A wait for one signal, or a quorum of them."""

    kind = "wait_for"
    prefix = "__waitFor:"
