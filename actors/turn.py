"""What an actor decides, before it is remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl.facts import Fact
from ..persistence.records import (
    AttemptRow,
    Batch,
    ExecutionRow,
    ScheduleChange,
    SignalRow,
    SlotChange,
    TagRow,
    TokenAsk,
)
from .reply import Errand
from .wish import Wish

if TYPE_CHECKING:
    from .bus import Notice

__all__ = ["Turn"]


class Turn(msgspec.Struct, eq=False):
    """What one actor decided in one cycle: what to remember, what to tell, what to do, and whom to answer.

    Attributes:
        actor: Whose it is; set when the cycle takes it, so that an actor and its next turn do not refer to each other.
        row: The run's row, if it changed.
        facts: Facts recorded, by key.
        signals: Signals stored or taken, by id.
        rows: Rows of runs that this turn starts.
        schedules: Changes of schedules, by name.
        attempts: Attempts that ended without success.
        tags: Tags of runs that begin.
        replaced: Finished runs that go to the archive.
        freed: Runs that lose their idempotency key.
        inputs: Runs that have not begun, each with another input.
        notices: Events, in order.
        acts: What to do once it is remembered.
        replies: Answers to callers, set once it is remembered.
        wish: What an operator's wish adds to what is remembered.
        slots: Slots that are asked for, given back, or had in another number.
        tokens: Tokens that attempts need.
    """

    actor: Any = None
    row: ExecutionRow | None = None
    facts: dict[str, Fact] = {}
    signals: dict[int, SignalRow] = {}
    rows: list[ExecutionRow] = []
    schedules: dict[str, ScheduleChange] = {}
    attempts: tuple[AttemptRow, ...] = ()
    tags: tuple[TagRow, ...] = ()
    replaced: tuple[int, ...] = ()
    freed: tuple[int, ...] = ()
    inputs: tuple[tuple[int, str], ...] = ()
    notices: list[Notice] = []
    acts: list[Callable[[], None]] = []
    replies: list[tuple[Any, Any]] = []
    engine: int = 0
    error: BaseException | None = None
    wish: Wish | None = None
    slots: tuple[SlotChange, ...] = ()
    tokens: tuple[TokenAsk, ...] = ()

    def write_to(self, batch: Batch) -> None:
        """Add this turn's records to the commit."""
        for row in self.rows:
            batch.executions[row.id] = row
        if self.row is not None:
            batch.executions[self.row.id] = self.row
        if self.facts:
            run = self.actor.run_id
            for key, fact in self.facts.items():
                batch.facts[run, key] = fact
        if self.signals:
            batch.signals.update(self.signals)
        if self.schedules:
            batch.schedules.update(self.schedules)
        if self.attempts:
            batch.attempts += tuple((self.actor.run_id, attempt) for attempt in self.attempts)
        batch.tags += self.tags
        batch.replaced += self.replaced
        batch.inputs += self.inputs
        batch.freed += self.freed
        batch.slots += self.slots
        batch.tokens += self.tokens
        if self.replies:
            # Invariant: a message leaves the inbox in the commit that holds what it has caused.
            batch.consumed += Errand.consumed_by(self.replies)
        if self.wish is not None:
            self.wish.write_to(batch, self.actor.run_id)
