"""Rows of runs that begin, and the ids that they get; from any thread."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..dsl.states import State
from ..persistence.records import ExecutionRow
from . import clock
from .starting import execution_id_of

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from ..persistence.store import Store
    from .starting import Start

__all__ = ["Newcomers"]


class Newcomers:
    """One for each engine.

    Args:
        store: Where the rows will be; it gives their integer keys.
        seed: What ids are drawn from.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        # Not from the seed alone: an engine opened again, at the same frozen time, would draw the same ids again.
        self._random = random.Random(f"{seed} {store.engine_id}")  # noqa: S311 - ids are unique, not secret

    def id(self) -> str:
        """Return an id for a run that was given none."""
        return execution_id_of(clock.micros(), self._random.getrandbits)

    def row(
        self,
        definition: Definition,
        encoded_input: str,
        *,
        execution_id: str | None = None,
        idempotency_key: str | None = None,
        key_until: int | None = None,
        tags: str | None = None,
        business_key: str | None = None,
        priority: int = 0,
    ) -> ExecutionRow:
        """Return the row of a run that begins."""
        now = clock.micros()
        return ExecutionRow(
            id=self._store.new_id(),
            execution_id=execution_id or self.id(),
            workflow=definition.name,
            version=definition.version,
            fingerprint=definition.fingerprint,
            state=State.RUNNING,
            input=encoded_input,
            result=None,
            error=None,
            rollback=None,
            idempotency_key=idempotency_key,
            tags=tags,
            parent_id=None,
            parent_key=None,
            owner=self._store.engine_id,
            adoptions=0,
            sequence=0,
            created_at=now,
            updated_at=now,
            finished_at=None,
            business_key=business_key,
            key_until=key_until,
            priority=priority,
        )

    def row_for(self, message: Start, definition: Definition) -> ExecutionRow:
        """Return the row of a run that a caller wants started."""
        return self.row(
            definition,
            message.input,
            execution_id=message.execution_id or message.new_id,
            idempotency_key=message.key,
            key_until=message.key_until,
            priority=message.priority,
            tags=message.tags,
            business_key=message.business_key,
        )
