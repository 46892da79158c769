"""How the server is reached: the place it was given by, and sessions of several sorts.

Sessions are named after the engine they belong to, so that whoever takes it over can end them.
"""

from __future__ import annotations

import os
import re
import weakref
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg.types.numeric import Int8Dumper

from ...dsl.errors import StoreUnavailable, UsageError
from ..faults import NOTHING_WRITTEN
from .faults import explain
from .link import Numbered

__all__ = ["OLDEST", "Server", "Session"]

OLDEST: Final = 14
"""The first release that ends a session by itself that has fallen silent."""

_SILENCE: Final = 3
"""Seconds after which the server, and the system below, give up a peer that says nothing."""

_KEPT_PREPARED: Final = 400
_IN_USER: Final = re.compile(r"(://[^:@/]*:)[^@/]*@")
_IN_QUERY: Final = re.compile(r"([?&](?:password|sslpassword)=)[^&]*")


class _Plain(Int8Dumper):
    """Sends an integer without a type, which the server takes from where it stands: one statement is prepared once."""

    oid = 0


Session: TypeAlias = psycopg.Connection[Any]
"""A connection to the server."""


class Server:
    """One database on a server.

    Attributes:
        url: What it was given by, secrets included.
        name: The same without its password, for messages.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._given = {key: value for key, value in conninfo.conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error as error:
            raise UsageError(f"this is no address of a PostgreSQL database: {str(error).strip()}") from error
        self.name = _shown(url)
        self._process = os.getpid()

    def connect(self, *, purpose: str, settings: dict[str, object]) -> Session:
        """Open a session.

        Args:
            purpose: What it is called in the server's list of sessions.
            settings: The server's settings for it.

        Raises:
            StoreUnavailable: The server cannot be reached, or refuses us.
        """
        given = dict(self._given)
        options = " ".join([str(given.pop("options", "")), *(f"-c {key}={value}" for key, value in settings.items())])
        given.setdefault("connect_timeout", "10")
        given.setdefault("tcp_user_timeout", str(_SILENCE * 1000))
        given.setdefault("keepalives_idle", str(_SILENCE))
        given.setdefault("keepalives_interval", "1")
        given.setdefault("keepalives_count", "2")
        given["application_name"] = purpose
        try:
            session = psycopg.Connection[Any].connect(
                conninfo.make_conninfo("", **given, options=options.strip()),
                autocommit=True,
                prepare_threshold=2,
                cursor_factory=Numbered,
            )
        except psycopg.Error as error:
            raise explain(error, self.name, NOTHING_WRITTEN) from error
        if session.info.server_version < OLDEST * 10_000:
            session.close()
            raise StoreUnavailable(
                f"{self.name!r} is PostgreSQL {session.info.server_version // 10_000}: use {OLDEST} or later"
            )
        session.prepared_max = _KEPT_PREPARED
        session.adapters.register_dumper(int, _Plain)
        _open_sessions.add(session)
        return session


def _shown(url: str) -> str:
    return _IN_QUERY.sub(r"\1***", _IN_USER.sub(r"\1***@", url))


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _close_all() -> None:
    # A forked child would keep a session open that its parent's death should end; only the descriptor may be closed:
    # a farewell would end the parent's session.
    for session in list(_open_sessions):
        if not session.closed:
            os.close(session.fileno())


os.register_at_fork(after_in_child=_close_all)
