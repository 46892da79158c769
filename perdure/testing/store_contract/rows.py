"""Rows that differ from the ordinary in what a test says."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...dsl.facts import Fact, FactKind, FactStatus
from ...persistence.records import Batch, ExecutionRow, SignalRow
from ...persistence.store import Store

__all__ = ["NOW", "Rows"]

NOW = 1_790_000_000_000_000
"""An instant, in microseconds."""


class Rows:
    """Makes rows that differ from the ordinary in what a test says."""

    now = NOW

    def run(self, store: Store, **changes: Any) -> ExecutionRow:
        """A running run of a new id."""
        number = store.new_id()
        row = ExecutionRow(
            id=number,
            execution_id=f"order-{number}",
            workflow="order",
            version=None,
            fingerprint="f",
            state="running",
            input="{}",
            result=None,
            error=None,
            rollback=None,
            idempotency_key=None,
            tags=None,
            parent_id=None,
            parent_key=None,
            owner=store.engine_id,
            adoptions=0,
            sequence=0,
            created_at=NOW,
            updated_at=NOW,
            finished_at=None,
        )
        return replace(row, **changes)

    def fact(self, key: str = "charge", **changes: Any) -> Fact:
        """A completed step."""
        return replace(
            Fact(key, FactKind.STEP, FactStatus.COMPLETED, value="1", started_at=NOW, completed_at=NOW), **changes
        )

    def signal(self, store: Store, run: int, **changes: Any) -> SignalRow:
        """A signal that waits in the mailbox."""
        return SignalRow(store.new_id(), run, "paid", "null", NOW)._replace(**changes)

    def batch(self, *runs: ExecutionRow, facts: dict[int, list[Fact]] | None = None, signals: Any = ()) -> Batch:
        """What one commit writes."""
        return Batch(
            {row.id: row for row in runs},
            {(run, fact.key): fact for run, of_run in (facts or {}).items() for fact in of_run},
            {signal.id: signal for signal in signals},
        )
