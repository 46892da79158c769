"""The first schema.

A migration is history: once released it is never edited. Times are microseconds since the epoch; values are text in
the codec's form; states and kinds are text, so that the tables can be read without us.
"""

from __future__ import annotations

import sqlite3

STATEMENTS = (
    # AUTOINCREMENT: an engine's id is half of the ids it gives to runs and is never used again.
    """
    CREATE TABLE workflow_engines (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        driver INTEGER,
        started_at INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE workflow_executions (
        id INTEGER PRIMARY KEY NOT NULL,
        execution_id TEXT NOT NULL,
        workflow TEXT NOT NULL,
        version TEXT,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        input TEXT NOT NULL,
        result TEXT,
        error TEXT,
        rollback TEXT,
        idempotency_key TEXT,
        tags TEXT,
        parent_id INTEGER,
        parent_key TEXT,
        owner INTEGER NOT NULL,
        adoptions INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        finished_at INTEGER
    )
    """,
    "CREATE UNIQUE INDEX workflow_executions_execution_id ON workflow_executions (execution_id)",
    """
    CREATE UNIQUE INDEX workflow_executions_idempotency_key ON workflow_executions (workflow, idempotency_key)
        WHERE idempotency_key IS NOT NULL
    """,
    "CREATE INDEX workflow_executions_parent ON workflow_executions (parent_id) WHERE parent_id IS NOT NULL",
    "CREATE INDEX workflow_executions_unfinished ON workflow_executions (owner, state) WHERE finished_at IS NULL",
    "CREATE INDEX workflow_executions_finished ON workflow_executions (finished_at) WHERE finished_at IS NOT NULL",
    "CREATE INDEX workflow_executions_created ON workflow_executions (created_at)",
    """
    CREATE TABLE workflow_steps (
        execution INTEGER NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        status TEXT NOT NULL,
        turn TEXT,
        position INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        interruptions INTEGER NOT NULL,
        value TEXT,
        error TEXT,
        started_at INTEGER NOT NULL,
        completed_at INTEGER,
        due_at INTEGER,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (execution, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX workflow_timers ON workflow_steps (due_at) WHERE due_at IS NOT NULL",
    """
    CREATE TABLE workflow_signals (
        id INTEGER NOT NULL,
        execution INTEGER NOT NULL,
        event TEXT NOT NULL,
        payload TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,
        dedup_key TEXT,
        taken_by TEXT,
        PRIMARY KEY (execution, id)
    ) WITHOUT ROWID
    """,
    """
    CREATE UNIQUE INDEX workflow_signals_dedup_key ON workflow_signals (execution, dedup_key)
        WHERE dedup_key IS NOT NULL
    """,
    """
    CREATE TABLE workflow_executions_archive (
        id INTEGER PRIMARY KEY NOT NULL,
        execution_id TEXT NOT NULL,
        workflow TEXT NOT NULL,
        version TEXT,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        input TEXT NOT NULL,
        result TEXT,
        error TEXT,
        rollback TEXT,
        idempotency_key TEXT,
        tags TEXT,
        parent_id INTEGER,
        parent_key TEXT,
        owner INTEGER NOT NULL,
        adoptions INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        finished_at INTEGER,
        steps TEXT NOT NULL,
        signals TEXT NOT NULL,
        archived_at INTEGER NOT NULL
    )
    """,
    "CREATE INDEX workflow_executions_archive_execution_id ON workflow_executions_archive (execution_id)",
)


def apply(connection: sqlite3.Connection) -> None:
    """Create all tables and indexes."""
    for statement in STATEMENTS:
        connection.execute(statement)
