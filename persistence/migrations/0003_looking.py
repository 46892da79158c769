"""What looking at runs needs: attempts that did not succeed, tags by value, business keys, and their indexes."""

from __future__ import annotations

import sqlite3

import msgspec

STATEMENTS = (
    "ALTER TABLE workflow_executions ADD COLUMN business_key TEXT",
    "ALTER TABLE workflow_executions_archive ADD COLUMN business_key TEXT",
    "ALTER TABLE workflow_executions_archive ADD COLUMN attempts TEXT",
    "CREATE INDEX workflow_executions_state ON workflow_executions (state, created_at)",
    "CREATE INDEX workflow_executions_workflow ON workflow_executions (workflow, created_at)",
    """
    CREATE INDEX workflow_executions_business_key ON workflow_executions (business_key, created_at)
        WHERE business_key IS NOT NULL
    """,
    "CREATE INDEX workflow_executions_error ON workflow_executions (created_at) WHERE error IS NOT NULL",
    """
    CREATE TABLE workflow_attempts (
        execution INTEGER NOT NULL,
        position INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        key TEXT NOT NULL,
        turn TEXT,
        outcome TEXT NOT NULL,
        error TEXT,
        started_at INTEGER,
        ended_at INTEGER NOT NULL,
        next_at INTEGER,
        PRIMARY KEY (execution, position, attempt)
    ) WITHOUT ROWID
    """,
    # The newest run of a tag first, whatever else there is.
    """
    CREATE TABLE workflow_tags (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        execution INTEGER NOT NULL,
        PRIMARY KEY (name, value, created_at, execution)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX workflow_tags_execution ON workflow_tags (execution)",
)


def apply(connection: sqlite3.Connection) -> None:
    """Create the tables and indexes, and make known runs findable by their tags."""
    for statement in STATEMENTS:
        connection.execute(statement)
    tagged = connection.execute("SELECT tags, created_at, id FROM workflow_executions WHERE tags IS NOT NULL")
    for tags, created_at, execution in tagged.fetchall():
        connection.executemany(
            "INSERT OR IGNORE INTO workflow_tags (name, value, created_at, execution) VALUES (?, ?, ?, ?)",
            [(name, value, created_at, execution) for name, value in _plain(tags)],
        )


def _plain(tags: str) -> list[tuple[str, str]]:
    """Return the tags whose names are texts, which all but very odd ones are, with their values as they are stored."""
    try:
        found = msgspec.json.decode(tags, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return []
    return [] if "$map" in found else [(name, bytes(value).decode()) for name, value in found.items()]
