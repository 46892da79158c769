"""Keeping and giving up: runs that have ended, and copies of the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from .. import arguments
from ..actors import clock
from ..dsl.policies import Duration
from .driving import DrivingVerbs

__all__ = ["RetentionVerbs"]


class RetentionVerbs(DrivingVerbs):
    """What becomes of runs once they have ended."""

    def cleanup(self, max_age: Duration = 0, states: Collection[str] | None = None) -> int:
        """Delete runs that ended so long ago; up to 1000 a call.

        Args:
            max_age: Seconds or `timedelta` since their end.
            states: Only runs in these final states; all final states when left out.

        Returns:
            How many were deleted; call again while it is 1000.

        Raises:
            UsageError: a state is not final: a run that lives cannot be deleted; cancel it first.
            EngineClosed: the engine is closed.
        """
        return self._retire(self._machine.store.cleanup, max_age, states)

    def archive(self, max_age: Duration = 0, states: Collection[str] | None = None) -> int:
        """Move runs that ended so long ago into the table ``workflow_executions_archive``; up to 1000 a call.

        The arguments, result and errors are those of `cleanup`.
        """
        return self._retire(self._machine.store.archive, max_age, states)

    def _retire(self, retire: Callable[..., int], max_age: Duration, states: Collection[str] | None) -> int:
        self._machine.check_open("clean up")
        names = arguments.final_states(states)
        older_than = clock.micros() - arguments.microseconds(max_age, "max_age")
        removed: int = self._machine.exclusively(lambda: retire(older_than=older_than, states=names))
        return removed

    def get_archived_count(self) -> int:
        """Return how many runs are in the archive."""
        return self._machine.read("count the archive", lambda store: store.archived_count())

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the database, as it is now, to a new file, which can be opened by itself; runs go on meanwhile.

        Raises:
            UsageError: there is a file of this name: a backup never replaces anything.
            StoreUnavailable: it cannot be written; nothing is left of it.
            EngineClosed: the engine is closed.
        """
        target = os.fspath(path)
        self._machine.read("back up", lambda store: store.backup(target))
