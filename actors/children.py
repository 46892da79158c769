"""The runs that other runs have started, as their supervisor knows them: found by parent and key, told, ended, undone.

This file decides nothing about a parent; that is the family's business, which calls this once the parent's turn is on
disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..dsl import messages as msg
from ..dsl.errors import UnknownWorkflow
from ..dsl.facts import UNDO, ErrorRecord
from ..dsl.states import FINAL, IN_FLIGHT, State
from ..persistence.records import ExecutionRow
from .family import child_ended

if TYPE_CHECKING:
    from ..dsl.effects import RunChild
    from .supervisor import Supervisor

__all__ = ["Children"]


class Children:
    """Every run of the engine that has a parent."""

    __slots__ = ("_office",)

    def __init__(self, office: Supervisor) -> None:
        self._office = office

    def new(self, parent: int, effect: RunChild, encoded_input: str) -> ExecutionRow:
        """Return the row of a child, to be written with its parent's fact.

        Raises:
            UnknownWorkflow: its workflow is not registered.
        """
        office = self._office
        definition = office.definitions.find(effect.workflow, None)
        if definition is None:
            raise UnknownWorkflow(effect.workflow, office.definitions.names())
        above = office.live_row(parent)
        row = office.newcomers.row(definition, encoded_input, priority=0 if above is None else above.priority)
        return replace(row, parent_id=parent, parent_key=effect.place.key)

    def find(self, parent: int, key: str) -> ExecutionRow | None:
        """Return the run that a node of a parent has started, the last one if there were several."""
        rows = [row for row in self._office.core.store.children(parent) if row.parent_key == key]
        return (self._office.live_row(rows[-1].id) or rows[-1]) if rows else None

    def living(self, parent: int) -> str | None:
        """Return the id of a child that has not ended, if there is one."""
        office = self._office
        rows = [office.live_row(row.id) or row for row in office.core.store.children(parent)]
        return next((row.execution_id for row in rows if row.state not in FINAL), None)

    def check(self, parent: int, key: str, *, stop: msg.Cancel | msg.Terminate | None = None) -> None:
        """Tell a restored parent of its child's end, if the child has ended; else make sure that the child lives."""
        office = self._office
        child = self.find(parent, key)
        if child is None:
            self._miss(parent, key)
        elif child.state in FINAL:
            stored = office.core.store.load(child.id)
            assert stored is not None
            office.deliver(parent, child_ended(key, child, stored.facts, office.codec))
        elif stop is not None:
            self.stop(parent, key, stop)
        elif child.state in IN_FLIGHT:  # the turn that wrote its row may have been dropped before it could begin
            office.revive(child.id)

    def tell(self, parent: int, key: str, message: msg.Message) -> None:
        """Hand a message to a child, if it is there."""
        if (child := self.find(parent, key)) is not None:
            self._office.deliver(child.id, message)

    def stop(self, parent: int, key: str, message: msg.Cancel | msg.Terminate) -> None:
        """Stop a child with its parent; one that is quarantined is not cancelled, and its parent goes on without it."""
        child = self.find(parent, key)
        if child is None:
            self._miss(parent, key)
        elif child.state == State.QUARANTINED and isinstance(message, msg.Cancel):
            self._office.deliver(parent, msg.ChildEnded(key, child.state, error=child.error))
        else:
            self._office.deliver(child.id, message)

    def undo(self, parent: int, key: str) -> None:
        """Have a completed child undone."""
        if (child := self.find(parent, key)) is not None:
            self._office.deliver(child.id, msg.Undo(key))
        else:
            self._miss(parent, f"{UNDO}{key}")

    def _miss(self, parent: int, key: str) -> None:
        """Tell a parent that its child is no longer there, so that it need not wait for ever."""
        error = ErrorRecord("perdure.ExecutionNotFound", "the child's execution is no longer in the database")
        self._office.deliver(parent, msg.ChildEnded(key, "gone", error=error))
