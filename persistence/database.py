"""The connections to one SQLite file: one that writes, and some that only read.

Invariant: this process never opens the database file but through SQLite: closing any other descriptor of it would
drop the locks that SQLite holds. Invariant: all that writes holds the side-file lock, since SQLite before 3.51.3 can
corrupt the WAL when two processes write and checkpoint at the same moment.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from peewee import PeeweeException, SqliteDatabase

from ..dsl.errors import StoreCorrupt, StoreError, StoreUnavailable
from . import spares
from .apart import Apart
from .backup import copy_to
from .faults import NOTHING_WRITTEN, OUTCOME_UNKNOWN, explain, needs_reopening
from .ground import check_place, ground_of, is_locked, lock_path
from .health import Ground
from .joining import part_of, wait_for_writers
from .kind import Durability, Progress
from .locks import FileLock
from .migrations import blank, check_newest, migrate, version_of
from .private import PrivateFile, identity_of
from .readers import Readers

__all__ = ["BUSY_SECONDS", "Database"]

T = TypeVar("T")

BUSY_SECONDS: Final = 5.0
_EXPLAINED: Final = (sqlite3.Error, UnicodeEncodeError, OverflowError)
"""The last two: a value that cannot be bound to a statement."""
_PRAGMAS: Final = {
    "synchronous": "full",  # first: what follows writes too
    "journal_mode": "wal",
    "foreign_keys": 0,
    "temp_store": "memory",
    # Measured: at 1,000 pages the p99 of a commit is ten times higher, at 20,000 the WAL grows to 80 MB.
    "wal_autocheckpoint": 4000,
    "journal_size_limit": 64 * 2**20,
}


class Database:
    """The file and its connections.

    Attributes:
        path: The file; a private temporary one when none was given.
        notices: None: processes on one machine call each other by sockets beside the file.
    """

    notices = None

    def __init__(self, path: str | None, *, durability: Durability, busy_timeout: float = BUSY_SECONDS) -> None:
        place = None if path is None else str(Path(path).resolve())
        self._spare: spares.Spare | None = None
        self._private: PrivateFile | None
        if place is None:
            self._spare = spares.take() if busy_timeout == BUSY_SECONDS else None
            self._private = own = self._spare.file if self._spare else PrivateFile()
            self.path = own.path
        else:
            self._private = PrivateFile.found_at(place)
            self.path = place
        self._lent = False
        self._synchronous = durability if self._private is None else "off"
        self._busy_seconds = busy_timeout
        self._process = os.getpid()
        self._lock: FileLock | None = None
        self._may_read = False
        self._peewee: SqliteDatabase | None = None
        self._writer: sqlite3.Connection | None = None
        self._attached = False
        self._identity: tuple[int, int] | None = None
        self._readers = Readers(self.path, busy_timeout)

    @property
    def name(self) -> str:
        """What it is called in messages: its path."""
        return self.path

    @property
    def is_private(self) -> bool:
        """Whether the file goes with this store, unless that is abandoned."""
        return self._private is not None

    def open(self, prepare: Callable[[sqlite3.Connection], T]) -> T:
        """Create or migrate the file, and prepare it, all under the lock.

        Args:
            prepare: What else to do before any other engine may write; it brings its own transaction.

        Raises:
            StoreUnavailable: Read-only, locked for longer than the busy timeout, or in no folder of ours.
            StoreCorrupt: Not a database, or not a sound one; nothing was touched.
            SchemaTooNew: Written by a newer release; nothing was touched.
        """
        self._process = os.getpid()
        self._look_before_touching()
        self._lock = FileLock(f"{self.path}-lock")
        try:
            lock = self._lock_writing()
            try:
                connection = self._connect()
                migrate(connection, self.path)
                return prepare(connection)
            finally:
                lock.release()
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error | PeeweeException):
                raise explain(_cause(error), self.path, NOTHING_WRITTEN) from error
            raise

    def open_to_read(self) -> None:
        """Open the file for reading alone: nothing is made, locked or migrated.

        Raises:
            StoreUnavailable: There is none, or it cannot be read.
            StoreCorrupt: It is not a database.
            SchemaTooNew, SchemaTooOld: Its schema is not this release's.
        """
        self._process = os.getpid()
        self._identity = identity_of(self.path)
        if self._identity is None or not Path(self.path).is_file():
            raise StoreUnavailable(f"there is no database {self.path!r}: give the path that the engine was given")
        self._may_read = True
        try:
            check_newest(self.read(version_of), self.path)
        except BaseException:
            self.close()
            raise

    def attach(self) -> None:
        """Open the file for reading, and for writing when it comes to that; nothing is made or migrated.

        Raises:
            StoreUnavailable, StoreCorrupt, SchemaTooNew, SchemaTooOld: As for `open_to_read`.
        """
        self.open_to_read()
        self._look_before_touching()
        self._lock = FileLock(f"{self.path}-lock")
        self._attached = True

    def prepare(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some writing that brings its own transaction.

        Raises:
            StoreError: As for `write`.
        """
        connection = self.writer
        self.check_file()
        lock = self._lock_writing()
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise explain(error, self.path, NOTHING_WRITTEN) from error
        finally:
            lock.release()

    def _look_before_touching(self) -> None:
        if self._spare is not None:
            return
        if self._private is not None and not os.path.exists(self.path):  # noqa: PTH110 - as in `_identify`
            Path(self.path).write_bytes(blank())  # an eighth of what it takes to create the tables
            return
        check_place(self.path, self._readers)

    def _connect(self) -> sqlite3.Connection:
        spare, self._spare = self._spare, None
        if spare is not None:
            self._peewee = spare.database
        else:
            self._peewee = SqliteDatabase(
                self.path,
                pragmas={**_PRAGMAS, "synchronous": self._synchronous},
                timeout=self._busy_seconds,
                check_same_thread=False,  # one thread at a time, but not always the same one
                thread_safe=False,
                autoconnect=False,
            )
            self._peewee.connect()
        connection: sqlite3.Connection = self._peewee.connection()  # type: ignore[no-untyped-call]
        connection.execute("SELECT count(*) FROM sqlite_master")  # makes the file, or finds that it is none of SQLite's
        if self._identity is None:
            self._identity = identity_of(self.path)
        self._may_read = True
        self._writer = connection
        return connection

    @property
    def writer(self) -> sqlite3.Connection:
        """The connection that writes, opened anew if an error has closed it; for one thread at a time."""
        if os.getpid() != self._process:
            raise StoreError(f"the store of {self.path!r} belongs to the parent process: open one after the fork")
        if self._writer is not None:
            return self._writer
        if self._lock is None:
            raise self._closed()
        self.check_file()  # SQLite would make a new one
        try:
            return self._connect()
        except (sqlite3.Error, PeeweeException) as error:
            raise explain(_cause(error), self.path, NOTHING_WRITTEN) from error

    def _lock_writing(self) -> FileLock:
        """Take the lock on writing among processes; the caller releases it.

        Raises:
            StoreUnavailable: Another process held it for longer than the busy timeout.
        """
        if self._lock is None:
            raise self._closed()
        return self._acquired(self._lock)

    def _acquired(self, lock: FileLock) -> FileLock:
        if not lock.acquire(self._busy_seconds):
            raise StoreUnavailable(
                f"others have held the lock {lock.path!r} for {self._busy_seconds:g} s; {NOTHING_WRITTEN}"
            )
        return lock

    def _closed(self) -> StoreError:
        return StoreError(f"the store of {self.path!r} is not open")

    def check_file(self) -> None:
        """Refuse to go on when the file was deleted or replaced: SQLite would go on writing into nothing.

        Raises:
            StoreError: It was.
        """
        if identity_of(self.path) != self._identity:
            raise StoreError(
                f"the database {self.path!r} was deleted or replaced while it was open; {NOTHING_WRITTEN}:"
                " close this engine, put the file back or start anew with another one"
            )

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some writing in one transaction: all of it is on disk when this returns, or none after an error.

        Raises:
            StoreUnavailable: Locked, full or failing; the message says whether anything was written.
            DuplicateRow: A constraint refused it; nothing was written.
            StoreCorrupt: The file is damaged.
            StoreError: The file was deleted or replaced; or what `work` raises.
        """
        connection = self.writer
        self.check_file()
        lock = self._lock_writing()
        outcome = NOTHING_WRITTEN
        try:
            # IMMEDIATE: a deferred transaction that finds another writer cannot wait, it must fail.
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            outcome = OUTCOME_UNKNOWN
            connection.execute("COMMIT")
        except BaseException as error:
            self._abandon(connection, error)
            if isinstance(error, _EXPLAINED):
                raise explain(error, self.path, outcome) from error
            raise
        finally:
            lock.release()
        return result

    @contextmanager
    def apart(self) -> Iterator[Apart]:
        """Give a transaction of its own, from any thread; what is not committed is undone.

        Raises:
            StoreUnavailable, StoreCorrupt, StoreError: As for `write`; errors of the caller's statements are SQLite's.
        """
        self.check_file()
        self._lent = True
        lock = FileLock(f"{self.path}-lock")  # one of its own: the other is the core's
        try:
            self._acquired(lock)
            connection = sqlite3.connect(self.path, timeout=self._busy_seconds, isolation_level=None)
            try:
                self._begin_apart(connection)
                yield Apart(connection)
            finally:
                connection.close()  # which undoes what was not committed
        finally:
            lock.close()

    def _begin_apart(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_PRAGMAS['wal_autocheckpoint']}")
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise explain(error, self.path, NOTHING_WRITTEN) from error

    def _abandon(self, connection: sqlite3.Connection, error: BaseException) -> None:
        try:
            # On a full disk SQLite has rolled back by itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()
        if needs_reopening(error):
            self._disconnect()

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        self._readers.close()
        if writer is not None:
            with contextlib.suppress(sqlite3.Error):
                writer.close()

    def consult(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read on the writing connection; only for whoever may write.

        Raises:
            StoreUnavailable, StoreCorrupt, StoreError: As for `write`.
        """
        connection = self.writer
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise explain(error, self.path, NOTHING_WRITTEN) from error

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read from any thread, in one short transaction on a connection that cannot write.

        Raises:
            StoreUnavailable, StoreCorrupt, StoreError: As for `write`.
        """
        if not self._may_read or os.getpid() != self._process:
            raise self._closed()
        self.check_file()
        try:
            reader = self._readers.take()
            try:
                reader.execute("BEGIN")
                result = work(reader)
                reader.execute("COMMIT")  # a read left open would keep the WAL from being reused
            except BaseException:
                reader.close()
                raise
        except sqlite3.Error as error:
            raise explain(error, self.path, NOTHING_WRITTEN) from error
        self._readers.give_back(reader, self._keeps_readers)
        return result

    @contextmanager
    def joined(self, tx: object) -> Iterator[sqlite3.Connection]:
        """Give the connection on which a caller's transaction is open, for one part of it: all of it, or nothing.

        Raises:
            UsageError: It is no transaction on this database.
            StoreUnavailable, StoreCorrupt, StoreError: As for `write`.
        """
        self.check_file()
        try:
            with part_of(tx, self.path) as connection:
                yield connection
        except sqlite3.Error as error:
            raise explain(error, self.path, NOTHING_WRITTEN) from error

    def wait_for_writers(self, seconds: float) -> bool:
        """Wait until no transaction of anybody that has written is open; tell whether that came to pass in time."""
        self.check_file()
        return wait_for_writers(self.path, seconds)

    # ---- who lives

    def hold(self, engine: int) -> FileLock:
        """Take the lock that says that an engine of this process lives."""
        lock = FileLock(lock_path(self.path, engine))
        if not lock.try_acquire():
            lock.close()
            raise StoreUnavailable(f"another process holds {lock.path!r}, which only this engine has a reason to make")
        return lock

    def try_hold(self, engine: int) -> FileLock | None:
        """Take the lock of another engine, which is possible only when that is dead; None if it lives."""
        lock = FileLock(lock_path(self.path, engine))
        if lock.try_acquire():
            return lock
        lock.close()
        return None

    def is_held(self, engine: int) -> bool:
        """Tell whether an engine lives."""
        return is_locked(lock_path(self.path, engine))

    # ---- looking after it

    def verify(self) -> None:
        """Read the whole file and check its structure; takes about a second per gigabyte.

        Raises:
            StoreCorrupt: It is damaged; says where.
        """
        found = self.read(lambda connection: connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if found != "ok":
            raise StoreCorrupt(f"{self.path!r} is damaged: {found}; restore a backup")

    def ground(self, connection: Any, alive: set[int]) -> Ground:
        """Look at the file, from end to end, and at what lies beside it."""
        return ground_of(connection, self.path, alive)

    def number_on(self, connection: Any, table: str) -> None:
        """Do nothing: SQLite looks at the numbers that are there."""

    def backup(self, path: str, progress: Progress | None = None) -> None:
        """Copy the file, as it is now, to one that is not there yet; whoever uses it is not held up."""
        self.read(lambda connection: copy_to(connection, path, progress))

    # ---- the end

    def _keeps_readers(self) -> bool:
        # After an error all connections are made anew.
        sound = self._writer is not None or self._lock is None or self._attached
        return self._may_read and sound

    def abandon(self) -> None:
        """Close as `close` does, but leave a private file to whoever opens it next."""
        if self._private is not None:
            self._private.abandon()
        self.close()

    def put_by(self) -> None:
        """Close as `close` does, but let the next store have a private file, if that is worth it.

        Only for whoever has told nobody of it, and has nothing under way there.
        """
        private, database, lock = self._private, self._peewee, self._lock
        usual = self._busy_seconds == BUSY_SECONDS and not self._lent
        if private and database and lock and usual and self._writer is not None and lock.try_acquire():
            self._may_read = False
            if spares.keep(private, database):
                self._private = self._peewee = self._writer = None
                self.path = private.past  # what the next one has in it is not to be had by way of this one
        self.close()

    def close(self) -> None:
        """Close the connections, which writes the WAL back into the file; remove a private file.

        Harmless the second time.
        """
        if os.getpid() != self._process:
            return  # the parent's connections: SQLite forbids even closing them here
        self._may_read = self._attached = False
        lock = self._lock
        if lock is None:
            self._readers.close()
        else:
            held = lock.acquire(
                self._busy_seconds
            )  # without it the WAL is not written back here, but by the next engine
            try:
                self._disconnect()
            finally:
                if held:
                    lock.release()
                self._lock = None
                lock.close()
        if self._private is not None:
            self._private.remove()


def _cause(error: Exception) -> Exception:
    """Return SQLite's error behind peewee's."""
    return error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
