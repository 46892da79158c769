"""What a kind of database must do, so that runs can be kept in it; there is one implementation for each kind.

Above this line nobody knows which kind it is: statements are SQLite's (see `connection`), errors are ours, and whether
another engine lives is asked of its *hold*, a lock that the database, or the system, takes from a process that dies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias, TypeVar

from .apart import Apart
from .connection import Connection
from .health import Ground
from .notices import Notices

__all__ = ["Changes", "Durability", "Hold", "Kind", "Progress"]

T = TypeVar("T")

Durability = Literal["full", "normal"]

Progress: TypeAlias = Callable[[int, int], None]
"""Told how much is copied, and of how much."""


class Hold(Protocol):
    """What says that an engine lives, for as long as its process does."""

    def close(self) -> None:
        """Let go, as the death of the process would."""
        ...

    def remove(self) -> None:
        """Let go, and leave nothing behind."""
        ...


class Changes(Protocol):
    """Notices that somebody has committed something."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something was committed since the last call, for so many real seconds; tell whether it was."""
        ...


class Kind(Protocol):
    """One database, and this process's connections to it.

    Every method but `hold`, `try_hold`, `is_held` and `close` raises ``StoreUnavailable`` when the database cannot be
    had just now, ``StoreCorrupt`` when it is damaged, and ``StoreError`` when it is closed or another process's.
    """

    @property
    def path(self) -> str:
        """Where it is: what opens it again."""
        ...

    @property
    def name(self) -> str:
        """What it is called in messages, without anything secret."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether it is gone once it is closed, so that nothing need be left in order there."""
        ...

    @property
    def notices(self) -> Notices | None:
        """How its users call each other through it; None when they have a better way."""
        ...

    # ---- life

    def open(self, prepare: Callable[[Connection], T]) -> T:
        """Create or migrate it, and prepare it, while nobody else can.

        Args:
            prepare: What else to do; it brings its own transaction.

        Raises:
            SchemaTooNew: A newer release wrote it; nothing was touched.
        """
        ...

    def open_to_read(self) -> None:
        """Open it for reading alone: nothing is made, locked or migrated.

        Raises:
            SchemaTooNew, SchemaTooOld: Its schema is not this release's.
        """
        ...

    def attach(self) -> None:
        """Open it for reading, and for writing when it comes to that; nothing is made or migrated.

        Raises:
            SchemaTooNew, SchemaTooOld: As for `open_to_read`.
        """
        ...

    def abandon(self) -> None:
        """Let go of it as the death of the process would."""
        ...

    def put_by(self) -> None:
        """Close it; a private one is the next store's, perhaps."""
        ...

    def close(self) -> None:
        """Close all connections; harmless the second time, and in a forked child."""
        ...

    # ---- work

    def prepare(self, work: Callable[[Connection], T]) -> T:
        """Do some writing that brings its own transaction; for one thread at a time."""
        ...

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do some writing in one transaction: all of it is on disk when this returns, or none after an error.

        For one thread at a time. A failed ``commit`` may have succeeded: the error says so.

        Raises:
            DuplicateRow: A constraint refused it; nothing was written.
        """
        ...

    def consult(self, work: Callable[[Connection], T]) -> T:
        """Read on the writing connection; for one thread at a time."""
        ...

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read from any thread, all of it as of one moment; nothing can be written."""
        ...

    def apart(self) -> AbstractContextManager[Apart]:
        """Give a transaction of its own, from any thread; what is not committed is undone."""
        ...

    def joined(self, tx: object) -> AbstractContextManager[Connection]:
        """Give the connection on which a caller's transaction is open, for one part of it: all of it, or nothing.

        Raises:
            UsageError: It is no transaction on this database.
        """
        ...

    def wait_for_writers(self, seconds: float) -> bool:
        """Wait until the transactions that were `joined` have ended; tell whether that came to pass in time."""
        ...

    # ---- who lives

    def hold(self, engine: int) -> Hold:
        """Take the hold of an engine of this process, whose number nobody else has a reason to take."""
        ...

    def try_hold(self, engine: int) -> Hold | None:
        """Take the hold of another engine, which is possible only when that is dead; None if it lives."""
        ...

    def is_held(self, engine: int) -> bool:
        """Tell whether an engine lives."""
        ...

    # ---- looking after it

    def verify(self) -> None:
        """Check its structure, as far as a program can.

        Raises:
            StoreCorrupt: It is damaged; says where.
        """
        ...

    def ground(self, connection: Connection, alive: set[int]) -> Ground:
        """Tell what it stands on, given a connection that reads and the engines that live."""
        ...

    def number_on(self, connection: Connection, table: str) -> None:
        """Have the numbers that a table's rows are given come after those that are there, inside a transaction."""
        ...

    def backup(self, path: str, progress: Progress | None = None) -> None:
        """Copy it, as it is now, to a file that is not there yet.

        Raises:
            UsageError: There is a file of this name; or this kind is copied by tools of its own.
        """
        ...
