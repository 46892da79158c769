"""Where a database is tells of what kind it is: the one place that knows every kind."""

from __future__ import annotations

from contextlib import AbstractContextManager

from .database import Database
from .kind import Changes, Durability, Kind
from .watch import Watch

__all__ = ["changes_at", "database_at"]


def database_at(location: str | None, *, durability: Durability, busy_timeout: float) -> Kind:
    """Return the database at a place, which is not touched yet.

    Args:
        location: The path of a file, or None for a private one.
        durability: What a commit survives.
        busy_timeout: Real seconds to wait for others.
    """
    return Database(location, durability=durability, busy_timeout=busy_timeout)


def changes_at(location: str) -> AbstractContextManager[Changes]:
    """Notice what is committed to a database from now on; for one thread."""
    return Watch(location)
