"""Where the lives of one scenario keep their runs: a file, or a database on a server."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from perdure.persistence.migrations import blank
from perdure.persistence.places import database_at
from perdure.testing.postgres_server import PostgresServer

__all__ = ["FilePlace", "NewPlace", "Place", "ServerPlace"]


class Place(Protocol):
    """One database, which is empty at first.

    Attributes:
        location: What an engine is given.
    """

    location: str

    def look(self) -> AbstractContextManager[Any]:
        """Give what executes statements, in SQLite's words, and changes nothing."""

    def rest(self) -> None:
        """Wait until nothing here is held by a process that was killed."""

    def faults(self) -> Iterator[str]:
        """Yield what a tool of the database's own says is wrong with it."""


NewPlace = Callable[[Path], Place]
"""Makes the place of the lives in one folder."""


class FilePlace:
    """A file in the folder."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder / "runs.db")
        Path(self.location).write_bytes(blank())

    def look(self) -> closing[sqlite3.Connection]:
        """Open the file for reading."""
        return closing(sqlite3.connect(f"file:{self.location}?mode=ro", uri=True))

    def rest(self) -> None:
        """Do nothing: the system has let go of everything before it tells of a death."""

    def faults(self) -> Iterator[str]:
        """Have SQLite check the file."""
        with self.look() as disk:
            [(found,)] = disk.execute("PRAGMA integrity_check")
        if found != "ok":
            yield f"integrity_check: {found}"


class ServerPlace:
    """A database on a server."""

    def __init__(self, server: PostgresServer) -> None:
        self.location = server.borrow()
        database = database_at(self.location, durability="normal", busy_timeout=20)
        database.open(lambda connection: None)  # so that it has its tables, as a file has
        database.close()

    @contextmanager
    def look(self) -> Iterator[Any]:
        """Open a session."""
        import psycopg

        from perdure.persistence.postgres.link import Link

        with psycopg.connect(self.location, autocommit=True) as session:
            yield Link(session)

    def rest(self) -> None:
        """Wait until the server has noticed: a moment after the death."""
        with self.look() as disk:
            sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            while disk.execute(sql).fetchone() is not None:
                time.sleep(0.002)

    def faults(self) -> Iterator[str]:
        """Trust the server."""
        yield from ()
