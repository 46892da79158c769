"""Frozen time, as the engine likes it.

This file must never import freezegun unless time is to be frozen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..dsl.errors import UsageError

__all__ = ["START", "freeze"]

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
    freezing = api.freeze_time(moment, ignore=list(_REAL_TIME_FOR), real_asyncio=True)
    with _quick_scan(api):
        freezer = freezing.start()
    try:
        yield freezer
    finally:
        freezing.stop()


_looked_at: dict[str, tuple[Any, int, list[Any]]] = {}


@contextmanager
def _quick_scan(api: Any) -> Iterator[None]:
    """Have freezegun look again only at modules that have gained or lost names: most of what freezing costs."""
    look: Callable[[Any], list[Any]] | None = getattr(api, "_get_cached_module_attributes", None)
    if look is None:  # another release of freezegun
        yield
        return

    def look_once(module: Any) -> list[Any]:
        size = len(getattr(module, "__dict__", ()))
        known = _looked_at.get(module.__name__)
        if known is not None and known[0] is module and known[1] == size:
            return known[2]
        found = look(module)
        _looked_at[module.__name__] = (module, size, found)
        return found

    api._get_cached_module_attributes = look_once  # noqa: SLF001 - there is no other way in
    try:
        yield
    finally:
        api._get_cached_module_attributes = look  # noqa: SLF001
