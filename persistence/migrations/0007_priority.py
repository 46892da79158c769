"""How much a run matters beside others that queue."""

from __future__ import annotations

import sqlite3


def apply(connection: sqlite3.Connection) -> None:
    """Add the column, to runs and to the archive."""
    connection.execute("ALTER TABLE workflow_executions ADD COLUMN priority INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE workflow_executions_archive ADD COLUMN priority INTEGER NOT NULL DEFAULT 0")
