"""What an SQLite database stands on: its file, and the files beside it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..dsl.errors import StoreCorrupt, StoreUnavailable
from .faults import explain
from .health import Ground
from .locks import FileLock
from .migrations import check_version, version_of
from .readers import Readers

__all__ = ["check_place", "ground_of", "is_locked", "lock_path"]


def check_place(path: str, readers: Readers) -> None:
    """Refuse what cannot be a database of ours, or cannot be written, before anything there is touched.

    Raises:
        StoreUnavailable: It is no file, or may not be written.
        StoreCorrupt: It was cut off, or is no database.
        SchemaTooNew: A newer release wrote it.
    """
    file = Path(path)
    folder = str(file.parent)
    if not file.parent.is_dir():
        raise StoreUnavailable(f"there is no folder {folder!r} for the database: create it, or give another path")
    if file.is_dir():
        raise StoreUnavailable(f"{path!r} is a folder: give the path of a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreUnavailable(f"the folder {folder!r} is read-only: SQLite keeps its -wal file beside the database")
    if not file.exists():
        return
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreUnavailable(f"the database {path!r} is read-only for this user")
    if file.stat().st_size == 0:
        if _size(f"{path}-wal"):
            raise StoreCorrupt(
                f"{path!r} is empty but its -wal file is not: the database was cut off; restore a backup"
            )
        return
    try:
        connection = readers.make()
        try:
            check_version(version_of(connection), path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise explain(error, path, "nothing was touched") from error


def lock_path(path: str, engine: int) -> str:
    """Return the name of the side file whose lock says that an engine lives."""
    return f"{path}-engine-{engine}"


def ground_of(connection: sqlite3.Connection, path: str, alive: set[int]) -> Ground:
    """Look at the file, from end to end, and at what lies beside it.

    Args:
        connection: One that reads.
        path: The file.
        alive: The engines that live.
    """
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return Ground(
        damage=None if damage == "ok" else str(damage),
        schema=version_of(connection),
        size=_size(path),
        wal_size=_size(f"{path}-wal"),
        left_locks=tuple(_left_locks(path, alive)),
    )


def is_locked(path: str) -> bool:
    """Tell whether a lock is held by a process, without making its file."""
    if not Path(path).exists():
        return False
    lock = FileLock(path)
    try:
        return not lock.try_acquire()
    finally:
        lock.close()


def _left_locks(path: str, alive: set[int]) -> list[str]:
    file = Path(path)
    found = {int(number): lock for lock in file.parent.glob(f"{_plain(file.name)}-engine-*")
             if (number := lock.name.rpartition("-")[2]).isdecimal()}  # fmt: skip
    return [str(lock) for number, lock in sorted(found.items()) if number not in alive and not is_locked(str(lock))]


def _plain(name: str) -> str:
    """Return the pattern that matches a name and nothing else."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
