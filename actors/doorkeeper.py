"""The doorkeeper: tells runs of the slots that they were given, wherever they are driven.

Slots are given by rows, in the transaction that frees them. All that is left is to have those look who were given one:
the runs of this engine, and the engines of the others.

Rules:

1. Nothing is remembered here. Who was given a slot and does not know is read from the rows, each time.
2. However often it is told to look, it looks once a cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl import messages as msg
from .core import Core, CoreActor, Letter

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Doorkeeper", "LookForSlots"]


class LookForSlots(msgspec.Struct, frozen=True):
    """Anybody: slots may have been given."""


class Doorkeeper(CoreActor):
    """One for each engine."""

    def __init__(self, core: Core, office: Supervisor) -> None:
        super().__init__(core)
        self._office = office

    def __str__(self) -> str:
        """Name it in logs."""
        return "the doorkeeper"

    def look(self) -> None:
        """Look soon; from any thread."""
        if not self.ready:
            self.core.post(self, Letter(LookForSlots()))

    def on_receive(self, message: Any) -> Any:
        """Tell everybody who was given a slot; runs on the core."""
        if not isinstance(message, LookForSlots) or self._office.closing:
            return
        store, others = self.core.store, set[int]()
        for run, engine in store.given_slots():
            if engine == store.engine_id:
                self._office.deliver(run, msg.SlotGiven())
            elif engine is not None:
                others.add(engine)
        for engine in others:
            self._office.neighbours.reach.tell_slots_given(engine)

    def crashed(self, error: BaseException) -> None:
        """Have it tried again: the disk could not be read."""
        self._office.crashed(error)
