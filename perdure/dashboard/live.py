"""The stream that tells a browser whenever something was committed.

An open stream keeps a server from stopping: uvicorn waits for answers that have begun, and tells the application
nothing of it. So a stream looks at each beat whether it should end, and ends as an answer that is complete.

Invariant: the database is asked on a thread of its own. A server is a network away, and the event loop is the page's.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ..persistence.places import changes_at

__all__ = ["changes"]

_PULSE: Final = 0.25
"""Seconds between two looks at the database's change counter, while somebody watches."""
_BEATS_OF_SILENCE: Final = 60


async def changes(path: str, request: Request) -> AsyncIterator[str]:
    """Say whenever something was committed, as long as the browser listens; what, it asks for itself.

    Ends when the browser goes, when the server that was started by a signal's handler stops, or when somebody who
    serves the page in another way sets ``app.state.closing``.
    """
    silent = 0
    with await run_in_threadpool(changes_at, path) as changes:
        yield "retry: 2000\nevent: hello\ndata: {}\n\n"
        while not (_is_closing(request) or await request.is_disconnected()):
            if await run_in_threadpool(changes.wait, 0):
                silent = 0
                yield "event: change\ndata: {}\n\n"
            elif (silent := silent + 1) % _BEATS_OF_SILENCE == 0:
                yield ": still here\n\n"
            await asyncio.sleep(_PULSE)


def _is_closing(request: Request) -> bool:
    return getattr(request.app.state, "closing", False) or any(map(_has_stopped, (signal.SIGINT, signal.SIGTERM)))


def _has_stopped(number: signal.Signals) -> bool:
    """Tell whether the server that takes this signal has been told to stop; uvicorn's handler is a method of it."""
    server = getattr(signal.getsignal(number), "__self__", None)
    return getattr(server, "should_exit", False) is True
