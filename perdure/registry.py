"""Which workflows an engine knows: their definitions, and the types of their signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .dsl.definition import Definition
from .dsl.errors import UnknownWorkflow, UsageError
from .dsl.signals import Signal
from .dsl.workflow import Workflow
from .persistence import codec
from .persistence.classes import register_namespace

__all__ = ["Registry", "make_types_known"]


class Registry:
    """Definitions by name, the one registered last first in line, and by name and version."""

    def __init__(self) -> None:
        self._latest: dict[str, Definition] = {}
        self._versions: dict[tuple[str, str | None], Definition] = {}
        self._payloads: dict[str, list[Any]] = {}

    def add(self, definition: Definition) -> None:
        """Know a definition from now on; starts that name no version use it."""
        self._latest[definition.name] = self._versions[definition.name, definition.version] = definition
        for signal in definition.signals:
            self._payloads.setdefault(signal.name, []).append(signal.payload)

    def knows(self, name: str, version: str | None) -> bool:
        """Tell whether there is a definition of this name and version."""
        return (name, version) in self._versions

    def startable(self, name: str, version: str | None) -> Definition:
        """Return the definition of this name, the latest if no version is given.

        Raises:
            UsageError: the name is no text.
            UnknownWorkflow: there is none, or a sub-workflow it needs is not registered.
        """
        if not isinstance(name, str):
            msg = f"start takes a workflow or its name, not {name!r}"
            raise UsageError(msg)
        definition = self._latest.get(name) if version is None else self.definition(name, version)
        if definition is None:
            raise UnknownWorkflow(name, self._latest, version=version)
        self._check_children(definition, set())
        return definition

    def definition(self, name: str, version: str | None) -> Definition:
        """Return the definition of this name and version; no version is one, too.

        Raises:
            UnknownWorkflow: there is none.
        """
        definition = self._versions.get((name, version))
        if definition is None:
            raise UnknownWorkflow(name, self._latest, version=version)
        return definition

    def latest(self, name: str) -> Definition | None:
        """Return the definition that a start takes which names no version, if there is one."""
        return self._latest.get(name)

    def known(self, name: str, version: str | None) -> Definition | None:
        """Return the definition of this name and version, if there is one."""
        return self._versions.get((name, version))

    def named(self, workflow: Workflow[Any, Any] | str | tuple[str, str | None]) -> Definition:
        """Return a workflow's definition, or the registered one of a name, or of a name and version.

        Raises:
            UsageError: it is none of these.
            UnknownWorkflow: there is none of the name, or of the name and version.
        """
        match workflow:
            case Workflow():
                return workflow.definition()
            case str() if workflow in self._latest:
                return self._latest[workflow]
            case str():
                raise UnknownWorkflow(workflow, self._latest)
            case (str() as name, (str() | None) as version):
                return self.definition(name, version)
            case _:
                msg = f"expected a workflow, its name, or its name and version, got {workflow!r}"
                raise UsageError(msg)

    def _check_children(self, definition: Definition, seen: set[str]) -> None:
        for child in definition.children - seen:
            seen.add(child)
            if child not in self._latest:
                raise UnknownWorkflow(child, self._latest, parent=definition.name)
            self._check_children(self._latest[child], seen)

    def payload_type(self, event: str | Signal[Any], run: Callable[[], tuple[str, str | None] | None]) -> Any:
        """Return the type of a signal's payload: that of the run's gate, or where none is known the signal's own.

        The run's workflow and version are asked for where types disagree.
        """
        if isinstance(event, Signal):
            declared = self.payload_type(event.name, run)
            return event.payload if declared is None else declared
        types = self._payloads.get(event, [])
        if all(one is types[0] for one in types):
            return types[0] if types else None
        name, version = run() or ("", None)
        definition = self._versions.get((name, version), self._latest.get(name) if version is None else None)
        signals = definition.signals if definition is not None else ()
        return next((signal.payload for signal in signals if signal.name == event), None)


def make_types_known(definition: Definition) -> None:
    """Tell the codec every class that values of this workflow's runs may be of, so that they can be revived."""
    for annotation in definition.types:
        if annotation is not None:
            codec.register_type(annotation)
    for namespace in definition.namespaces():
        register_namespace(namespace)
