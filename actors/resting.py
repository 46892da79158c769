"""Runs that only wait and are still in memory: those that came to rest last.

A signal or a timer that comes soon after finds its run there and need not read it again. All others are rows; and so is
every run that waits for more than a signal or a time, since it asks for that anew whenever it is read: that is how what
was lost on the way to it, or from it, by a commit that failed comes about after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .execution import ExecutionActor

__all__ = ["Resting"]


class Resting:
    """The runs at rest in memory, of which there are never more than so many; on the core."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._actors: dict[int, ExecutionActor] = {}

    def __len__(self) -> int:
        """How many there are; from any thread."""
        return len(self._actors)

    def add(self, actor: ExecutionActor) -> ExecutionActor | None:
        """Note that a run rests; return the one that has to leave memory for it, which may be itself."""
        self._actors[actor.run_id] = actor
        if len(self._actors) <= self._most:
            return None
        return self._actors.pop(next(iter(self._actors)))

    def remove(self, run: int) -> None:
        """Note that a run rests no longer, if it did."""
        self._actors.pop(run, None)
