"""Signs of life of a handler that runs as an activity, and what it tells meanwhile.

Temporal takes a worker for dead whose activity gives none for a while, and learns of a cancellation by them. They carry
the handler's last checkpoint, which the next attempt begins with.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from temporalio import activity

from ..actors.attempt import Attempt
from ..persistence.codec import decode, encode

__all__ = ["SignsOfLife"]

_PER_LIMIT = 3


class SignsOfLife:
    """Gives signs of life while a handler runs."""

    def __init__(self, attempt: Attempt, limit: timedelta) -> None:
        self._attempt = attempt
        self._pause = limit.total_seconds() / _PER_LIMIT
        details = activity.info().heartbeat_details
        self._checkpoint: str | None = details[0] if details else None
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # it knows the activity
        self._task: asyncio.Task[None] | None = None
        attempt.notes = self  # type: ignore[assignment]  # it takes what a handler tells, as the engine's does

    async def __aenter__(self) -> Self:
        """Begin."""
        self._task = asyncio.create_task(self._give())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        assert self._task is not None
        self._task.cancel()

    async def _give(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self._pause)

    def _beat(self) -> None:
        activity.heartbeat(*(() if self._checkpoint is None else (self._checkpoint,)))

    # ---- what handlers tell, from any thread

    def tell_progress(self, done: float, total: float | None, note: str | None) -> None:
        """Give a sign of life; there is no place for the progress itself."""
        self._soon()

    def keep(self, value: Any) -> None:
        """Keep a value for the next attempt."""
        self._checkpoint = encode(value)
        self._soon()

    def kept(self) -> Any:
        """Return the value that was kept last."""
        return None if self._checkpoint is None else decode(self._checkpoint)

    def _soon(self) -> None:
        self._loop.call_soon_threadsafe(self._beat, context=self._context)
