"""Signals of the system while the main thread works for the engine, or waits for it.

Rules:

1. Whoever brings a letter to an idle core runs its cycle. The main thread may be interrupted between any two
   instructions, and half a cycle would leave a lock taken, or a letter that nobody answers: so what a signal calls for
   is put off until the cycle is done.
2. A signal that comes in the instant before a thread falls asleep does not wake it. So the main thread sleeps in naps.
"""

from __future__ import annotations

# Its functions without those of `signal` around them, which take twenty times as long.
import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from . import clock

__all__ = ["News", "next_of", "uninterrupted"]

_SIGNALS: Final = tuple(
    getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM") if hasattr(_signal, name)
)
"""Those on which programs like to raise something."""

_NAP: Final = 0.5


class News(Protocol):
    """A queue."""

    def get(self, *, timeout: float | None = None) -> Any:
        """Take the next item out, or raise `queue.Empty`."""
        ...


def uninterrupted(action: Callable[..., None], *arguments: Any) -> None:
    """Do something; signals that come meanwhile are handled afterwards, as whoever set their handlers wants it."""
    handlers = _handlers() if threading.get_ident() == _main_thread() else []
    if not handlers:  # nothing of Python's runs on a signal
        action(*arguments)
        return
    came: list[tuple[int, Any]] = []
    wanted = dict(handlers)
    try:
        for number in wanted:
            _signal.signal(number, lambda *signal: came.append(signal))
        action(*arguments)
    finally:
        _give_back(handlers)
    for number, frame in came:
        wanted[number](number, frame)


def _handlers() -> list[tuple[int, Any]]:
    return [(number, handler) for number in _SIGNALS if callable(handler := _signal.getsignal(number))]


def _give_back(handlers: list[tuple[int, Any]]) -> None:
    """Set all handlers again, though the first of them may have something to do already, and raise."""
    try:
        _signal.signal(*handlers.pop())
    finally:
        if handlers:
            _give_back(handlers)


def next_of(news: News, timeout: float | None = None) -> Any:
    """Wait for the next item, for so many real seconds; on the main thread, not longer than a nap at a time.

    Raises:
        queue.Empty: None came in time.
    """
    if threading.get_ident() != _main_thread():
        return news.get(timeout=timeout)
    deadline = None if timeout is None else clock.monotonic() + timeout
    while True:
        left = _NAP if deadline is None else min(_NAP, max(0.0, deadline - clock.monotonic()))
        try:
            return news.get(timeout=left)
        except queue.Empty:
            if deadline is not None and clock.monotonic() >= deadline:
                raise


def _main_thread() -> int | None:
    return threading.main_thread().ident
