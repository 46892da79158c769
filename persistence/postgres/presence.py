"""Presence: how a process is known to be there by others that use the database, and called by them.

Rules:

1. Whoever has an address holds the advisory lock of that number in one session, and listens to the channel of that
   name in the same one. So who can be called lives, and who lives can be called.
2. The server ends that session when nothing was said in it for some seconds, by its own clock. So the lock of a
   process that was stopped, or cut off, goes like that of one that died; and no clock is compared with another.
3. Lost is not dead: a session that breaks is made anew, and only who was missed twice in a row is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, Final

import psycopg

from ...dsl.errors import StoreError, StoreUnavailable
from ..faults import NOTHING_WRITTEN
from ..notices import Post
from .faults import explain
from .server import Server, Session

__all__ = ["Presence", "keyspace_of"]

logger = logging.getLogger("perdure")

_PULSE: Final = 0.5
_SILENCE: Final = 3000
"""Milliseconds after which the server gives us up."""

_GRACE: Final = 3.0
"""Real seconds for which, once a lost session is made anew, others are given time to do the same."""

_SETTINGS: Final = {"idle_session_timeout": _SILENCE, "lock_timeout": 2000, "client_min_messages": "warning"}
_TWICE: Final = 2
_STRANGERS: Final = 1 << 30
"""Addresses from here on are of those who are no engines."""

_LOCK: Final = "SELECT pg_try_advisory_lock($1, $2)"
_UNLOCK: Final = "SELECT pg_advisory_unlock($1, $2)"
_THERE: Final = """
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def keyspace_of(session: Session) -> int:
    """Return what tells our locks and channels from those of others in one database: it depends on the schema."""
    schema = session.execute("SELECT current_schema()").fetchone()
    return zlib.crc32(f"perdure {schema}".encode()) & 0x7FFF_FFFF


def there(session: Session, keyspace: int) -> set[int]:
    """Return the addresses that are taken."""
    return {int(row[0]) for row in session.execute(_THERE, (keyspace,)).fetchall()}


class Presence:
    """One address, as long as it is held.

    Attributes:
        address: The number.
        keyspace: What our locks and channels have in common.
    """

    def __init__(self, server: Server, address: int | None) -> None:
        """Be there: others can see and call it when this returns.

        Args:
            server: The database.
            address: The engine's number; None for one that nobody else has.

        Raises:
            StoreUnavailable: The server cannot be reached, or somebody else has the address.
        """
        self._server = server
        self._process = os.getpid()
        self.address = random.randrange(_STRANGERS, 2 * _STRANGERS) if address is None else address  # noqa: S311
        self._post: Post | None = None
        self._early: list[str] = []
        self._guard = threading.Lock()
        self._missed: dict[int, int] = {}
        self._patient_until = 0.0
        self._closed = False
        self._wake_out, self._wake_in = os.pipe()
        self._session = self._begin()
        self._thread = threading.Thread(target=self._attend, name=f"perdure-presence-{self.address}", daemon=True)
        self._thread.start()

    def _begin(self) -> Session:
        session = self._server.connect(purpose=f"perdure presence {self.address}", settings=_SETTINGS)
        try:
            self.keyspace = keyspace_of(session)
            channel_name = channel(self.keyspace, self.address)
            session.execute(f"LISTEN {channel_name}")  # pyright: ignore[reportCallIssue, reportArgumentType] - ours
            taken = session.execute(_LOCK, (self.keyspace, self.address)).fetchone()
        except psycopg.Error as error:
            session.close()
            raise explain(error, self._server.name, NOTHING_WRITTEN) from error
        if taken is None or not taken[0]:
            session.close()
            raise StoreUnavailable(f"another process is engine {self.address} of {self._server.name!r}")
        return session

    # ---- from any thread

    @property
    def is_patient(self) -> bool:
        """Whether others must be given time: the session was lost a moment ago, and so theirs may have been."""
        return _now() < self._patient_until

    def attend(self, post: Post) -> None:
        """Have a post told of everything that arrives, and has arrived."""
        with self._guard:
            self._post = post
            early, self._early = self._early, []
        for text in early:
            post.arrived(text)

    def ask_after(self, address: int, *, wanted: bool) -> None:
        """Have the post told when whoever has this address is gone, or no longer."""
        with self._guard:
            if wanted:
                self._missed.setdefault(address, 0)
            else:
                self._missed.pop(address, None)

    def close(self) -> None:
        """Be there no longer; harmless the second time, and in a forked child."""
        if os.getpid() != self._process or self._closed:
            return
        self._closed = True
        os.write(self._wake_in, b"!")
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._wake_in)
        os.close(self._wake_out)

    # ---- on its thread

    def _attend(self) -> None:
        while not self._closed:
            try:
                self._listen()
                self._pulse()
            except (psycopg.Error, OSError):
                self._lost()
        with contextlib.suppress(psycopg.Error):
            self._session.execute(_UNLOCK, (self.keyspace, self.address))
        self._session.close()

    def _listen(self) -> None:
        """Wait for what arrives, until it is time for the next sign of life."""
        until = _now() + _PULSE
        while not self._closed and (left := until - _now()) > 0:
            waiting = select.poll()
            waiting.register(self._wake_out, select.POLLIN)
            waiting.register(self._session.fileno(), select.POLLIN)
            if waiting.poll(left * 1000):
                self._session.pgconn.consume_input()
                self._take_notices()

    def _take_notices(self) -> None:
        while (notice := self._session.pgconn.notifies()) is not None:
            self._bring(notice.extra.decode())

    def _bring(self, text: str) -> None:
        self._tell(lambda post: post.arrived(text), text)

    def _tell(self, say: Callable[[Post], Any], early: str | None = None) -> None:
        with self._guard:
            post = self._post
            if post is None and early is not None:
                self._early.append(early)
        if post is not None:
            try:
                say(post)
            except Exception:  # whatever was said, the presence goes on
                logger.exception("a notice could not be handled; please report this")

    def _pulse(self) -> None:
        """Give a sign of life, and see who is missing."""
        with self._guard:
            asked = set(self._missed)
        present = there(self._session, self.keyspace) if asked else {self.address}
        if not asked:
            self._session.execute("SELECT 1")
        self._take_notices()
        for address in self._count(asked, present):
            self._miss(address)

    def _miss(self, address: int) -> None:
        self._tell(lambda post: post.gone(address))

    def _count(self, asked: set[int], present: set[int]) -> list[int]:
        """Return who was missed often enough."""
        gone = []
        with self._guard:
            for address in asked & self._missed.keys():
                self._missed[address] = 0 if address in present or self.is_patient else self._missed[address] + 1
                if self._missed[address] >= _TWICE:
                    del self._missed[address]
                    gone.append(address)
        return gone

    def _lost(self) -> None:
        """Make the session anew, however long it takes."""
        self._session.close()
        pause = 0.02
        while not self._closed:
            try:
                self._session = self._begin()
            except (StoreError, OSError):
                waiting = select.poll()
                waiting.register(self._wake_out, select.POLLIN)
                waiting.poll(pause * 1000)
                pause = min(pause * 2, _PULSE)
            else:
                self._patient_until = _now() + _GRACE
                self._tell(lambda post: post.regained())
                return


def channel(keyspace: int, address: int) -> str:
    """Return the channel on which an address is called."""
    return f"perdure_{keyspace:08x}_{address}"


def _now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)
