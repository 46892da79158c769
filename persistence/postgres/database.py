"""One database on a PostgreSQL server, and this process's sessions with it.

Rules:

1. One session writes, for whoever holds the core. Others are lent, one use at a time, to readers and to transactions of
   their own; one more says that this engine lives (see `presence`).
2. Every transaction that writes for an engine first locks the engine's own row, as it is read, against changes: so who
   takes it over waits for the end of that transaction, and the next one finds that it has lost its right.
3. A session that fell silent inside a transaction is ended by the server, so that a stopped engine holds up nobody.
4. A session that breaks before it is asked to commit is made anew once, without a word; later, the outcome is unknown.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import psycopg

from ...dsl.errors import StoreError, StoreUnavailable, UsageError
from ..connection import Connection
from ..faults import NOTHING_WRITTEN, OUTCOME_UNKNOWN
from ..health import Ground
from ..kind import Durability, Progress
from ..migrations import check_newest, check_version
from .apart import ServerApart
from .faults import explain
from .flight import LOST, Flight
from .footing import is_dead, keyspace_of, there
from .hold import Other, Own
from .joining import Joined, identity_of, part_of
from .link import Link
from .notices import ServerNotices
from .presence import Presence
from .schema import migrate, version_of
from .server import Server, Session

__all__ = ["ServerDatabase"]

T = TypeVar("T")

_IDLE: Final = 4
_HEARD: Final[dict[str, object]] = {"idle_in_transaction_session_timeout": 3000}
"""Milliseconds after which the server ends a transaction in which nothing is said."""

_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_EXPLAINED: Final = (psycopg.Error, UnicodeEncodeError, OverflowError)
_NUMBER_ON: Final = """
    SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}
"""
_END_SESSIONS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()
"""


