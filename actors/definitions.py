"""What an engine can drive: the definitions that are registered with it, and which of them are whole.

A run is left untouched until everything it may start is known: it would fail for want of its children.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..dsl.errors import DefinitionError

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from ..persistence.records import ExecutionRow

__all__ = ["Definitions"]

Kind = tuple[str, str | None]
"""A workflow's name and version."""


class Definitions:
    """Definitions by name and version; changed on the core, and read from any thread."""

    def __init__(self) -> None:
        self._known: dict[Kind, Definition] = {}
        self._latest: dict[str, Definition] = {}
        self._drivable: dict[Kind, Definition] = {}

    def add(self, definition: Definition) -> bool:
        """Know a definition from now on; tell whether it is news.

        Raises:
            DefinitionError: another one has its name and version.
        """
        key = (definition.name, definition.version)
        known = self._known.get(key)
        if known is not None and known.fingerprint != definition.fingerprint:
            msg = (
                f"another definition of {definition.name!r}"
                f"{f' version {definition.version!r}' if definition.version else ''} is registered; "
                "give the new one a version of its own"
            )
            raise DefinitionError(msg)
        if known is None:
            self._known[key] = definition
            self._latest[definition.name] = definition
            self._drivable = {each: one for each, one in self._known.items() if self._is_whole(one, set())}
        return known is None

    def _is_whole(self, definition: Definition, seen: set[str]) -> bool:
        fresh = definition.children - seen
        seen |= fresh
        return all(child in self._latest and self._is_whole(self._latest[child], seen) for child in fresh)

    def every(self) -> Iterable[Definition]:
        """Return all of them, in the order in which they were registered."""
        return self._known.values()

    def names(self) -> list[str]:
        """Return the names of the workflows that are registered."""
        return list(self._latest)

    def find(self, name: str, version: str | None) -> Definition | None:
        """Return the definition that a run of this name and version has; the one registered last, if none is given."""
        return self._latest.get(name) if version is None else self._known.get((name, version))

    def whole(self, name: str, version: str | None) -> Definition | None:
        """Return the definition that a new run would get, if everything it needs is registered."""
        definition = self.find(name, version)
        return None if definition is None else self._drivable.get((definition.name, definition.version))

    def registered(self, row: ExecutionRow) -> Definition:
        """Return the definition of a run that this engine has just made."""
        return self._known[row.workflow, row.version]

    def of_run(self, row: ExecutionRow) -> Definition | None:
        """Return the definition that a run is driven by, if everything it needs is registered."""
        return self._drivable.get((row.workflow, row.version))

    def kinds(self) -> frozenset[Kind]:
        """Return the workflows whose runs can be driven."""
        return frozenset(self._drivable)
