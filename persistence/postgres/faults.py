"""What PostgreSQL's errors mean to a caller: whose fault, and whether anything was written."""

from __future__ import annotations

from typing import Final

import psycopg

from ...dsl.errors import DuplicateRow, StoreCorrupt, StoreError, StoreUnavailable
from ..faults import NOTHING_WRITTEN

__all__ = ["explain"]

_DUPLICATES: Final = {
    "workflow_executions_execution_id": "an execution with this id exists already",
    "workflow_executions_idempotency_key": "an execution of this workflow was started with this key already",
    "workflow_signals_dedup_key": "a signal with this key was sent to this execution already",
    "workflow_schedules_pkey": "a schedule of this name exists already",
}
_CONSTRAINT: Final = "23"
_CORRUPT: Final = ("XX001", "XX002")
_REFUSED: Final = {
    "40001": "could not put transactions in an order",
    "40P01": "met a deadlock",
    "55P03": "is locked by another program",
    "25006": "is read-only",
    "25P03": "has ended a transaction that had fallen silent",
    "42501": "may not be used by this user",
    "57014": "was interrupted",
}
"""The server has refused: nothing was written."""
_TROUBLED: Final = ("08", "53", "57", "58")
"""Connections, resources, operators, the system."""


def explain(error: Exception, name: str, outcome: str) -> StoreError:
    """Return the engine's error for one of PostgreSQL's.

    Args:
        error: What was raised.
        name: The database, for the message.
        outcome: Whether anything was written, as far as the place that caught it can tell.
    """
    code = getattr(error, "sqlstate", None) or ""
    said = str(error).strip() or type(error).__name__
    if code.startswith(_CONSTRAINT):
        constraint = getattr(getattr(error, "diag", None), "constraint_name", None)
        return DuplicateRow(f"{_DUPLICATES.get(constraint or '', said)}; {NOTHING_WRITTEN}")
    if code in _CORRUPT:
        return StoreCorrupt(f"{name!r} is not a sound database: {said}; stop using it and restore a backup")
    if code in _REFUSED:
        return StoreUnavailable(f"the database {name!r} {_REFUSED[code]} ({code}: {said}); {NOTHING_WRITTEN}")
    if code.startswith(_TROUBLED) or (
        not code and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    ):
        return StoreUnavailable(
            f"the database {name!r} cannot be had just now ({code or 'no answer'}: {said}); {outcome}"
        )
    return StoreError(f"the database {name!r} refused a statement ({code or type(error).__name__}: {said}); {outcome}")
