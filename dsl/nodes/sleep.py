"""A durable sleep: so long from now, or until a point in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..effects import WaitUntil, Walker
from ..graph import Node
from ..scope import Scope

__all__ = ["SleepNode"]


@dataclass(frozen=True, slots=True)
class SleepNode(Node):
    """A wait for time to pass; the point in time is fixed when the wait begins."""

    until: float | datetime | Callable[..., Any]

    kind = "sleep"

    def walk(self, scope: Scope) -> Walker:
        """Ask to be woken."""
        yield WaitUntil(scope.place(self.name), self.until, scope, self._check)

    def _check(self, moment: Any) -> Any:
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            msg = f"{self.name!r} must sleep until a datetime with a time zone, not {moment!r}"
            raise TypeError(msg)
        return moment
