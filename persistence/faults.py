"""What SQLite's errors mean to a caller: whose fault, and whether anything was written."""

from __future__ import annotations

from ..dsl.errors import DuplicateRow, StoreCorrupt, StoreError, StoreUnavailable

__all__ = ["NOTHING_WRITTEN", "OUTCOME_UNKNOWN", "explain", "needs_reopening"]

NOTHING_WRITTEN = "nothing was written"
OUTCOME_UNKNOWN = "whether the last commit was written is unknown: read before you write again"

_UNAVAILABLE = {
    "SQLITE_BUSY": "is locked by another program",
    "SQLITE_LOCKED": "is locked by another connection",
    "SQLITE_FULL": "is on a full disk",
    "SQLITE_IOERR": "met an I/O error",
    "SQLITE_READONLY": "is read-only",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_PERM": "may not be used by this user",
    "SQLITE_PROTOCOL": "is locked in a way that does not end",
    "SQLITE_INTERRUPT": "was interrupted",
    "SQLITE_NOMEM": "found no memory",
}

_DUPLICATES = {
    "workflow_executions.execution_id": "an execution with this id exists already",
    "workflow_executions.workflow, workflow_executions.idempotency_key": (
        "an execution of this workflow was started with this key already"
    ),
    "workflow_signals.execution, workflow_signals.dedup_key": (
        "a signal with this key was sent to this execution already"
    ),
    "workflow_schedules.name": "a schedule of this name exists already",
}


def explain(error: Exception, path: str, outcome: str) -> StoreError:
    """Return the engine's error for one of SQLite's.

    Args:
        error: What was raised.
        path: The database, for the message.
        outcome: Whether anything was written, as far as the place that caught it can tell.
    """
    name = getattr(error, "sqlite_errorname", None) or ""
    primary = "_".join(name.split("_")[:2])
    if primary == "SQLITE_CONSTRAINT":
        _, _, what = str(error).partition("constraint failed: ")
        return DuplicateRow(f"{_DUPLICATES.get(what, error)}; {NOTHING_WRITTEN}")
    if primary in ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"):
        return StoreCorrupt(
            f"{path!r} is not a sound database: {error}; stop using it, keep a copy of it with its -wal file,"
            " and restore a backup or open another path"
        )
    if primary in _UNAVAILABLE:
        if primary not in ("SQLITE_IOERR", "SQLITE_NOMEM"):
            outcome = NOTHING_WRITTEN
        return StoreUnavailable(f"the database {path!r} {_UNAVAILABLE[primary]} ({name}: {error}); {outcome}")
    return StoreError(f"the database {path!r} refused a statement ({name or type(error).__name__}: {error}); {outcome}")


def needs_reopening(error: BaseException) -> bool:
    """Tell whether the connection must be closed and opened anew: SQLite's view may differ from the disk's."""
    return (getattr(error, "sqlite_errorname", None) or "").startswith(("SQLITE_IOERR", "SQLITE_NOMEM"))
