"""A move to another database, or from one: how far it has come."""

from __future__ import annotations

import sqlite3


def apply(connection: sqlite3.Connection) -> None:
    """Create the table."""
    connection.execute(
        """
        CREATE TABLE workflow_moves (
            id INTEGER PRIMARY KEY NOT NULL,
            place TEXT NOT NULL,
            state TEXT NOT NULL,
            moved INTEGER NOT NULL
        )
        """
    )
