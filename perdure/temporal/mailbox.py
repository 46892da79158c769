"""The signals that a run was sent, and which gate took which: a mailbox, the oldest of a name first."""

from __future__ import annotations

from collections.abc import Sequence

from ..actors.reader import CodecReader
from ..dsl.effects import WaitFor
from ..dsl.facts import Fact
from ..persistence.records import SignalRow

__all__ = ["Mailbox"]


class Mailbox:
    """The signals of one run.

    Attributes:
        signals: All that were accepted, in order.
    """

    def __init__(self, signals: Sequence[SignalRow]) -> None:
        self.signals = list(signals)
        self._keys = {signal.dedup_key for signal in signals if signal.dedup_key is not None}

    def accept(self, event: str, payload: str, key: str | None, now: int) -> bool:
        """Keep a signal; tell whether it is new."""
        if key is not None and key in self._keys:
            return False
        if key is not None:
            self._keys.add(key)
        self.signals.append(SignalRow(len(self.signals) + 1, 0, event, payload, now, key))
        return True

    def take(self, effect: WaitFor, gate: Fact) -> str | None:
        """Take the oldest signals that meet a gate's demand; return its value, or None if they did not come in time."""
        due = gate.due_at
        waiting = [
            (position, signal)
            for position, signal in enumerate(self.signals)
            if signal.taken_by is None
            and signal.event in effect.demand.events
            and (due is None or signal.accepted_at <= due)
        ]
        chosen = effect.demand.choose([signal.event for _, signal in waiting])
        if chosen is None:
            return None
        taken = [waiting[number] for number in chosen]
        for position, signal in taken:
            self.signals[position] = signal._replace(taken_by=gate.key)
        return effect.demand.value(CodecReader(), [(signal.event, signal.payload) for _, signal in taken])
