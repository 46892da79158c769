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
    """An engine that is dead, while its runs are taken over.

    There is nothing to hold: who takes it over is told by its row, and its own right to write ends with that.
    """

    def __init__(self, session: Session, engine: int) -> None:
        self._session = session
        self._engine = engine

    def close(self) -> None:
        """Leave it as it is."""

    def remove(self) -> None:
        """Remove its lease, if it had one, with what was sent to it."""
        with contextlib.suppress(psycopg.Error):
            self._session.execute("DELETE FROM workflow_presence WHERE address = $1", (self._engine,))
