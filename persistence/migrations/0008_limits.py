"""Limits of concurrency and rate: how far they are used, and who waits in line."""

from __future__ import annotations

import sqlite3

STATEMENTS = (
    """
    CREATE TABLE workflow_pools (
        name TEXT PRIMARY KEY NOT NULL,
        total INTEGER,
        per_key INTEGER,
        held INTEGER NOT NULL,
        turn INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE workflow_pool_keys (
        pool TEXT NOT NULL,
        key TEXT NOT NULL,
        held INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        ready INTEGER NOT NULL,
        PRIMARY KEY (pool, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX workflow_pool_keys_ready ON workflow_pool_keys (pool, turn) WHERE ready = 1",
    """
    CREATE TABLE workflow_slots (
        execution INTEGER PRIMARY KEY NOT NULL,
        pool TEXT NOT NULL,
        key TEXT NOT NULL,
        status TEXT NOT NULL,
        priority INTEGER NOT NULL,
        since INTEGER NOT NULL
    )
    """,
    """
    CREATE INDEX workflow_slots_line ON workflow_slots (pool, key, priority DESC, since, execution)
        WHERE status = 'waiting'
    """,
    "CREATE INDEX workflow_slots_given ON workflow_slots (execution) WHERE status = 'given'",
    """
    CREATE TABLE workflow_buckets (
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        full_at INTEGER NOT NULL,
        PRIMARY KEY (name, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX workflow_buckets_full ON workflow_buckets (name, full_at)",
)


def apply(connection: sqlite3.Connection) -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        connection.execute(statement)
