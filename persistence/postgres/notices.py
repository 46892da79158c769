"""The notices of a database: sent on any session, received by the presence of this process.

What is sent to an address that stands on a lease is a row, which its holder deletes; all else is PostgreSQL's NOTIFY.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

from ...dsl.errors import StoreError
from ..notices import Post
from .footing import channel, there
from .presence import Presence
from .server import Server, Session

__all__ = ["ServerNotices"]

# A notice is nothing that must be on disk; so its transaction does not wait for that.
_SEND = """
    WITH hurry AS (SELECT set_config('synchronous_commit', 'off', true)), kept AS (
        INSERT INTO workflow_notices (address, body)
        SELECT address, $3 FROM workflow_presence, hurry WHERE address = $1 RETURNING id
    )
    SELECT pg_notify($2, $3) FROM hurry WHERE NOT EXISTS (SELECT 1 FROM kept)
"""


class ServerNotices:
    """The notices of one database, for one process."""

    def __init__(self, server: Server, lent: Callable[[], AbstractContextManager[Session]]) -> None:
        self._server = server
        self._lent = lent
        self._guard = threading.RLock()
        self._presence: Presence | None = None
        self._own = False
        self._post: Post | None = None
        self._closed = False

    def use(self, presence: Presence) -> None:
        """Be called as an engine from now on."""
        with self._guard:
            self._presence = presence
            self._own = False
            post = self._post
        if post is not None:
            presence.attend(post)

    def leave(self, presence: Presence) -> None:
        """Be called as this engine no more."""
        with self._guard:
            if self._presence is presence:
                self._presence = None

    @property
    def is_patient(self) -> bool:
        """Whether others must be given time to come back."""
        presence = self._presence
        return presence is not None and presence.is_patient

    def is_held(self, patience: float) -> bool:
        """Tell whether nobody can take this process for dead; if they can, wait some real seconds for a change."""
        presence = self._presence
        return presence is None or presence.is_held(patience)

    def _there(self) -> Presence:
        """Return who is called; whoever is no engine is somebody from the first time on that it matters."""
        with self._guard:
            if self._presence is None:
                if self._closed:
                    raise StoreError(f"the store of {self._server.name!r} is not open")
                self._presence = Presence(self._server, None)
                self._own = True
                if self._post is not None:
                    self._presence.attend(self._post)
            return self._presence

    @property
    def address(self) -> int:
        """Where this process is called: an engine by its number."""
        return self._there().address

    def attend(self, post: Post) -> None:
        """Have a post told of everything that arrives from now on, and has arrived while there was none."""
        self._post = post
        self._there().attend(post)

    def send(self, address: int, text: str) -> bool:
        """Send some text; tell whether it is on its way. From any thread."""
        try:
            target = channel(self._there().keyspace, address)
            with self._lent() as session:
                session.execute(_SEND, (address, target, text))
        except (psycopg.Error, StoreError):
            return False
        return True

    def ask_after(self, address: int, *, wanted: bool) -> None:
        """Have the post told when whoever has this address is gone, or no longer."""
        with self._guard:
            presence = self._presence
        if presence is not None:
            presence.ask_after(address, wanted=wanted)

    def is_there(self, address: int) -> bool:
        """Tell whether somebody has this address."""
        try:
            keyspace = self._there().keyspace
            with self._lent() as session:
                return address in there(session, keyspace)
        except (psycopg.Error, StoreError):
            return False

    def close(self) -> None:
        """Be called no more, unless it is as an engine: that is the engine's to end."""
        with self._guard:
            presence, self._presence = (self._presence, None) if self._own else (None, self._presence)
            self._closed = True
        if presence is not None:
            presence.close()
