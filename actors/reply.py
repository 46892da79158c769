"""The answer to a message, set after the commit that made it true."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import pykka

from ..dsl.errors import StoreError

__all__ = ["Elsewhere", "Errand", "Instead", "Listening", "NoAnswer", "Reply"]


class Elsewhere(NamedTuple):
    """The answer to a message for a run that another engine drives: nothing was done with it."""

    execution_id: str


class Listening(Protocol):
    """Whoever is given an answer."""

    def set(self, value: Any = None) -> None:
        """Take the answer."""
        ...

    def set_exception(self, exc_info: Any = None) -> None:
        """Take an exception as the answer."""
        ...


class NoAnswer(pykka.Timeout, TimeoutError):
    """The answer did not come in time."""


class Reply(pykka.Future[Any]):
    """A future whose time-out is real time, also when a test has frozen the clock."""

    _get_hook = None
    """What pykka's initialiser sets for each future; here it is the class's."""

    def __init__(self) -> None:  # one for each message that is answered
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

    __slots__ = ("_answer", "reply")

    def __init__(self, reply: Any, answer: Any) -> None:
        self.reply = reply
        self._answer = answer

    def set(self, value: Any | None = None) -> None:
        """Give the answer, unless nothing was done because the run is driven elsewhere."""
        if self.reply is not None:
            self.reply.set(value if isinstance(value, Elsewhere) else self._answer)

    def set_exception(self, exc_info: Any = None) -> None:
        """Give the error."""
        if self.reply is not None:
            self.reply.set_exception(exc_info)


class Errand:
    """The answer to a message that came through the inbox.

    Whatever turn gives the answer deletes the message, in its commit.

    Attributes:
        row: The message's number.
        listening: Who waits for the answer, if anybody does.
    """

    __slots__ = ("_done", "listening", "row")

    def __init__(self, row: int, done: Callable[[Errand, Any], None]) -> None:
        """Make one; ``done`` is given the answer, once that is on disk, or why there is none."""
        self.row = row
        self.listening: list[Listening] = []
        self._done = done

    @staticmethod
    def consumes(answer: Any) -> bool:
        """Tell whether this answer means that the message was acted on."""
        return not isinstance(answer, Elsewhere | StoreError)

    @staticmethod
    def consumed_by(replies: Iterable[tuple[Any, Any]]) -> list[int]:
        """Return the numbers of the messages that these answers are for, and that were acted on."""
        return [
            errand.row
            for reply, answer in replies
            if type(errand := reply.reply if type(reply) is Instead else reply) is Errand and errand.consumes(answer)
        ]

    def set(self, value: Any = None) -> None:
        """Take the answer."""
        self._done(self, value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Take an exception as the answer."""
        self._done(self, exc_info[1])
