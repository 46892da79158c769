"""The neighbours: what this engine does when other engines on the same database come, go, or ask for runs.

Rules:

1. Who drives what is decided by rows, in transactions; what engines say to each other only makes them look.
2. A dead engine's runs go to whoever is first. Those that it cannot drive, it hands on to one that can, by their roots:
   a run and its children stay together.
3. An engine that was taken for dead stops all its actors, and joins anew under another number.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..dsl.errors import OwnershipLost, StoreError
from .core import Core, CoreActor, Letter

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor

__all__ = ["Fenced", "LookAgain", "Neighbour", "NeighbourGone", "NeighbourKinds", "Neighbours", "Reached"]

logger = logging.getLogger("perdure")

Kind = tuple[str, str | None]
_AT_ONCE = 500


class NeighbourGone(msgspec.Struct, frozen=True):
    """The bell: the line to this engine is dead; the answer is whether the engine is."""

    engine: int


class NeighbourKinds(msgspec.Struct, frozen=True):
    """The bell: this engine can drive runs of these workflows."""

    engine: int
    kinds: frozenset[Kind]


class LookAgain(msgspec.Struct, frozen=True):
    """The bell: runs were handed over to this engine, or messages may have come before it could listen."""


class Fenced(msgspec.Struct, frozen=True):
    """The core, or another engine: this engine may have been taken for dead."""


class Reached(Protocol):
    """How other engines are spoken to."""

    def tell_taken_over(self, engine: int) -> None:
        """Say to an engine, if it can hear, that it was taken for dead."""
        ...

    def tell_to_look(self, engine: int) -> None:
        """Say to an engine that runs were handed over to it."""
        ...

    def tell_kinds(self) -> None:
        """Say to all engines which workflows this one can drive."""
        ...

    def tell_schedules_changed(self) -> None:
        """Say to all engines that schedules were changed."""
        ...

    def tell_slots_given(self, engine: int) -> None:
        """Say to an engine that runs of its were given slots."""
        ...

    def runs_have_left(self) -> None:
        """Hear that runs somebody may wait for are driven by others now."""
        ...

    def join_anew(self) -> None:
        """Listen under this engine's new number."""
        ...


class Neighbour:
    """What is said to other engines where there are none."""

    def tell_taken_over(self, engine: int) -> None:
        """Say nothing."""

    def tell_to_look(self, engine: int) -> None:
        """Say nothing."""

    def tell_kinds(self) -> None:
        """Say nothing."""

    def tell_schedules_changed(self) -> None:
        """Say nothing."""

    def tell_slots_given(self, engine: int) -> None:
        """Say nothing."""

    def runs_have_left(self) -> None:
        """Do nothing."""

    def join_anew(self) -> None:
        """Say nothing."""


class Neighbours(CoreActor):
    """One for each engine.

    Attributes:
        reach: How the others are spoken to.
    """

    def __init__(self, core: Core, office: Supervisor) -> None:
        super().__init__(core)
        self._office = office
        self.reach: Reached = Neighbour()
        self._kinds: dict[int, frozenset[Kind]] = {}

    def __str__(self) -> str:
        """Name it in logs."""
        return "the neighbours"

    def on_receive(self, message: Any) -> Any:
        """Handle one message; what is returned is the answer. Runs on the core."""
        if self._office.closing:
            return True
        try:
            match message:
                case NeighbourGone(engine):
                    return self._gone(engine)
                case NeighbourKinds(engine, kinds):
                    self._kinds[engine] = kinds
                    self._hand_over(engine)
                    self._look_at_what_it_did()
                case LookAgain():
                    if not self.core.store.database.is_private:
                        self._inherit()  # one may have closed after this engine joined and before it could call it
                    self._office.take_up()
                case Fenced():
                    self._join_anew()
        except OwnershipLost:
            self._join_anew()
        except StoreError as error:
            logger.warning("cannot look after other engines now: %s", error)
        return False

    def crashed(self, error: BaseException) -> None:
        """Go on: the bell asks again."""

    def leads(self, definition: Definition) -> bool:
        """Tell whether this is the oldest engine, as far as is known here, that can run this; called on the core."""
        kind, ours = (definition.name, definition.version), self.core.store.engine_id
        return not any(engine < ours and kind in kinds for engine, kinds in self._kinds.items())

    def _gone(self, engine: int) -> bool:
        self._inherit()
        self._look_at_what_it_did()
        if engine in self.core.store.inbox.neighbours():
            return False
        self._kinds.pop(engine, None)
        return True

    def _look_at_what_it_did(self) -> None:
        """Look at what another engine may have changed before it could say so: no line stood yet, or it has died."""
        self._office.doorkeeper.look()
        self._office.read_schedules()

    def _inherit(self) -> None:
        """Take over what engines have left that died or were closed."""
        taken = self.core.store.take_over()
        if not taken:
            return
        logger.info("took over the runs of engine %s", ", ".join(map(str, taken)))
        for engine in taken:
            self._kinds.pop(engine, None)
            self.reach.tell_taken_over(engine)
        self._office.take_up()
        for engine in list(self._kinds):
            self._hand_over(engine)

    def _hand_over(self, engine: int) -> None:
        """Give an engine the runs that it can drive and this one cannot."""
        handed = False
        for workflow, version in self._kinds[engine] - self._office.definitions.kinds():
            runs = self.core.store.hand_over(workflow, version, engine, limit=_AT_ONCE)
            self._office.let_go(runs)
            handed = handed or bool(runs)
            if len(runs) >= _AT_ONCE:
                self.core.post(self, Letter(NeighbourKinds(engine, self._kinds[engine])))
        if handed:
            self.reach.runs_have_left()
            self.reach.tell_to_look(engine)

    def _join_anew(self) -> None:
        former = self.core.store.engine_id
        if not self.core.store.rejoin():
            return
        logger.warning(
            "engine %d was taken for dead, and its runs were taken over; it goes on with others, as engine %d",
            former,
            self.core.store.engine_id,
        )
        self._kinds.clear()
        self._office.let_everything_go()
        self.reach.runs_have_left()
        self.core.store.take_over()
        self._office.take_up()
        self.reach.join_anew()
