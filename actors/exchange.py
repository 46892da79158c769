"""The exchange: how the processes that use one database call each other, whatever the database is.

With a file they are on one machine, and each engine has a socket beside the file. With a server they may be anywhere,
and call each other by way of the server.
"""

from __future__ import annotations

from typing import Protocol

from ..persistence.kind import Kind
from . import wire
from .switchboard import Switchboard
from .wire import Line

__all__ = ["Exchange", "Listener", "exchange_of"]


class Listener(Protocol):
    """Where an engine is called."""

    def fileno(self) -> int:
        """Return the descriptor to wait on for a call."""
        ...

    def accept(self) -> Line | None:
        """Return the line on which somebody calls; None when nobody could call for a while, and now can again.

        Raises:
            OSError: Whoever called has hung up.
        """
        ...

    def close(self) -> None:
        """Be there for nobody any more."""
        ...


class Exchange(Protocol):
    """Makes lines; from any thread.

    Attributes:
        may_lose_calls: Whether somebody may call in vain though the engine is there.
    """

    may_lose_calls: bool

    def listen(self, engine: int) -> Listener:
        """Return where an engine of this process is called.

        Raises:
            OSError: It cannot be.
        """
        ...

    def connect(self, engine: int) -> Line | None:
        """Return a line to an engine, or None if it does not listen."""
        ...

    def remove(self, engine: int) -> None:
        """Remove what an engine that is gone has left."""
        ...


class _Sockets:
    """Sockets beside a file."""

    may_lose_calls = False

    def __init__(self, path: str) -> None:
        self._path = path

    def listen(self, engine: int) -> Listener:
        return _SocketListener(self._path, engine)

    def connect(self, engine: int) -> Line | None:
        return wire.connect(self._path, engine)

    def remove(self, engine: int) -> None:
        wire.remove(self._path, engine)


class _SocketListener:
    def __init__(self, path: str, engine: int) -> None:
        self._socket = wire.listen(path, engine)

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> Line:
        connection, _ = self._socket.accept()
        return Line(connection)

    def close(self) -> None:
        self._socket.close()


def exchange_of(database: Kind) -> Exchange:
    """Return the exchange of a database."""
    return _Sockets(database.path) if database.notices is None else Switchboard(database.notices)
