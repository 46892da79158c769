"""Runs kept in PostgreSQL, by way of psycopg 3: imported only when a database's place is a server."""

from __future__ import annotations

from .changes import ServerChanges
from .database import ServerDatabase

__all__ = ["ServerChanges", "ServerDatabase"]
