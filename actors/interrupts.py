"""Ctrl-C while the main thread works for the engine: it is put off until that work is done.

Whoever brings a letter to an idle core runs its cycle. The main thread may be interrupted between any two instructions,
and half a cycle would leave a lock taken, or a letter that nobody answers.
"""

from __future__ import annotations

# Its functions without those of `signal` around them, which take twenty times as long.
import _signal  # type: ignore[import-not-found]  # typeshed leaves it out
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["uninterrupted"]


def uninterrupted(action: Callable[..., None], *arguments: Any) -> None:
    """Do something; an interrupt that comes meanwhile is handled afterwards, as whoever set a handler wants it."""
    handler: Any = _signal.getsignal(_signal.SIGINT) if threading.get_ident() == _main_thread() else None
    if not callable(handler):  # nothing of Python's runs on an interrupt
        action(*arguments)
        return
    came: list[tuple[int, Any]] = []
    _signal.signal(_signal.SIGINT, lambda *interrupt: came.append(interrupt))
    try:
        action(*arguments)
    finally:
        _signal.signal(_signal.SIGINT, handler)
    if came:
        handler(*came[0])


def _main_thread() -> int | None:
    return threading.main_thread().ident
