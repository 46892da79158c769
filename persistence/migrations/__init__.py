"""The schema's history: numbered steps, applied once, all that are missing or none.

A new step is a file ``NNNN_what_it_does.py`` with a function ``apply(connection)``; a released one is never edited.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from ...dsl.errors import SchemaTooNew, SchemaTooOld

__all__ = ["MIGRATIONS", "Migration", "blank", "check_newest", "check_version", "migrate", "version_of"]


class Migration(NamedTuple):
    """One step of the schema.

    Attributes:
        number: The schema's version once it is applied.
        name: What it is called.
        apply: Does it, inside a transaction that is open already.
    """

    number: int
    name: str
    apply: Callable[[Any], None]


def _discover() -> tuple[Migration, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if re.match(r"\d{4}_", module.name))
    return tuple(Migration(int(name[:4]), name, importlib.import_module(f".{name}", __name__).apply) for name in names)


MIGRATIONS = _discover()


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the schema in a database; 0 where there is none of ours."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'workflow_migrations'")
    if known.fetchone() is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM workflow_migrations").fetchone()[0])


def check_version(version: int, path: str, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Refuse a schema that this release does not know.

    Raises:
        SchemaTooNew: The database was written by a newer release.
    """
    newest = migrations[-1].number
    if version > newest:
        raise SchemaTooNew(
            f"{path!r} has schema version {version}; this release of perdure knows versions up to {newest}:"
            " upgrade perdure, or open another path (nothing was touched)"
        )


def check_newest(version: int, path: str) -> None:
    """Refuse a schema that is not this release's, where nothing may be migrated.

    Raises:
        SchemaTooNew: The database was written by a newer release.
        SchemaTooOld: It was written by an older one, or by none.
    """
    check_version(version, path)
    newest = MIGRATIONS[-1].number
    if version < newest:
        raise SchemaTooOld(
            f"{path!r} has schema version {version}, and this release of perdure reads version {newest}: open it"
            " once with an engine, which brings it up to date (nothing was touched)"
        )


def migrate(connection: sqlite3.Connection, path: str, *, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a database to the newest schema, in one transaction, with a copy of an older database kept beside it.

    Called by whoever holds the lock on writing.

    Raises:
        SchemaTooNew: The database was written by a newer release; nothing was touched.
    """
    version = version_of(connection)
    check_version(version, path, migrations=migrations)
    if 0 < version < migrations[-1].number:
        _back_up(connection, f"{path}-backup-v{version}")
    pending = [migration for migration in migrations if migration.number > version]
    if pending:
        _apply(connection, pending)


@cache
def blank() -> bytes:
    """Return what the file of an empty database at the newest schema holds, ready for a WAL."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, ":memory:")
        image = bytearray(connection.serialize())
    finally:
        connection.close()
    image[18:20] = b"\x02\x02"  # the file format's version numbers for reading and writing: 2 is WAL
    return bytes(image)


def _back_up(connection: sqlite3.Connection, path: str) -> None:
    copy = sqlite3.connect(path)
    try:
        connection.backup(copy)
    finally:
        copy.close()


def _apply(connection: sqlite3.Connection, pending: Sequence[Migration]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS workflow_migrations"
            " (number INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, applied_at INTEGER NOT NULL)"
        )
        for migration in pending:
            migration.apply(connection)
            connection.execute(
                # SQLite's own clock: this is a note for people, and it is never frozen.
                "INSERT INTO workflow_migrations (number, name, applied_at)"
                " VALUES (?, ?, CAST(strftime('%s', 'now') AS INTEGER) * 1000000)",
                (migration.number, migration.name),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
