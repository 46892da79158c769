"""Frozen time, as the engine likes it.

This file must never import freezegun unless time is to be frozen.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
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
    """Have freezegun pass over the modules that have nothing of the time's, and find out by two looks at each.

    It looks at all modules each time, and at a sorted list of all the names of each, to see whether the module was given
    or lost one; that is most of what freezing costs. Nothing else changes: a module with other names is searched anew, as
    before. Done once; nothing is done for a release of freezegun that works in another way.
    """
    api: Any = sys.modules["freezegun.api"]
    search: Callable[[Any], list[Any]] | None = getattr(api, "_get_cached_module_attributes", None)
    if search is None or getattr(api, "sys", None) is not sys:
        return
    modules = _Modules(search)
    api._get_cached_module_attributes = modules.search_if_changed  # noqa: SLF001 - there is no other way in
    api.sys = SimpleNamespace(**{**vars(sys), "modules": modules})


class _Modules:
    """All modules as freezegun sees them; it goes through those that it may have to change.

    Args:
        search: Finds what a module has of the time's: names, and what they stand for.
    """

    def __init__(self, search: Callable[[Any], list[Any]]) -> None:
        self._search = search
        # Not by their names, as freezegun keeps them: `io` and `_io` have the same, and would be searched each time.
        self._seen: dict[int, tuple[weakref.ref[Any], int, str | None, list[Any]]] = {}

    def keys(self) -> Iterable[str]:
        """Return the names of all."""
        return sys.modules.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """Return any."""
        return sys.modules.get(name, default)

    def items(self) -> list[tuple[str, Any]]:
        """Return those that have something of the time's, that have changed, or that were never searched."""
        look = self._look
        return [(name, module) for name, module in list(sys.modules.items()) if look(module) != []]

    def search_if_changed(self, module: Any) -> list[Any]:
        """Find what a module has of the time's."""
        found = self._look(module)
        if found is None:
            names: dict[str, Any] = getattr(module, "__dict__", {})
            size, newest = len(names), next(reversed(names), None)
            found = self._search(module)
            with contextlib.suppress(TypeError):  # what somebody has put in the place of a module
                self._seen[id(module)] = (weakref.ref(module), size, newest, found)
        return found

    def _look(self, module: Any) -> list[Any] | None:
        """Return what was found in a module, or None if it was not searched, or has other names since."""
        known = self._seen.get(id(module))
        if known is None or known[0]() is not module:
            return None
        names = module.__dict__
        return known[3] if len(names) == known[1] and next(reversed(names), None) == known[2] else None