class ServerDatabase:
    """The database and its sessions."""

    def __init__(self, url: str, *, durability: Durability, busy_timeout: float) -> None:
        self._server = Server(url)
        self._durability = durability
        self._busy_seconds = busy_timeout
        self._process = os.getpid()
        self._engine = 0
        self._keyspace = 0
        self._writer: Session | None = None
        self._may_read = self._may_write = False
        self._idle: list[Session] = []
        self._guard = threading.Lock()
        self._spell = self._server.spelling(self._settings, durable=durability == "full")
        self._spell_writing = self._server.spelling({**self._settings, **_HEARD}, durable=durability == "full")
        self._begin = self._server.beginning({**self._settings, **_HEARD}, durable=durability == "full")
        self._joined = Joined()
        self.notices = ServerNotices(self._server, self._lent)

    @property
    def path(self) -> str:
        """The URL that opens it again."""
        return self._server.url

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._server.name

    @property
    def is_private(self) -> bool:
        """False: a server's database stays."""
        return False

    # ---- life

    def open(self, prepare: Callable[[Connection], T]) -> T:
        """Create or migrate the schema, while no other engine can, and prepare it: by one session, in turns."""
        self._process = os.getpid()
        self._may_write = True
        try:
            writer = Link(self.writer, self._spell_writing)
            with self._explained(NOTHING_WRITTEN):
                migrate(writer, self.name, self._keyspace)
                self._may_read = True
                return prepare(writer)
        except BaseException:
            self.close()
            raise

    def open_to_read(self) -> None:
        """Open it for reading alone: nothing is made or migrated."""
        self._process = os.getpid()
        self._may_read = True
        try:
            version = self.read(version_of)
            check_version(version, self.name)
            check_newest(version, self.name)
        except BaseException:
            self.close()
            raise

    def attach(self) -> None:
        """Open it for reading, and for writing when it comes to that."""
        self.open_to_read()
        self._may_write = True

    def abandon(self) -> None:
        """Close as `close` does: there is nothing that only a death would leave."""
        self.close()

    def put_by(self) -> None:
        """Close it: it is no private one."""
        self.close()

    def close(self) -> None:
        """Close all sessions; harmless the second time, and in a forked child."""
        if os.getpid() != self._process:
            return
        self._may_read = self._may_write = False
        self.notices.close()
        self._disconnect()

    # ---- sessions

    @property
    def _settings(self) -> dict[str, object]:
        waiting = {"lock_timeout": round(self._busy_seconds * 1000), "client_min_messages": "warning"}
        return {**waiting, "synchronous_commit": "off"} if self._durability == "normal" else waiting

    @property
    def _purpose(self) -> str:
        return _purpose_of(self._engine, self._keyspace) if self._engine else "perdure"

    def _connect(self, **settings: object) -> Session:
        self._check_process()
        session = self._server.connect(
            purpose=self._purpose, settings={**self._settings, **settings}, durable=self._durability == "full"
        )
        try:
            if not self._keyspace:
                self._keyspace = keyspace_of(session)
        except psycopg.Error as error:
            session.close()
            raise explain(error, self.name, NOTHING_WRITTEN) from error
        return session

    @property
    def writer(self) -> Session:
        """The session that writes, made anew if it has broken; for one thread at a time."""
        self._check_process()
        if not self._may_write:
            raise self._closed()
        if self._writer is None or self._writer.closed:
            self._writer = self._connect(**_HEARD)
        return self._writer

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise StoreError(f"the store of {self.name!r} belongs to the parent process: open one after the fork")

    def _closed(self) -> StoreError:
        return StoreError(f"the store of {self.name!r} is not open")

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        with self._guard:
            idle, self._idle = self._idle, []
        for session in idle if writer is None else [*idle, writer]:
            session.close()

    @contextmanager
    def _lent(self) -> Iterator[Session]:
        """Lend a session in which no transaction is open, from any thread."""
        with self._guard:
            session = self._idle.pop() if self._idle else None
        if session is not None and not _is_sound(session):
            session.close()
            session = None
        session = session or self._connect()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        with self._guard:
            if (self._may_read or self._may_write) and len(self._idle) < _IDLE:
                self._idle.append(session)
                return
        session.close()

    @contextmanager
    def _explained(self, outcome: str) -> Iterator[None]:
        try:
            yield
        except _EXPLAINED as error:
            raise explain(error, self.name, outcome) from error

    # ---- work

    def prepare(self, work: Callable[[Connection], T]) -> T:
        """Do some writing that brings its own transaction."""
        with self._explained(NOTHING_WRITTEN):
            return work(Link(self.writer, self._spell_writing))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do some writing in one transaction: all of it is on disk when this returns, or none after an error."""
        if not self.notices.is_held(self._busy_seconds):
            raise StoreUnavailable(
                f"engine {self._engine} could not say to {self.name!r} that it lives for so long that others may take"
                f" it for dead; {NOTHING_WRITTEN}"
            )
        outcome = NOTHING_WRITTEN
        try:
            # COMMIT is sent when everything before it was done, and was as it should be: not a moment sooner.
            flight, result = self._done(work, *self._begin)
            outcome = OUTCOME_UNKNOWN
            flight.execute("COMMIT")
            flight.land()
        except BaseException as error:
            self._undo()
            if isinstance(error, _EXPLAINED):
                raise explain(error, self.name, outcome) from error
            raise
        return result

    def _undo(self) -> None:
        session = self._writer
        if session is not None and not session.closed and (flight := Flight(session)).in_transaction:
            flight.execute("ROLLBACK")
            flight.travel()

    def consult(self, work: Callable[[Connection], T]) -> T:
        """Read on the writing session."""
        with self._explained(NOTHING_WRITTEN):
            return self._done(work)[1]

    def _done(self, work: Callable[[Connection], T], *first: str) -> tuple[Flight, T]:
        """Have something done in the writing session; once more if that breaks: then it has undone everything."""
        session = self.writer
        try:
            return _landed(session, work, *first)
        except psycopg.Error:
            if not session.closed:
                raise
        return _landed(self.writer, work, *first)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Read from any thread, as of one moment; once more if a session broke, since reading does no harm."""
        if not self._may_read or os.getpid() != self._process:
            raise self._closed()
        try:
            return self._read(work)
        except LOST:
            with self._explained(NOTHING_WRITTEN):
                return self._read(work)
        except _EXPLAINED as error:
            raise explain(error, self.name, NOTHING_WRITTEN) from error

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._lent() as session:
            flight, result = _landed(session, work, _READ)
            flight.execute("COMMIT")
            flight.land()
        return result

    @contextmanager
    def apart(self) -> Iterator[ServerApart]:
        """Give a transaction of its own, from any thread; what is not committed is undone."""
        with self._lent() as session:
            with self._explained(NOTHING_WRITTEN):
                Link(session, self._spell).execute("BEGIN")
            try:
                yield ServerApart(session, self.name)
            finally:
                if not session.closed:
                    session.rollback()

    @contextmanager
    def joined(self, tx: object) -> Iterator[Connection]:
        """Give the connection on which a caller's transaction is open, for one part of it: all of it, or nothing."""
        with self._explained(NOTHING_WRITTEN), part_of(tx, self.read(identity_of), self.name) as link:
            self._joined.note(link)
            yield link

    def wait_for_writers(self, seconds: float) -> bool:
        """Wait until the transactions that were joined have ended; tell whether that came to pass in time."""
        return self._joined.wait(self.read, seconds)

    # ---- who lives

    def hold(self, engine: int) -> Own:
        """Be there as this engine, from now on.

        Raises:
            StoreUnavailable: The server, or a second session, could not be had.
        """
        presence = Presence(self._server, engine)
        if self._server.is_pooled:
            try:
                self.writer.execute("SELECT 1")
            except psycopg.Error as error:
                presence.close()
                raise StoreUnavailable(
                    f"the pooler before {self.name!r} lent no second session while one was in a transaction, which the"
                    " server has ended meanwhile: give it sessions enough, and at least two (for PgBouncer that is"
                    f" default_pool_size); {NOTHING_WRITTEN}"
                ) from error
        self._engine = engine
        self.notices.use(presence)
        self._server.rename(self.writer, self._purpose)
        with self._guard:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
        return Own(presence, self.notices)

    def try_hold(self, engine: int) -> Other | None:
        """See whether another engine is dead; end what is left of it."""
        session = self.writer
        if self.notices.is_patient or not is_dead(session, self._keyspace, engine):
            return None
        session.execute(_END_SESSIONS, (_purpose_of(engine, self._keyspace),))
        return Other(session, engine)

    def is_held(self, engine: int) -> bool:
        """Tell whether an engine lives."""
        with self._explained(NOTHING_WRITTEN), self._lent() as session:
            return engine in there(session, self._keyspace)

    # ---- looking after it

    def verify(self) -> None:
        """Ask for an answer: a server looks after its own files."""
        self.read(version_of)

    def ground(self, connection: Connection, alive: set[int]) -> Ground:
        """Tell the schema's version and how large the database is."""
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()[0]
        return Ground(damage=None, schema=version_of(connection), size=int(size))

    def number_on(self, connection: Connection, table: str) -> None:
        """Have the numbers that a table's rows are given come after those that are there."""
        connection.execute(_NUMBER_ON.format(table=table))

    def backup(self, path: str, progress: Progress | None = None) -> None:
        """Refuse: a server has tools of its own.

        Raises:
            UsageError: Always.
        """
        del progress
        raise UsageError(f"{self.name!r} is on a server, which is copied by its own tools: pg_dump --file {path}")


def _purpose_of(engine: int, keyspace: int) -> str:
    return f"perdure engine {engine} {keyspace:08x}"


def _landed(session: Session, work: Callable[[Connection], T], *first: str) -> tuple[Flight, T]:
    """Have statements, and some work, done in a session."""
    session.make_room()
    flight = Flight(session)
    for statement in first:
        flight.execute(statement)
    result = work(flight)
    flight.land()
    return flight, result


def _is_sound(session: Session) -> bool:
    """Tell whether a session that nobody used is still there, without asking the server."""
    if session.closed:
        return False
    with contextlib.suppress(psycopg.Error):
        session.pgconn.consume_input()
        return not session.closed
    return False
