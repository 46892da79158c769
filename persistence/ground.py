"""What an SQLite database stands on: its file, and the files beside it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .health import Ground
from .locks import FileLock
from .migrations import version_of

__all__ = ["ground_of", "is_locked", "lock_path"]


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
