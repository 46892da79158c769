"""A copy of a database while it is in use: complete, of one moment, and readable without the files beside it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from ..dsl.errors import StoreUnavailable, UsageError
from .faults import explain
from .kind import Progress

__all__ = ["copy_to"]

_PAGES: Final = 2000
_NOTHING_LEFT: Final = "no copy was left"


def copy_to(source: sqlite3.Connection, path: str, progress: Progress | None = None) -> None:
    """Copy a database, as it is when the copying begins, to a file that is not there yet.

    The copy is made under another name and put in its place once it is whole and on the disk.

    Args:
        source: A connection that reads.
        path: The new file.
        progress: Told after every piece.

    Raises:
        UsageError: There is a file of this name.
        StoreUnavailable: It cannot be written; nothing is left of it.
    """
    if Path(path).exists():
        raise UsageError(f"{path!r} exists already: a backup never replaces anything; give another name")
    part = f"{path}.part"
    try:
        _copy(source, part, progress)
        os.link(part, path)  # unlike a rename, it fails where somebody was quicker
    except FileExistsError:
        raise UsageError(f"{path!r} exists already: a backup never replaces anything; give another name") from None
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path!r}: {error.strerror}; {_NOTHING_LEFT}") from error
    except sqlite3.Error as error:
        raise explain(error, path, _NOTHING_LEFT) from error
    finally:
        with contextlib.suppress(OSError):
            Path(part).unlink()


def _copy(source: sqlite3.Connection, part: str, progress: Progress | None) -> None:
    Path(part).unlink(missing_ok=True)
    # One transaction from the first page to the last: otherwise each commit of an engine would begin the copy anew.
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    copy = sqlite3.connect(part)
    try:
        told = None if progress is None else lambda _, left, total: progress(total - left, total)
        source.backup(copy, pages=_PAGES, progress=told)
    finally:
        copy.close()
    with Path(part).open("rb") as written:
        os.fsync(written.fileno())
