"""Frozen time, as the engine likes it.

This file must never import freezegun unless time is to be frozen.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

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

    It looks at all modules each time, and at a sorted list of all the names of each, to see whether the module was
    given or lost one; that is most of what freezing costs. A module with more or fewer names, or with another newest
    one, is searched anew, as before. Done once; nothing is done for a release of freezegun that works in another way.
    """
    api: Any = sys.modules["freezegun.api"]
    search: Callable[[Any], list[Any]] | None = getattr(api, "_get_cached_module_attributes", None)
    if search is None or getattr(api, "sys", None) is not sys:
        return
    modules = _Modules(search)
    api._get_cached_module_attributes = modules.search  # noqa: SLF001 - there is no other way in
    api.sys = SimpleNamespace(**{**vars(sys), "modules": modules})


class _Searched(NamedTuple):
    """What was found in a module.

    Attributes:
        module: The module.
        names: All that is in it, as it is now.
        size: How many names there were.
        newest: The last one that it was given.
        found: Names that stand for something of the time's, and what that is.
    """

    module: Any
    names: dict[str, Any]
    size: int
    newest: str | None
    found: list[Any]


class _Modules:
    """All modules as freezegun sees them; it goes through those that it may have to change.

    Args:
        search: Finds what a module has of the time's.
    """

    def __init__(self, search: Callable[[Any], list[Any]]) -> None:
        self._search = search
        # Not by the names that modules give themselves, as freezegun keeps them: `io` and `_io` have the same.
        self._searched: dict[int, _Searched] = {}

    def keys(self) -> Iterable[str]:
        """Return the names of all."""
        return sys.modules.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """Return any."""
        return sys.modules.get(name, default)

    def items(self) -> list[tuple[str, Any]]:
        """Return those that have something of the time's, that have changed, or that were never searched."""
        known, self._searched = self._searched, {}  # without those that were removed
        items = []
        for item in list(sys.modules.items()):
            key = id(item[1])
            if (before := known.get(key)) is not None:
                module, names, size, newest, found = before
                if module is item[1] and len(names) == size and next(reversed(names), None) == newest:
                    self._searched[key] = before
                    if not found:
                        continue
            items.append(item)
        return items

    def search(self, module: Any) -> list[Any]:
        """Find what a module has of the time's; one of `items`."""
        if (before := self._searched.get(id(module))) is not None:
            return before.found
        try:
            names: dict[str, Any] = module.__dict__
        except Exception:  # noqa: BLE001 - what somebody has put in the place of a module may do anything
            return self._search(module)
        size, newest = len(names), next(reversed(names), None)
        found = self._search(module)
        self._searched[id(module)] = _Searched(module, names, size, newest, found)
        return found
