"""Until when an idempotency key is its run's."""

from __future__ import annotations

import sqlite3


def apply(connection: sqlite3.Connection) -> None:
    """Add the column, to runs and to the archive."""
    connection.execute("ALTER TABLE workflow_executions ADD COLUMN key_until INTEGER")
    connection.execute("ALTER TABLE workflow_executions_archive ADD COLUMN key_until INTEGER")
