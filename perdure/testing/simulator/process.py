"""One process of a history: the engine's own machinery, on simulated lanes, under the eyes of the ledger."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ...actors.attempt import Attempt
from ...actors.core import Letter
from ...actors.reply import Reply
from ...actors.supervisor import Register
from ...dsl.context import Context
from ...dsl.definition import Definition
from ...machine import Machine
from ...persistence.records import Batch
from ...persistence.store import Durability, Store
from .clock import MICROS, VirtualClock
from .lanes import SimulatedLanes
from .ledger import Ledger, Witness
from .plans import Plan

__all__ = ["Answer", "Process"]


class Answer(Reply):
    """A reply that calls somebody when it comes."""

    def __init__(self, heard: Callable[[Any], None]) -> None:
        super().__init__()
        self._heard = heard

    def set(self, value: Any | None = None) -> None:
        """Give the answer."""
        super().set(value)
        self._heard(value)

    def set_exception(self, exc_info: Any = None) -> None:
        """Give an exception as the answer."""
        super().set_exception(exc_info)
        self._heard(exc_info[1] if isinstance(exc_info, tuple) else exc_info)


class _WatchedStore(Store):
    """A store that tells of each commit once it is on disk."""

    def __init__(self, path: str | None, durability: Durability, heard: Callable[[Batch], None]) -> None:
        super().__init__(path, durability=durability)
        self._heard = heard

    def commit(self, batch: Batch) -> None:
        """Write a batch, and tell."""
        super().commit(batch)
        self._heard(batch)


class Process(Machine, Witness):
    """The machinery of one engine, from its start to its death.

    Attributes:
        plans: Every node of every workflow, by name.
        dying: Whether it has died in the middle of a handler, and only has to be buried.
    """

    lanes: SimulatedLanes

    def __init__(
        self,
        path: str,
        *,
        number: int,
        ledger: Ledger,
        plans: dict[str, Plan],
        definitions: list[Definition],
        concurrency: int,
        most: int,
        chance: random.Random,
        deadly: float,
    ) -> None:
        """Start it: open the database, take over what the process before has left, and register the workflows."""
        Witness.__init__(self, number)
        self._clock: VirtualClock = ledger.clock
        self._ledger = ledger
        self.plans = plans
        self._chance = chance
        self._deadly = deadly
        self.dying = False
        Machine.__init__(
            self,
            path,
            name="simulated",
            durability="normal",
            concurrency=concurrency,
            threads=1,
            seed=number,
            most=most,
        )
        self.lanes.stage = self
        self.bus.connect(None, self._told)
        for definition in definitions:
            self.core.post(self.supervisor, Letter(Register(definition)))

    def _make_store(self, location: str | None, durability: Durability, busy_timeout: float) -> Store:
        return _WatchedStore(location, durability, self._committed)

    def _make_lanes(self, name: str, threads: int) -> SimulatedLanes:
        return SimulatedLanes(name, threads=threads, clock=self._clock)

    def _committed(self, batch: Batch) -> None:
        self._ledger.committed(self, batch)

    def _told(self, event: Any) -> None:
        self._ledger.told(self, event)

    def post(self, message: Any, heard: Callable[[Any], None]) -> None:
        """Hand a caller's message to the supervisor, and have its answer heard."""
        self.core.post(self.supervisor, Letter(message, Answer(heard)))

    def disown(self) -> None:
        """Let others take this process for dead, while it lives on."""
        self.store._membership.die()  # noqa: SLF001 - nobody else has a reason to

    # ---- what handlers reach

    def began(self, attempt: Attempt, context: Context[Any]) -> str:
        """Note that a handler has begun; return what it is to return."""
        return self._ledger.began(self, attempt, context)

    def ended(self, attempt: Attempt, token: str, *, raised: bool) -> None:
        """Note that it has returned or raised."""
        self._ledger.ended(attempt, raised=raised)

    def take(self, seconds: float) -> None:
        """Let time pass while a ``def`` handler runs, and perhaps the process die."""
        self._clock.now += round(seconds * MICROS)
        self.dying |= self._chance.random() < self._deadly
