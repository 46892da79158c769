"""Private files: each in a folder of its own, in memory where there is room, which goes with whoever has it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import weakref
from typing import Final

__all__ = ["PrivateFile", "identity_of"]

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - a folder of our own is made in it
_ROOM: Final = 2**30
"""Bytes that must be free in memory for a file to be made there: a container may have 64 MB and no more."""
_left: Final[weakref.WeakSet[PrivateFile]] = weakref.WeakSet()
_abandoned: Final[dict[str, str]] = {}
"""Files whose store was abandoned, each with its folder: private to whoever opens them next."""


class PrivateFile:
    """Where a database is that goes with its store.

    Attributes:
        path: The file, which need not exist yet.
    """

    def __init__(self, folder: str | None = None) -> None:
        """Take a folder, or make one."""
        self._folder = tempfile.mkdtemp(prefix="perdure-", dir=self.place()) if folder is None else folder
        self.path = f"{self._folder}/private.db"
        self._process = os.getpid()
        self._remove = weakref.finalize(self, _remove_folder, self._folder, self._process)
        self._remove.atexit = False  # but by `_remove_all`, once all engines are closed
        _left.add(self)

    @property
    def past(self) -> str:
        """A path that stands for it when it is its last user's no more: nothing is there, nor can be made there."""
        return f"{self._folder}-closed/private.db"

    @staticmethod
    def place() -> str:
        """Return the folder in which new ones are made."""
        return _memory() or tempfile.gettempdir()

    def lies_in(self, place: str) -> bool:
        """Tell whether it is in this folder."""
        return os.path.dirname(self._folder) == os.path.normpath(place)  # noqa: PTH120 - as in `Database`

    def identity(self) -> tuple[int, int] | None:
        """Return what tells the file from any other, or None if it is gone."""
        return identity_of(self.path)

    @classmethod
    def found_at(cls, path: str) -> PrivateFile | None:
        """Return the file that a store has abandoned at this path, if one has: it is the caller's from now on."""
        folder = _abandoned.pop(path, None)
        return None if folder is None else cls(folder)

    def abandon(self) -> None:
        """Leave the file to whoever opens it next."""
        if self._remove.detach() is not None:
            _abandoned[self.path] = self._folder

    def remove(self) -> None:
        """Remove it, unless it was abandoned; harmless the second time."""
        if self._remove.detach() is not None:  # not by calling it: at the exit that does nothing any more
            _remove_folder(self._folder, self._process)


def identity_of(path: str) -> tuple[int, int] | None:
    """Return what tells a file from any other, or None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # once a commit: a Path costs as much as the call
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@atexit.register
def _remove_all() -> None:
    """Remove what is left: in memory it would stay until the machine is started anew."""
    for file in list(_left):
        file.remove()
    for folder in _abandoned.values():
        shutil.rmtree(folder, ignore_errors=True)


os.register_at_fork(after_in_child=_abandoned.clear)  # they are the parent's


def _memory() -> str | None:
    """Return a folder in memory, if the system has one with room to spare and nobody wants another one."""
    if any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")):
        return None
    try:
        free = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return None
    roomy = free.f_bavail * free.f_frsize >= _ROOM
    return _SHARED_MEMORY if roomy and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else None


def _remove_folder(folder: str, process: int) -> None:
    if os.getpid() == process:  # not at the exit of a child that was forked
        shutil.rmtree(folder, ignore_errors=True)
