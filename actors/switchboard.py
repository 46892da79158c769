"""The switchboard: lines between processes by way of the notices of a database server.

A line is what `wire` says, cut into notices and put together again at the other end. What arrives goes into a pair of
sockets, so that whoever listens waits as for any other line.

Rules:

1. A line is known at both ends by who has called, and by a number of the caller's.
2. Nothing is ever waited for: who does not read what arrives is hung up on.
3. When the other end dies, the database says so, and the line is hung up.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
from typing import Final, Literal

import msgspec

from ..dsl.errors import StoreError
from ..persistence.notices import Notices
from .wire import Line

__all__ = ["Switchboard"]

_PIECE: Final = 1800
"""Characters in one notice: a server takes 8,000 bytes, and a character can need four of them."""


class _Packet(msgspec.Struct, frozen=True, array_like=True):
    """One notice: which line, who sends it, and what."""

    caller: int
    number: int
    sender: int
    what: Literal["say", "shut"]
    text: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(_Packet)

_Key = tuple[int, int]


class _Trunk(Line):
    """One end of a line by way of the database."""

    def __init__(self, board: Switchboard, key: _Key, mine: int, peer: int) -> None:
        near, self._far = socket.socketpair()
        self._far.settimeout(0)
        super().__init__(near)
        self._board = board
        self._key = key
        self.mine = mine
        self.peer = peer

    def _send(self, data: bytes) -> bool:
        return self._board.send(self._key, data.decode())

    def deliver(self, text: str) -> bool:
        """Let the reader have what has arrived; tell whether there is room for it."""
        data = text.encode()
        try:
            return self._far.send(data) == len(data)
        except OSError:
            return False

    def cut(self) -> None:
        """Let the reader find that the other end is gone."""
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)  # a forked child keeps it from being closed
        self._far.close()

    def hang_up(self) -> None:
        """Close this end, and have the other end told; harmless the second time."""
        self._board.forget(self._key)
        self._far.close()
        super().hang_up()


class _Calls:
    """Where an engine is called: lines that others have begun."""

    def __init__(self, board: Switchboard, engine: int) -> None:
        self._board = board
        self.engine = engine
        self._waiting: queue.SimpleQueue[_Trunk | None] = queue.SimpleQueue()
        self._near, self._far = socket.socketpair()
        self._near.settimeout(0)
        self._far.settimeout(0)

    def fileno(self) -> int:
        return self._near.fileno()

    def put(self, trunk: _Trunk | None) -> None:
        self._waiting.put(trunk)
        with contextlib.suppress(OSError):
            self._far.send(b"!")

    def accept(self) -> Line | None:
        self._near.recv(1)
        return self._waiting.get_nowait()

    def close(self) -> None:
        self._board.close(self)
        while not self._waiting.empty():
            if (trunk := self._waiting.get()) is not None:
                trunk.hang_up()
        self._near.close()
        self._far.close()


class Switchboard:
    """The lines of one process through one database.

    Attributes:
        may_lose_calls: True: notices are lost while a session is away.
    """

    may_lose_calls = True

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._guard = threading.RLock()
        self._trunks: dict[_Key, _Trunk] = {}
        self._numbers = itertools.count(1)
        self._calls: _Calls | None = None
        self._attending = False

    # ---- as an exchange

    def listen(self, engine: int) -> _Calls:
        """Return where this process is called."""
        with self._guard:
            self._calls = _Calls(self, engine)
        self._attend()
        return self._calls

    def connect(self, engine: int) -> Line | None:
        """Return a line to an engine, or None if it is not there."""
        self._attend()
        if not self._notices.is_there(engine):
            return None
        try:
            mine = self._notices.address
        except StoreError:  # the store was closed meanwhile
            return None
        return self._add((mine, next(self._numbers)), mine, engine)

    def remove(self, engine: int) -> None:
        """Do nothing: an engine that is gone has left nothing."""

    def close(self, calls: _Calls) -> None:
        """Be there for nobody any more."""
        with self._guard:
            if self._calls is calls:
                self._calls = None

    # ---- lines

    def _attend(self) -> None:
        with self._guard:
            begins, self._attending = not self._attending, True
        if begins:
            self._notices.attend(self)

    def _add(self, key: _Key, mine: int, peer: int) -> _Trunk:
        trunk = _Trunk(self, key, mine, peer)
        with self._guard:
            self._trunks[key] = trunk
        self._notices.ask_after(peer, wanted=True)
        return trunk

    def send(self, key: _Key, text: str) -> bool:
        """Send a piece of a line to its other end; tell whether it is on its way."""
        with self._guard:
            trunk = self._trunks.get(key)
        if trunk is None:
            return False
        pieces = (text[begin : begin + _PIECE] for begin in range(0, len(text), _PIECE))
        return all(self._post(key, trunk, "say", piece) for piece in pieces)

    def _post(self, key: _Key, trunk: _Trunk, what: Literal["say", "shut"], text: str = "") -> bool:
        return self._notices.send(trunk.peer, _encode(_Packet(*key, trunk.mine, what, text)).decode())

    def forget(self, key: _Key) -> None:
        """Have a line's other end told that this one was closed."""
        trunk = self._drop(key)
        if trunk is not None:
            self._post(key, trunk, "shut")

    def _drop(self, key: _Key) -> _Trunk | None:
        with self._guard:
            trunk = self._trunks.pop(key, None)
            last = trunk is not None and all(other.peer != trunk.peer for other in self._trunks.values())
        if trunk is not None and last:
            self._notices.ask_after(trunk.peer, wanted=False)
        return trunk

    # ---- what the database tells

    def arrived(self, text: str) -> None:
        """Hear what somebody has sent to this process."""
        try:
            packet = _decoder.decode(text)
        except msgspec.MsgspecError:  # another release, or nobody of ours
            return
        key = (packet.caller, packet.number)
        with self._guard:
            trunk = self._trunks.get(key)
            calls = self._calls
        if packet.what == "shut":
            if trunk is not None and self._drop(key) is not None:
                trunk.cut()
            return
        if trunk is None:
            if calls is None or packet.caller != packet.sender:
                return
            trunk = self._add(key, calls.engine, packet.sender)
            calls.put(trunk)
        if not trunk.deliver(packet.text) and self._drop(key) is not None:
            trunk.cut()

    def gone(self, address: int) -> None:
        """Hear that whoever had this address is gone: hang up."""
        with self._guard:
            keys = [key for key, trunk in self._trunks.items() if trunk.peer == address]
        for key in keys:
            if (trunk := self._drop(key)) is not None:
                trunk.cut()

    def regained(self) -> None:
        """Hear that notices may have been lost: hang up everywhere, so that everybody looks."""
        with self._guard:
            peers = {trunk.peer for trunk in self._trunks.values()}
            calls = self._calls
        for peer in peers:
            self.gone(peer)
        if calls is not None:
            calls.put(None)
