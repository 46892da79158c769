"""Frozen time, as the engine likes it.

This file must never import freezegun unless time is to be frozen.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..actors import clock
from ..dsl.errors import UsageError

__all__ = ["START", "freeze", "quicken"]

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""When frozen time begins if a test does not say."""

_REAL_TIME_FOR = ("pykka", "_pytest.timing")
"""Callers that are shown the real time: an actor of the test's own would wait for ever on a future with a time-out, and
pytest would say that the test took years."""


@contextmanager
def freeze(moment: dt.datetime | str = START) -> Iterator[Any]:
    """Freeze time with freezegun, set up so that nothing hangs; yields what moves it.

    Your own asyncio loops keep real time: under a bare ``freeze_time`` their sleeps never end.

    Args:
        moment: When time stands still; UTC if it has no time zone.

    Raises:
        UsageError: freezegun is not installed.

    Example:
        >>> with freeze("2026-03-01") as freezer:
        ...     freezer.tick(60)
        ...     dt.datetime.now(dt.UTC).isoformat()
        datetime.datetime(2026, 3, 1, 0, 1)
        '2026-03-01T00:01:00+00:00'
    """
    try:
        from freezegun import api
    except ImportError:
        msg = "frozen time needs freezegun: pip install freezegun"
        raise UsageError(msg) from None
    quicken()
    freezing = api.freeze_time(moment, ignore=list(_REAL_TIME_FOR))
    freezer = freezing.start()
    try:
        with _real_event_loops():
            yield freezer
    finally:
        freezing.stop()


@contextmanager
def _real_event_loops() -> Iterator[None]:
    """Let asyncio's loops see real time: what freezegun offers itself makes a loop each time, to see its class."""
    policy: Any = type(asyncio.get_event_loop_policy())
    loop = _class_of_loops(policy)
    frozen = loop.time
    loop.time = lambda self: clock.monotonic()
    try:
        yield
    finally:
        loop.time = frozen


@cache
def _class_of_loops(policy: Any) -> Any:
    loop = asyncio.new_event_loop()
    loop.close()
    return type(loop)


def quicken() -> None:
    """Have freezegun tell by two looks, not by a sorted list of all names, whether a module was given or lost a name.

    That is most of what freezing costs, and nothing else changes: such a module is searched anew, as before. Done once;
    nothing is done for a release of freezegun that works in another way.
    """
    api: Any = sys.modules["freezegun.api"]
    search: Callable[[Any], list[Any]] | None = getattr(api, "_get_cached_module_attributes", None)
    if search is None or getattr(search, "is_quick", False):
        return
    # Not by their names, as freezegun keeps them: `io` and `_io` have the same, and would be searched each time.
    seen: dict[int, tuple[weakref.ref[Any], int, str | None, list[Any]]] = {}

    def search_if_changed(module: Any) -> list[Any]:
        names: dict[str, Any] = getattr(module, "__dict__", {})
        size, newest = len(names), next(reversed(names), None)
        known = seen.get(id(module))
        if known is not None and known[0]() is module and known[1] == size and known[2] == newest:
            return known[3]
        found = search(module)
        with contextlib.suppress(TypeError):  # what somebody has put in the place of a module
            seen[id(module)] = (weakref.ref(module), size, newest, found)
        return found

    search_if_changed.is_quick = True  # type: ignore[attr-defined]
    api._get_cached_module_attributes = search_if_changed  # noqa: SLF001 - there is no other way in
