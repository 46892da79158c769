"""A caller's own transaction, as a run is started in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .connection import Connection
from .reader import RUN_BY_KEY, RUN_BY_NAME
from .records import Batch, ExecutionRow

__all__ = ["Joined"]


class Joined:
    """What whoever starts a run reads and writes there, on the caller's thread.

    Attributes:
        write: Writes what a commit would hold; it is the caller who commits.
    """

    def __init__(
        self,
        connection: Connection,
        row: Callable[[tuple[Any, ...]], ExecutionRow],
        write: Callable[[Batch], None],
    ) -> None:
        self._connection = connection
        self._row = row
        self.write = write

    def find(self, execution_id: str) -> ExecutionRow | None:
        """Return the run of this id."""
        return self._one(RUN_BY_NAME, execution_id)

    def find_key(self, workflow: str, idempotency_key: str) -> ExecutionRow | None:
        """Return the run of a workflow that was started with this key."""
        return self._one(RUN_BY_KEY, workflow, idempotency_key)

    def _one(self, sql: str, *parameters: object) -> ExecutionRow | None:
        found = self._connection.execute(sql, parameters).fetchone()
        return None if found is None else self._row(found)
