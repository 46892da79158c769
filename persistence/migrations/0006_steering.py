"""What operators do: an audit trail, and a way to find what waits for them."""

from __future__ import annotations

import sqlite3

STATEMENTS = (
    """
    CREATE TABLE workflow_audit (
        id INTEGER PRIMARY KEY NOT NULL,
        execution INTEGER NOT NULL,
        at INTEGER NOT NULL,
        verb TEXT NOT NULL,
        actor TEXT,
        reason TEXT,
        step TEXT,
        detail TEXT NOT NULL
    )
    """,
    "CREATE INDEX workflow_audit_execution ON workflow_audit (execution)",
    "ALTER TABLE workflow_executions_archive ADD COLUMN audit TEXT NOT NULL DEFAULT '[]'",
    "CREATE INDEX workflow_incidents ON workflow_steps (completed_at) WHERE status = 'parked'",
)


def apply(connection: sqlite3.Connection) -> None:
    """Create the table of the audit trail and the index of incidents."""
    for statement in STATEMENTS:
        connection.execute(statement)
