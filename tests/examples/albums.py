"""Pictures of what a killed process leaves behind in a database, a file or one on a server, and new ones of them."""

# ruff: noqa: S608 - the pieces are names of tables and columns.

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from perdure.persistence.models import MODELS, EngineModel, InboxModel, MigrationModel, columns
from perdure.persistence.places import database_at
from perdure.persistence.rows import listed
from perdure.testing.postgres_server import PostgresServer

__all__ = ["Album", "FileAlbum", "ServerAlbum"]


class Album(Protocol):
    """Databases of one test, all of the same kind."""

    def blank(self, name: str) -> str:
        """Return where a new database is."""

    def camera(self, location: str, stack: ExitStack) -> Callable[[], Any]:
        """Return what takes a picture of a database; it is put away with the stack."""

    def shown(self, picture: Any, name: str) -> AbstractContextManager[str]:
        """Make a database of a picture; it is there for as long as this is entered."""

    def rest(self, location: str) -> None:
        """Wait until nothing in a database is held by a process that was killed."""


class FileAlbum:
    """Files in a folder; a picture is the bytes of the database and of its write-ahead log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def blank(self, name: str) -> str:
        return str(self._folder / f"{name}.db")

    def camera(self, location: str, stack: ExitStack) -> Callable[[], tuple[bytes, ...]]:
        files: list[Any] = []

        def take() -> tuple[bytes, ...]:
            # Opened once, closed at the end: closing a file drops the locks that SQLite has on it in this process.
            if not files:
                files.extend(stack.enter_context(file.open("rb", buffering=0)) for file in _files_of(location))
            return tuple(os.pread(file.fileno(), 1 << 30, 0) for file in files)

        return take

    @contextmanager
    def shown(self, picture: tuple[bytes, ...], name: str) -> Iterator[str]:
        location = self.blank(name)
        for file, content in zip(_files_of(location), picture, strict=True):
            file.write_bytes(content)
        yield location

    def rest(self, location: str) -> None:
        """Do nothing: the system has let go of everything before it tells of a death."""


def _files_of(location: str) -> tuple[Path, Path]:
    return Path(location), Path(f"{location}-wal")


_TABLES = tuple(model for model in MODELS if model is not MigrationModel)


class ServerAlbum:
    """Databases on a server; a picture is the rows of all tables as of one moment."""

    def __init__(self, server: PostgresServer, address: Callable[[str], str]) -> None:
        """Take the server, and what gives the address for engines of a database that has this one of its own."""
        self._server = server
        self._address = address
        self._direct: dict[str, str] = {}

    def blank(self, name: str) -> str:
        del name
        direct = self._server.borrow()
        self._direct[self._address(direct)] = direct
        return self._address(direct)

    def camera(self, location: str, stack: ExitStack) -> Callable[[], list[list[Any]]]:
        database = database_at(self._direct[location], durability="normal", busy_timeout=20)
        stack.callback(database.close)

        def look(connection: Any) -> list[list[Any]]:
            selects = [f"SELECT {listed(model)} FROM {model._meta.table_name}" for model in _TABLES]
            return [connection.execute(select).fetchall() for select in selects]

        def take() -> list[list[Any]]:
            database.open_to_read()
            return database.read(look)

        return take

    @contextmanager
    def shown(self, picture: list[list[Any]], name: str) -> Iterator[str]:
        location = self.blank(name)
        database = database_at(self._direct[location], durability="normal", busy_timeout=20)

        def write(connection: Any) -> None:
            for model, rows in zip(_TABLES, picture, strict=True):
                places = ", ".join("?" * len(columns(model)))
                insert = f"INSERT INTO {model._meta.table_name} ({listed(model)}) VALUES ({places})"
                connection.executemany(insert, rows)
            for numbered in (EngineModel, InboxModel):
                database.number_on(connection, numbered._meta.table_name)

        database.open(write)
        database.close()
        yield location
        self._server.give_back(self._direct.pop(location))

    def give_back(self) -> None:
        """Have the server empty all databases that are left."""
        for direct in self._direct.values():
            self._server.give_back(direct)

    def rest(self, location: str) -> None:
        import psycopg

        others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with psycopg.connect(self._direct[location], autocommit=True) as session:
            while session.execute(others).fetchone() is not None:
                time.sleep(0.002)
