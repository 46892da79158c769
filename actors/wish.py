"""What an operator's wish adds to a turn: who asked, which facts are to be asked for anew, and a copy for a new run."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dsl.facts import Fact
from ..persistence.records import AuditRow, Batch, SignalRow

__all__ = ["Wish"]


@dataclass(slots=True)
class Wish:
    """Made only by turns in which an operator is heeded, so that it costs the others nothing.

    Attributes:
        audit: What was asked, by whom and why.
        forgotten: Keys of the run's facts that are deleted.
        copies: Facts of a new run, by its integer key and theirs.
        signals: Signals of a new run, which it has taken.
    """

    audit: list[AuditRow] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)
    copies: dict[tuple[int, str], Fact] = field(default_factory=dict)
    signals: list[SignalRow] = field(default_factory=list)

    def write_to(self, batch: Batch, run: int) -> None:
        """Add it to the commit; a fact that was recorded again after it was forgotten stays."""
        batch.audit.extend(self.audit)
        batch.forgotten.update((run, key) for key in self.forgotten)
        batch.facts.update(self.copies)
        batch.signals.update((signal.id, signal) for signal in self.signals)
