"""What a changed definition means for the runs that are under way, told before it is let loose on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from .actors.course import CANCEL, LIMIT
from .actors.reader import CodecReader
from .dsl.definition import Definition
from .dsl.errors import EngineError
from .dsl.facts import ErrorRecord, FactKind, FactStatus
from .dsl.fitting import misfit
from .dsl.journal import Journal
from .dsl.programs import forward
from .dsl.scope import Scope
from .dsl.states import State
from .persistence.records import Stored
from .persistence.store import Store

__all__ = ["Upgrade", "upgrades_to"]

Verdict: TypeAlias = Literal["goes on", "quarantined", "left alone"]
Read: TypeAlias = Callable[[Callable[[Store], list[Stored]]], list[Stored]]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What would become of one unfinished run under another definition.

    Attributes:
        execution_id: Id of the run.
        state: What it is doing.
        version: Version of the definition it is pinned to.
        verdict: ``"goes on"``; ``"quarantined"``; or ``"left alone"``, since it keeps to another version.
        first_difference: Name of the first node that it has recorded and the definition does not lead to.
        reason: Why it does not simply go on.
    """

    execution_id: str
    state: State
    version: str | None
    verdict: Verdict
    first_difference: str | None = None
    reason: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on under the definition."""
        return self.verdict == "goes on"


def upgrades_to(definition: Definition, read: Read) -> list[Upgrade]:
    """Return what would become of each unfinished run of this name, oldest first."""
    return [_upgrade(stored, definition) for stored in _unfinished(definition.name, read)]


def _unfinished(workflow: str, read: Read) -> Iterator[Stored]:
    after = 0
    while page := read(partial(_page, workflow=workflow, after=after)):
        yield from page
        after = page[-1].execution.id


def _page(store: Store, *, workflow: str, after: int) -> list[Stored]:
    return store.unfinished_of(workflow, after=after, limit=_PAGE)


def _upgrade(stored: Stored, definition: Definition) -> Upgrade:
    row = stored.execution
    state = State(row.state)
    if row.version != definition.version:
        reason = f"it keeps to version {row.version!r}, which has to stay registered beside {definition.version!r}"
        return Upgrade(row.execution_id, state, row.version, "left alone", None, reason)
    error = _misfit(stored, definition)
    if error is not None:
        return Upgrade(row.execution_id, state, row.version, "quarantined", error.step, error.message)
    hint = "it is quarantined already: resume it" if state is State.QUARANTINED else None
    return Upgrade(row.execution_id, state, row.version, "goes on", None, hint)


def _misfit(stored: Stored, definition: Definition) -> ErrorRecord | None:
    """Walk the definition over what the run has recorded, as its actor would."""
    journal = Journal(CodecReader(), stored.facts)
    if not journal.facts:
        return None
    try:
        walk = forward(definition.body, Scope(journal))
    except EngineError as error:  # a recorded value that cannot be read any more
        return ErrorRecord(f"perdure.{type(error).__name__}", str(error))
    return misfit(walk, journal, definition.name, undoing=_is_being_undone(stored) and not _was_stopped(journal))


def _is_being_undone(stored: Stored) -> bool:
    undoes = any(fact.kind is FactKind.UNDO for fact in stored.facts)
    return stored.execution.state == State.COMPENSATING or (stored.execution.state == State.QUARANTINED and undoes)


def _was_stopped(journal: Journal) -> bool:
    limit = journal.facts.get(LIMIT)
    return CANCEL in journal.facts or (limit is not None and limit.status is FactStatus.FAILED)
