"""What says that an engine lives, and what is taken of one that is dead."""

from __future__ import annotations

import contextlib

import psycopg

from .notices import ServerNotices
from .presence import Presence
from .server import Session

__all__ = ["Other", "Own"]


class Own:
    """The presence of an engine of this process."""

    def __init__(self, presence: Presence, notices: ServerNotices) -> None:
        self._presence = presence
        self._notices = notices

    def close(self) -> None:
        """Be there no longer."""
        self._notices.leave(self._presence)
        self._presence.close()

    def remove(self) -> None:
        """Be there no longer: nothing is left behind."""
        self.close()


class Other:
    """The lock of an engine that is dead, while its runs are taken over."""

    def __init__(self, session: Session, keyspace: int, engine: int) -> None:
        self._session = session
        self._key = (keyspace, engine)

    def close(self) -> None:
        """Let go of it; a session that has ended has let go already."""
        with contextlib.suppress(psycopg.Error):
            self._session.execute("SELECT pg_advisory_unlock($1, $2)", self._key)

    def remove(self) -> None:
        """Let go of it: nothing is left behind."""
        self.close()
