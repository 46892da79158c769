"""The answer to a message, set after the commit that made it true."""

from __future__ import annotations

import threading
from typing import Any

import pykka

__all__ = ["Instead", "NoAnswer", "Reply"]


class NoAnswer(pykka.Timeout, TimeoutError):
    """The answer did not come in time."""


class Reply(pykka.Future[Any]):
    """A future whose time-out is real time, also when a test has frozen the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._done = threading.Lock()
        self._done.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def get(self, *, timeout: float | None = None) -> Any:
        """Wait for the answer and return it, or raise it if it is an exception.

        Raises:
            NoAnswer: it did not come within so many real seconds.
        """
        if not self._done.acquire(timeout=-1 if timeout is None else timeout):
            msg = f"no answer within {timeout} s"
            raise NoAnswer(msg)
        self._done.release()
        if self._error is not None:
            raise self._error
        return self._value

    def set(self, value: Any | None = None) -> None:
        """Give the answer; only the first one counts."""
        if self._done.locked():
            self._value = value
            self._done.release()

    def set_exception(self, exc_info: Any = None) -> None:
        """Give an exception as the answer."""
        if self._done.locked():
            self._error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
            self._done.release()


class Instead:
    """Passes errors on to whoever waits for an answer, and gives this answer in the place of any other."""

    __slots__ = ("_answer", "_reply")

    def __init__(self, reply: Any, answer: Any) -> None:
        self._reply = reply
        self._answer = answer

    def set(self, value: Any | None = None) -> None:
        """Give the answer."""
        del value
        if self._reply is not None:
            self._reply.set(self._answer)

    def set_exception(self, exc_info: Any = None) -> None:
        """Give the error."""
        if self._reply is not None:
            self._reply.set_exception(exc_info)
