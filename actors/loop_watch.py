"""Tells of a coroutine that blocks the engine's event loop, while it does: nobody else's coroutine gets a turn.

It sends a beat through the loop every now and then, while there is anything in it. One that does not come back in time
is blocked by the task that is current; what line that stands at says its thread's stack. It costs nothing per step.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from .event_loop import EngineLoop

__all__ = ["LoopWatch"]

_CALLERS = ("asyncio", __name__.rpartition(".")[0])
"""Modules that call the user's code, and those of their names that begin so."""

_OURS = (*_CALLERS, f"{__name__.partition('.')[0]}.")

logger = logging.getLogger("perdure")


class LoopWatch:
    """The body of a thread.

    Attributes:
        patience: Real seconds after which a beat is overdue.
    """

    def __init__(
        self,
        loop: EngineLoop,
        *,
        patience: float,
        is_busy: Callable[[], bool],
        describe: Callable[[Any], str],
    ) -> None:
        self._loop = loop
        self._is_busy = is_busy
        self._describe = describe
        self._closed = threading.Event()
        self.patience = patience

    def run(self) -> None:
        """Watch until `close` is called."""
        while not self._closed.wait(self.patience):
            if self._is_busy():
                self._send_beat()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()

    def _send_beat(self) -> None:
        beat = threading.Event()
        try:
            self._loop.call_soon_threadsafe(beat.set)
        except RuntimeError:  # the loop was closed
            return
        if beat.wait(self.patience) or self._closed.is_set():
            return
        self._report()
        while not beat.wait(self.patience) and not self._closed.is_set():
            pass  # once is enough

    def _report(self) -> None:
        task, line = asyncio.current_task(self._loop), self._where()
        if task is None or line is None:  # the machine or the database is slow, and nobody is to blame
            return
        logger.warning(
            "%s has blocked the engine's event loop for more than %g s, so no other coroutine goes on: it should await,"
            " or be a def handler, which gets a thread. It stands at: %s",
            self._describe(task),
            self.patience,
            line,
        )

    def _where(self) -> str | None:
        """Return the line of the user's function at which the loop's thread stands, whatever it has called there.

        None if there is no such function: the thread does the engine's own work, such as to commit a result.
        """
        frame = sys._current_frames().get(self._loop.thread)  # noqa: SLF001 - the documented way to ask
        found = None
        while frame is not None:
            if frame.f_back is not None and not _is_of(frame, _OURS) and _is_of(frame.f_back, _CALLERS):
                found = frame
            frame = frame.f_back
        return None if found is None else traceback.format_stack(found, limit=1)[0].strip()


def _is_of(frame: FrameType, modules: tuple[str, ...]) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(modules)
