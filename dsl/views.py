"""Mappings of what a run has recorded, by name: each value is decoded when it is first looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import did_you_mean
from .facts import Fact
from .scope import Scope

__all__ = ["StepsView", "View"]

_MISSING: Any = object()


class View(Mapping[str, Any]):
    """A mapping that decodes on the first look."""

    __slots__ = ("_cache", "_find", "_names", "_scope")

    def __init__(self, scope: Scope, find: Callable[[str], Fact | None], names: Callable[[], Iterator[str]]) -> None:
        self._scope = scope
        self._find = find
        self._names = names
        self._cache: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if (value := self._read(name)) is _MISSING:
            msg = f"there is no {name!r} here{did_you_mean(str(name), self)}"
            raise KeyError(msg)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._read(name) is not _MISSING

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of this name, or the default where there is none."""
        return default if (value := self._read(name)) is _MISSING else value

    def _read(self, name: str) -> Any:
        if name not in self._cache:
            self._cache[name] = self._look_up(name)
        return self._cache[name]

    def _look_up(self, name: str) -> Any:
        fact = self._find(name)
        return _MISSING if fact is None else self._scope.journal.value(fact)

    def __iter__(self) -> Iterator[str]:
        return self._names()

    def __len__(self) -> int:
        return sum(1 for _ in self._names())

    def __repr__(self) -> str:
        return repr(dict(self))


class StepsView(View):
    """Results by step name, and ``__item`` and ``__index`` inside a ``for_each``."""

    __slots__ = ()

    def _look_up(self, name: str) -> Any:
        if name == "__item" and self._scope.item is not None:
            return self._scope.journal.reader.decode(self._scope.item)
        if name == "__index" and self._scope.index is not None:
            return self._scope.index
        return super()._look_up(name)
