"""What must hold of a database, and of what witnesses wrote beside it, after a crash and at the end."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from perdure import Workflow
from perdure.actors.reader import CodecReader
from perdure.dsl.facts import UNDO, Fact, FactKind, FactStatus
from perdure.dsl.journal import Journal
from perdure.dsl.scope import Scope
from perdure.dsl.walk import Walk
from perdure.persistence.store import Store
from perdure.testing.lives import Entry

from .life import Ask
from .places import Place

__all__ = ["Remains"]

_TURN = re.compile(r"@[0-9.]+$")
ENDS = ("completed", "failed", "cancelled")
UNDOING = ("workflow:compensating", "compensation:", "workflow:failed", "workflow:cancelled")
TERMINAL = {"workflow:completed", "workflow:failed", "workflow:cancelled", "workflow:quarantined"}


@dataclass
class Remains:
    """What the lives in one folder have left so far.

    Attributes:
        folder: Where they lived.
        place: Where they kept their runs.
        deaths: How many of them were killed.
        recorded: For each death, how long the witness was then, and what was completed on disk.
    """

    folder: Path
    place: Place
    deaths: int = 0
    recorded: list[tuple[int, set[tuple[int, str]]]] = field(default_factory=list)

    # ---- after a death

    def look_after_death(self) -> Iterator[str]:
        """Yield what is wrong with the database of a process that was just killed."""
        self.deaths += 1
        self.place.rest()
        yield from self.place.faults()
        with self.place.look() as disk:
            self.recorded.append((len(self.witness()), _completed(disk)))
            yield from self._lost_acknowledgements(disk)

    # ---- at the end

    def look_at_the_end(self, flow: Workflow[Any, Any]) -> Iterator[str]:
        """Yield what is wrong once every run has come to its end."""
        yield from self.place.faults()
        with self.place.look() as disk:
            yield from _unfinished(disk)
            yield from self._lost_acknowledgements(disk)
            yield from self._wrong_effects(disk)
        yield from self._wrong_rollbacks(flow)
        yield from self._illegal_events()
        yield from (f"{entry.name}: not on disk yet" for entry in self.witness() if entry.what == "ahead")

    def witness(self) -> list[Entry]:
        """Return what the witness saw."""
        return [Entry(*line) for line in _lines(self.folder / "witness")]

    def _lost_acknowledgements(self, disk: Any) -> Iterator[str]:
        asks = [Ask(*line) for line in _lines(self.folder / "acks")]
        asked, acked = ({ask[1:] for ask in asks if ask.what == what} for what in ("asked", "acked"))
        runs = {
            (run, "", "") for (run,) in disk.execute("SELECT execution_id FROM workflow_executions") if "run" in run
        }
        signals = Counter(
            disk.execute(
                "SELECT run.execution_id, sent.event, sent.dedup_key FROM workflow_signals AS sent"
                " JOIN workflow_executions AS run ON run.id = sent.execution"
            )
        )
        found = runs | set(signals)
        yield from (f"acknowledged and lost: {ask}" for ask in acked - found)
        yield from (f"there, and never asked for: {ask}" for ask in found - asked)
        yield from (f"doubled: {ask}" for ask, count in signals.items() if count > 1)

    def _wrong_effects(self, disk: Any) -> Iterator[str]:
        witness = self.witness()
        did = {(entry.run, entry.name) for entry in witness if entry.what == "did"}
        yield from (f"recorded, but never done: {one}" for one in _completed(disk) - did)
        for length, recorded in self.recorded:
            again = {(entry.run, entry.name) for entry in witness[length:] if entry.what == "began"}
            yield from (f"begun again though it was on disk: {one}" for one in again & recorded)
        begun = Counter((entry.run, entry.name) for entry in witness if entry.what == "began")
        yield from (f"begun {n} times: {one}" for one, n in begun.items() if n > 1 + self.deaths)

    def _wrong_rollbacks(self, flow: Workflow[Any, Any]) -> Iterator[str]:
        """Walk over the facts of each failed run once more: what it owes must have been undone, in that order."""
        store = Store(self.place.location, durability="normal")
        store.open()
        try:
            stored = [store.snapshot(run) for run in sorted({ask[1] for ask in _lines(self.folder / "acks")})]
        finally:
            store.close()
        seen = list(dict.fromkeys((e.run, e.name) for e in self.witness() if e.what == "did"))
        for one in stored:
            if one is None or one.execution.state == "completed":
                continue
            owed = _owed(flow, one.facts)
            undone = sorted((fact for fact in one.facts if fact.kind is FactKind.UNDO), key=lambda fact: fact.order)
            if [fact.key.removeprefix(UNDO) for fact in undone] != owed:
                yield f"{one.execution.execution_id}: undone {[fact.key for fact in undone]}, owed {owed}"
            if not all(fact.status is FactStatus.COMPLETED for fact in undone):
                yield f"{one.execution.execution_id}: not undone to the end: {undone}"
            names = [_name(fact) for fact in undone if not fact.name.startswith(f"{UNDO}sub:")]
            done = [name for run, name in seen if run == one.execution.id and name in set(names)]
            if done != names:
                yield f"{one.execution.execution_id}: undone in the order {done}, recorded as {names}"

    def _illegal_events(self) -> Iterator[str]:
        heard: dict[str, dict[int, str]] = {}
        last: dict[tuple[int, str], int] = {}
        for life, run, number, kind, step in _lines(self.folder / "events"):
            if number <= last.get((life, run), 0):
                yield f"{run}: event {number} was told after {last[life, run]}"
            last[life, run] = number
            if number in heard.setdefault(run, {}):
                yield f"{run}: two events have the number {number}: {heard[run][number]}, {kind} {step}"
            heard[run][number] = f"{kind} {step}"
        for run, events in heard.items():
            yield from _illegal_order(run, [events[number] for number in sorted(events)])


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _unfinished(disk: Any) -> Iterator[str]:
    for run, state, error in disk.execute("SELECT execution_id, state, error FROM workflow_executions"):
        if state not in ENDS:
            yield f"{run} is {state}: {error}"


def _completed(disk: Any) -> set[tuple[int, str]]:
    """Return what the database calls completed, as the witness would call it."""
    rows = disk.execute(
        "SELECT execution, key, turn FROM workflow_steps WHERE status = 'completed' AND kind IN ('step', 'undo', 'map')"
        " AND key NOT LIKE '\\_\\_undo:sub:%' ESCAPE '\\'"
    )
    return {(run, f"{_TURN.sub('', key).replace(UNDO, 'undo:')}{_turns(turn)}") for run, key, turn in rows}


def _turns(turn: str | None) -> str:
    return f"@{turn.replace(',', '.')}" if turn else ""


def _owed(flow: Workflow[Any, Any], facts: list[Fact]) -> list[str]:
    journal = Journal(CodecReader(), [fact for fact in facts if fact.kind is not FactKind.UNDO])
    scope = Scope(journal)
    walk = Walk(flow.definition().body.walk(scope), journal)
    assert walk.ended, f"it failed, and by its facts it would go on at {walk.open}"
    return [debt.place.key for debt in scope.debts()]


def _name(fact: Fact) -> str:
    turn = f"@{'.'.join(map(str, fact.turn))}" if fact.turn else ""
    return f"{fact.name.replace(UNDO, 'undo:')}{turn}"


def _illegal_order(run: str, events: list[str]) -> Iterator[str]:
    kinds = [event.split()[0] for event in events]
    if "workflow:started" in kinds[1:]:
        yield f"{run}: started twice, or after {events[0]}"
    for before, after in pairwise(kinds):  # a crash may have swallowed events between the two, but turns no order round
        undone_child = before == "workflow:completed" and after.startswith(UNDOING)
        if before in TERMINAL and not undone_child:
            yield f"{run}: {after} after {before}"
