"""The inbox: messages that another process has sent, kept until an engine takes them."""

from __future__ import annotations

import sqlite3

STATEMENTS = (
    # AUTOINCREMENT: a number that was answered for is never used again.
    """
    CREATE TABLE workflow_inbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        kind TEXT NOT NULL,
        execution_id TEXT NOT NULL,
        workflow TEXT,
        version TEXT,
        idempotency_key TEXT,
        body TEXT NOT NULL,
        accepted_at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX workflow_inbox_execution_id ON workflow_inbox (execution_id)",
    """
    CREATE INDEX workflow_inbox_idempotency_key ON workflow_inbox (workflow, idempotency_key)
        WHERE idempotency_key IS NOT NULL
    """,
)


def apply(connection: sqlite3.Connection) -> None:
    """Create the table of messages."""
    for statement in STATEMENTS:
        connection.execute(statement)
