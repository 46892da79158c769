"""What the processes on one database say to each other, and how: lines of JSON on a socket beside the file.

Nothing that is said here needs to be remembered. What does is a row, written before it is spoken of: a line only saves
somebody from having to look. So a line may be lost at any moment, with whoever was to read it.

This file must never look into the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from ..dsl import errors
from ..dsl.errors import EngineError, InternalError

__all__ = [
    "Answer",
    "Changed",
    "Failure",
    "Hello",
    "Left",
    "Line",
    "Look",
    "SchedulesChanged",
    "SlotsGiven",
    "Spoken",
    "Take",
    "TakenOver",
    "Watch",
    "connect",
    "error_of",
    "failure_of",
    "listen",
    "remove",
]

_LONGEST_ADDRESS: Final = 90
"""Bytes; the system's own limit is 104 or 108."""

_LONGEST_NAME: Final = 32
_AT_ONCE: Final = 1 << 16
_BACKLOG: Final = 128


class Take(msgspec.Struct, frozen=True, tag=True):
    """Anybody to an engine: there is a message in the inbox; answer when it is done."""

    row: int


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The engine: the message was acted on, and this is the answer."""

    row: int
    value: str | int | bool | None = None


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The engine: the message was refused; what an error is made of again."""

    row: int
    error: str
    message: str
    fields: dict[str, str | None]


class Left(msgspec.Struct, frozen=True, tag=True):
    """The engine: the message was left for another one."""

    row: int


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Anybody to an engine: say when this run has ended, or whenever it has changed."""

    execution_id: str
    every_change: bool = False


class Changed(msgspec.Struct, frozen=True, tag=True):
    """The engine: there is news of this run; also said when the watch begins."""

    execution_id: str


class Hello(msgspec.Struct, frozen=True, tag=True):
    """An engine to another: this is my number, and these are the workflows I can drive, each with its version."""

    engine: int
    kinds: list[tuple[str, str | None]]


class Look(msgspec.Struct, frozen=True, tag=True):
    """An engine to another: runs were handed over to you."""


class SchedulesChanged(msgspec.Struct, frozen=True, tag=True):
    """An engine to another: schedules were changed."""


class SlotsGiven(msgspec.Struct, frozen=True, tag=True):
    """An engine to another: runs of yours were given slots."""


class TakenOver(msgspec.Struct, frozen=True, tag=True):
    """An engine to another: you were taken for dead, and your runs are mine now."""


Spoken: TypeAlias = (
    Take | Answer | Failure | Left | Watch | Changed | Hello | Look | SchedulesChanged | SlotsGiven | TakenOver
)
"""Any of the above."""

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Spoken)


class Line:
    """One end of a connection, which never blocks.

    Attributes:
        engine: Number of the engine at the other end, once it has said hello.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self._socket = connection
        self._rest = b""
        self.engine: int | None = None
        _open_sockets.add(connection)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def say(self, *messages: Spoken) -> bool:
        """Say something; a listener that does not keep up is hung up on. Tell whether it was said."""
        data = b"".join(_encode(message) + b"\n" for message in messages)
        try:
            if self._send(data):
                return True
        except OSError:
            pass
        self.hang_up()
        return False

    def _send(self, data: bytes) -> bool:
        return self._socket.send(data) == len(data)

    def hear(self) -> list[Spoken] | None:
        """Return what was said since the last time, without waiting; None when the other end is gone."""
        try:
            data = self._socket.recv(_AT_ONCE)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            return [_decoder.decode(line) for line in lines]
        except msgspec.MsgspecError:  # another release, or nobody of ours
            return None

    def wait(self, seconds: float) -> bool:
        """Wait for the other end to say something or to go, for so many real seconds; tell whether it did."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(max(0.0, seconds) * 1000))

    def hang_up(self) -> None:
        """Close this end; harmless the second time."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def listen(path: str, engine: int) -> socket.socket:
    """Return the socket on which an engine listens.

    Raises:
        OSError: The file system knows no sockets.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        address = _address(path, engine)
        with contextlib.suppress(FileNotFoundError):
            Path(address).unlink()
        with _short(address) as short:
            listener.bind(short)
        Path(address).chmod(Path(path).stat().st_mode & 0o777)  # who may use the database may call
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    _open_sockets.add(listener)
    return listener


def connect(path: str, engine: int) -> Line | None:
    """Return a line to an engine, or None if it does not listen."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(0)  # a stopped process with a full backlog is not waited for
    try:
        with _short(_address(path, engine)) as short:
            connection.connect(short)
    except OSError:
        connection.close()
        return None
    return Line(connection)


def remove(path: str, engine: int) -> None:
    """Remove what the socket of an engine that is gone has left in the folder."""
    with contextlib.suppress(OSError):
        Path(_address(path, engine)).unlink()


def _address(path: str, engine: int) -> str:
    folder, name = os.path.split(path)
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{folder}/{name}-bell-{engine}"


@contextlib.contextmanager
def _short(address: str) -> Iterator[str]:
    """Yield a name of this file that is short enough for the system, by way of a link to its folder."""
    if len(os.fsencode(address)) <= _LONGEST_ADDRESS:
        yield address
        return
    folder, name = os.path.split(address)
    with tempfile.TemporaryDirectory(prefix="perdure-") as link:
        Path(link, "d").symlink_to(folder)
        yield f"{link}/d/{name}"


_KINDS: Final[dict[str, type[EngineError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, EngineError)
}


def failure_of(row: int, error: BaseException) -> Failure:
    """Return an error as it is spoken of."""
    fields = {name: value for name, value in vars(error).items() if value is None or isinstance(value, str)}
    return Failure(row, type(error).__name__, str(error), fields)


def error_of(failure: Failure) -> EngineError:
    """Return the error that was spoken of: one of ours, by its name."""
    kind = _KINDS.get(failure.error, InternalError)
    error = kind.__new__(kind)
    Exception.__init__(error, failure.message)
    vars(error).update(failure.fields)
    return error


_open_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _close_all() -> None:
    # A forked child would keep a connection alive that its parent's death should end.
    for each in list(_open_sockets):
        each.close()


os.register_at_fork(after_in_child=_close_all)
