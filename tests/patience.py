"""How long tests wait, and how they measure, on a machine that may be slow, busy, or stand still for a while."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

__all__ = ["PATIENCE", "quickest"]

PATIENCE: Final = 60.0
"""Real seconds to wait for what comes at once: only what hangs needs them."""


def quickest(trial: Callable[[], float], enough: float, *, trials: int) -> float:
    """Return the best of some trials, or the first that is good enough: what is slow once may be so for any reason."""
    best = math.inf
    for _ in range(trials):
        best = min(best, trial())
        if best < enough:
            break
    return best
