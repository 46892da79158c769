"""Schedules: what starts runs by itself, and when it does so next."""

from __future__ import annotations

import sqlite3


def apply(connection: sqlite3.Connection) -> None:
    """Create the table of schedules."""
    connection.execute(
        """
        CREATE TABLE workflow_schedules (
            name TEXT PRIMARY KEY NOT NULL,
            workflow TEXT NOT NULL,
            version TEXT,
            input TEXT NOT NULL,
            cron TEXT,
            tz TEXT,
            every INTEGER,
            anchor INTEGER NOT NULL,
            overlap TEXT NOT NULL,
            catch_up TEXT NOT NULL,
            next_due INTEGER,
            paused INTEGER NOT NULL,
            queued TEXT NOT NULL,
            running TEXT NOT NULL,
            last_due INTEGER,
            last_run TEXT,
            runs INTEGER NOT NULL,
            skipped INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            created_at INTEGER NOT NULL
        )
        """
    )
