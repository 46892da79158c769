"""Where a thread sleeps until one of its lines has something to say, or another thread wakes it."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import Any

__all__ = ["Sleeper"]

_AT_ONCE = 4096


class Sleeper:
    """A selector that can be woken."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._pillow, self._waker = socket.socketpair()
        for end in (self._pillow, self._waker):
            end.settimeout(0)
        self._selector.register(self._pillow, selectors.EVENT_READ)

    def register(self, line: Any, what: Any) -> None:
        """Have `sleep` return something when this line has something to say."""
        self._selector.register(line, selectors.EVENT_READ, what)

    def unregister(self, line: Any) -> None:
        """Take that back."""
        self._selector.unregister(line)

    def sleep(self, seconds: float | None) -> list[Any]:
        """Sleep for so many real seconds at most; return what belongs to the lines that have something to say."""
        found = []
        for key, _ in self._selector.select(None if seconds is None else max(0.0, seconds)):
            if key.fileobj is self._pillow:
                with contextlib.suppress(BlockingIOError):
                    self._pillow.recv(_AT_ONCE)
            else:
                found.append(key.data)
        return found

    def wake(self) -> None:
        """Have `sleep` return; from any thread."""
        with contextlib.suppress(OSError):  # full: it is awake; closed: it is past caring
            self._waker.send(b"!")

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
        self._pillow.close()
        self._waker.close()
