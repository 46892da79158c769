"""Where a database is tells of what kind it is: the one place that knows every kind."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Any, Final, TypeGuard

from ..dsl.errors import MissingExtra
from .database import Database
from .kind import Changes, Durability, Kind
from .watch import Watch

__all__ = ["changes_at", "database_at", "is_server", "kinds"]

_SCHEMES: Final = ("postgresql://", "postgres://")


def database_at(location: str | None, *, durability: Durability, busy_timeout: float) -> Kind:
    """Return the database at a place, which is not touched yet.

    Args:
        location: The path of a file, a URL that begins ``postgresql://``, or None for a private file.
        durability: What a commit survives.
        busy_timeout: Real seconds to wait for others.

    Raises:
        MissingExtra: It is on a server, and what speaks to that is not installed.
    """
    if is_server(location):
        server: Kind = _postgres().ServerDatabase(location, durability=durability, busy_timeout=busy_timeout)
        return server
    return Database(location, durability=durability, busy_timeout=busy_timeout)


def changes_at(location: str) -> AbstractContextManager[Changes]:
    """Notice what is committed to a database from now on; for one thread at a time."""
    if is_server(location):
        changes: AbstractContextManager[Changes] = _postgres().ServerChanges(location)
        return changes
    return Watch(location)


def is_server(location: str | None) -> TypeGuard[str]:
    """Tell whether a place is on a server, and no file."""
    return location is not None and location.startswith(_SCHEMES)


def kinds() -> list[type[Kind]]:
    """Return every kind of database that can be had here."""
    try:
        return [Database, _postgres().ServerDatabase]
    except MissingExtra:
        return [Database]


def _postgres() -> Any:
    try:
        return importlib.import_module(".postgres", __package__)
    except ImportError as error:
        raise MissingExtra("a postgresql:// database", "postgres") from error
