"""Nothing is left of an engine once its test is over."""

from __future__ import annotations

import sys
import threading
import traceback
from itertools import count

from ..engine import Engine
from .restarting import successor_of

__all__ = ["LeakError", "close_cleanly", "unique_name"]

_MOMENT = 10.0
"""Real seconds for a thread to end that has nothing more to do."""

_numbers = count(1)


class LeakError(AssertionError):
    """An engine was closed, and a thread of it is still alive: a handler or listener that has not returned."""


def unique_name() -> str:
    """Return a name for an engine's threads that no other engine has."""
    return f"perdure-test-{next(_numbers)}"


def close_cleanly(engine: Engine, *, timeout: float = 30) -> None:
    """Close an engine, and those that `restart` has put in its place, and check that nothing is left of them.

    Args:
        engine: The engine.
        timeout: Real seconds to wait for handlers in flight.

    Raises:
        LeakError: a handler has not returned; says where it is.
    """
    last: Engine | None = engine
    while last is not None:
        last.close(timeout=timeout)
        # One that was abandoned has not waited for handlers that have been let go since.
        last._machine.lanes.join(min(timeout, _MOMENT))  # noqa: SLF001 - one of us
        last = successor_of(last)
    if left := [thread for thread in threading.enumerate() if thread.name.startswith(f"{engine.name}-")]:
        raise LeakError("\n".join(map(_describe, left)))


def _describe(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to ask
    where = traceback.format_stack(frame)[-1].strip() if frame is not None else "it is ending"
    return f"{thread.name} is still alive after its engine was closed; it is in: {where}"
