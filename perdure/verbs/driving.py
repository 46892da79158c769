"""How the verbs of an engine get to what runs behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..actors.core import CoreActor
from ..actors.starting import ToRun
from ..dsl.errors import DuplicateRow
from ..extension import Extensions
from ..machine import Machine
from ..persistence.store import Store
from .verbs import Verbs

__all__ = ["DrivingVerbs"]

T = TypeVar("T")

logger = logging.getLogger("perdure")

_MOST_RACES: Final = 10
"""How often something is asked again because another engine was first."""


class DrivingVerbs(Verbs):
    """What is said to whoever drives the runs itself."""

    _machine: Machine
    _extensions: Extensions

    def _check_open(self, verb: str) -> None:
        self._machine.check_open(verb)

    def _tell(self, id: str, message: Any, verb: str) -> Any:
        return self._machine.ask(ToRun(id, message), verb)

    def _read(self, verb: str, look: Callable[[Store], T]) -> T:
        return self._machine.read(verb, look)

    def _new_id(self) -> str:
        return self._machine.supervisor.newcomers.id()

    def _input_type(self, workflow: str, version: str | None) -> Any:
        return self._registry.definition(workflow, version).input_type

    def _ask_again(self, message: Any, verb: str, actor: CoreActor | None = None) -> Any:
        """Ask, and ask again where another engine was first."""
        for _ in range(_MOST_RACES):
            try:
                return self._machine.ask(message, verb, actor=actor)
            except DuplicateRow:  # it has written the same row in this very moment: read it
                logger.debug("another engine was first: %r again", message)
        return self._machine.ask(message, verb, actor=actor)
