"""How the server is reached: the place it was given by, and sessions of several sorts.

Sessions are named after the engine they belong to, so that whoever takes it over can end them. Where a pooler lends
them by transaction, nothing is the session's: what it would begin with, each transaction begins with.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg.types.numeric import Int8Dumper

from ...dsl.errors import StoreUnavailable, UsageError
from ..faults import NOTHING_WRITTEN
from .dialect import translate
from .faults import explain
from .link import Numbered

__all__ = ["OLDEST", "Server", "Session", "StatementKey", "pooler_in_between"]

OLDEST: Final = 14
"""The first release that ends a session by itself that has fallen silent."""

_SILENCE: Final = 3
"""Seconds after which the server, and the system below, give up a peer that says nothing."""

_KEPT_PREPARED = 400
_POOLED: Final = {"true": True, "false": False}
_BEGINNINGS: Final = ("BEGIN", "BEGIN IMMEDIATE")
# A server may be set to less; if it is set to more, that is not for us to lessen.
_DURABLE: Final = """
    SELECT set_config('synchronous_commit', 'on', {}) WHERE current_setting('synchronous_commit') = 'off'
"""
_REFUSED: Final = "unsupported startup parameter"
"""What poolers say to settings that a session is to begin with."""
_IN_USER: Final = re.compile(r"(://[^:@/]*:)[^@/]*@")
_IN_QUERY: Final = re.compile(r"([?&](?:password|sslpassword)=)[^&]*")


class _Plain(Int8Dumper):
    """Sends an integer without a type, which the server takes from where it stands: one statement is prepared once."""

    oid = 0


StatementKey: TypeAlias = tuple[str, tuple[int, ...]]
"""A statement in SQLite's words, and the types of its parameters."""


class Session(psycopg.Connection[Any]):
    """A connection to the server.

    Attributes:
        prepared: What the statements are called that it knows from flights; None where nothing is the session's.
    """

    prepared: dict[StatementKey, bytes] | None

    def make_room(self) -> None:
        """Have the server forget what it knows from flights, if that is much; when no transaction is open."""
        if self.prepared is not None and len(self.prepared) >= _KEPT_PREPARED:
            self.prepared.clear()
            self.execute("DEALLOCATE ALL")


class Server:
    """One database on a server.

    Attributes:
        url: What it was given by, secrets included.
        name: The same without its password, for messages.
        is_pooled: Whether a pooler stands before it that lends sessions by transaction.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        plain, self.is_pooled = _plain(url)
        try:
            self._given = {key: value for key, value in conninfo.conninfo_to_dict(plain).items() if value is not None}
        except psycopg.Error as error:
            raise UsageError(f"this is no address of a PostgreSQL database: {str(error).strip()}") from error
        self.name = _shown(url)
        self._process = os.getpid()

    def beginning(self, settings: dict[str, object], *, durable: bool) -> tuple[str, ...]:
        """Return the statements with which a transaction begins in sessions that were connected with these settings."""
        if not self.is_pooled:
            return ("BEGIN",)
        local = (f"SET LOCAL {key} = '{value}'" for key, value in settings.items())
        return ("BEGIN", *local, *([_DURABLE.format("true")] if durable else []))

    def spelling(self, settings: dict[str, object], *, durable: bool) -> Callable[[str], str]:
        """Return how statements are spelled for sessions that were connected with these settings."""
        begin = "; ".join(self.beginning(settings, durable=durable))
        return lambda sql: begin if sql in _BEGINNINGS else translate(sql)

    def connect(self, *, purpose: str, settings: dict[str, object], durable: bool = False) -> Session:
        """Open a session.

        Args:
            purpose: What it is called in the server's list of sessions.
            settings: The server's settings for it; for a pooled one they are in the `spelling` of its transactions.
            durable: Whether its commits wait for the disk, though the server is set to do without; as for settings.

        Raises:
            StoreUnavailable: The server cannot be reached, or refuses us.
            UsageError: There is a pooler in between that was not spoken of.
        """
        given = dict(self._given)
        said = () if self.is_pooled else settings.items()
        options = " ".join([str(given.pop("options", "")), *(f"-c {key}={value}" for key, value in said)])
        given.setdefault("connect_timeout", "10")
        given.setdefault("tcp_user_timeout", str(_SILENCE * 1000))
        given.setdefault("keepalives_idle", str(_SILENCE))
        given.setdefault("keepalives_interval", "1")
        given.setdefault("keepalives_count", "2")
        given["application_name"] = purpose
        try:
            session = Session.connect(
                conninfo.make_conninfo("", **given, options=options.strip()),
                autocommit=True,
                prepare_threshold=None,  # flights do it: psycopg would have the server forget it after a rollback
                cursor_factory=Numbered,
            )
        except psycopg.Error as error:
            if _REFUSED in str(error) and not self.is_pooled:
                raise pooler_in_between(self.name, str(error).strip()) from error
            raise explain(error, self.name, NOTHING_WRITTEN) from error
        if session.info.server_version < OLDEST * 10_000:
            session.close()
            raise StoreUnavailable(
                f"{self.name!r} is PostgreSQL {session.info.server_version // 10_000}: use {OLDEST} or later"
            )
        session.prepared = None if self.is_pooled else {}
        session.adapters.register_dumper(int, _Plain)
        _open_sessions.add(session)
        if durable and not self.is_pooled:
            session.execute(_DURABLE.format("false"))
        return session

    def rename(self, session: Session, purpose: str) -> None:
        """Have a session be called otherwise in the server's list; a pooled one is nobody's."""
        if not self.is_pooled:
            session.execute("SELECT set_config('application_name', $1, false)", (purpose,))


def pooler_in_between(name: str, why: str) -> UsageError:
    """Return the error for an address behind which there is a pooler, though it does not say so."""
    mark = "&" if "?" in name else "?"
    return UsageError(
        f"a pooler seems to stand before {name!r} ({why}): if it is to, say so in the address, with {mark}pooled=true"
    )


def _plain(url: str) -> tuple[str, bool]:
    """Return an address without what only we understand, and whether that says that it is a pooler's."""
    place, _, query = url.partition("?")
    parts = query.split("&")
    said = [part.removeprefix("pooled=").lower() for part in parts if part.startswith("pooled=")]
    if unknown := [value for value in said if value not in _POOLED]:
        raise UsageError(f"pooled must be true or false in the address of a database, not {unknown[0]!r}")
    left = "&".join(part for part in parts if not part.startswith("pooled="))
    return f"{place}?{left}" if left else place, any(_POOLED[value] for value in said)


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
