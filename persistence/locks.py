"""Locks on side files, which die with the process that holds them.

``flock`` and not SQLite's own locks: those are lost when anything in the process opens and closes the database file,
and nobody can ask for them without waiting. A forked child would keep a lock alive that its parent's death should
free, so children close theirs.

This file must never open the database file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path

from ..dsl.errors import StoreError, StoreUnavailable

__all__ = ["FileLock"]

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.01


class FileLock:
    """An exclusive lock on a file made for the purpose.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreUnavailable(f"cannot create {path!r} beside the database: {error.strerror}") from error
        _open_locks.add(self)

    def try_acquire(self) -> bool:
        """Take the lock if nobody else has it; tell whether it was taken."""
        if self._descriptor < 0:
            raise StoreError(f"the lock {self.path!r} is closed, or belongs to the process this one was forked from")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a file system without locks
            raise StoreUnavailable(f"cannot lock {self.path!r}: {error.strerror}") from error
        return True

    def acquire(self, timeout: float) -> bool:
        """Take the lock, waiting for at most so many real seconds; tell whether it was taken.

        Asks again and again instead of waiting in the system: a stopped process could hold the lock for ever.
        """
        if self.try_acquire():
            return True
        deadline = time.clock_gettime(time.CLOCK_MONOTONIC) + timeout
        pause = _FIRST_PAUSE
        while time.clock_gettime(time.CLOCK_MONOTONIC) < deadline:
            time.sleep(pause)
            if self.try_acquire():
                return True
            pause = min(pause * 2, _LONGEST_PAUSE)
        return False

    def release(self) -> None:
        """Let others take the lock."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the lock and close its file, which stays; harmless the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        """Close the lock and remove its file; only for whoever holds it, which a forked child never does."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()
            self.close()


_open_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _close_all() -> None:
    for lock in list(_open_locks):
        lock.close()


os.register_at_fork(after_in_child=_close_all)
