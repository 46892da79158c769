"""What must hold when a history rests, and when it has ended: judged from the plans and the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ...actors.course import CANCEL, LIMIT
from ...dsl.facts import UNDO, Fact, FactKind, FactStatus
from ...dsl.programs import has_left
from ...dsl.states import FINAL, State
from ...persistence.codec import decode
from ...persistence.records import ExecutionRow
from .flows import node_name
from .plans import Flow, Plan

if TYPE_CHECKING:
    from .ledger import Ledger
    from .process import Process

__all__ = ["Verdict"]

_MOST_TURNS = 12


class Verdict:
    """Judges one history."""

    def __init__(self, flows: tuple[Flow, ...], ledger: Ledger) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self._plans = {plan.name: plan for flow in flows for plan in flow.every()}
        self._ledger = ledger

    # ---- what is left to do

    def _unfinished(self) -> list[ExecutionRow]:
        return [row for row in self._ledger.rows.values() if row.state not in FINAL]

    def _facts(self, row: ExecutionRow) -> dict[str, Fact]:
        return self._ledger.facts.get(row.id, {})

    def poisoned(self) -> list[str]:
        """Return the runs that were set aside because processes died while they were in flight."""
        return [row.execution_id for row in self._unfinished() if row.state == State.QUARANTINED]

    def open_gates(self) -> list[tuple[str, str]]:
        """Return what is waited for, as runs and events."""
        return [
            (row.execution_id, str(decode(fact.value or "null")))
            for row in self._unfinished()
            if row.state in (State.WAITING, State.RUNNING)
            for fact in self._facts(row).values()
            if fact.kind is FactKind.GATE and fact.status is FactStatus.WAITING and not self._ledger.halted(row.id)
        ]

    # ---- at rest

    def at_rest(self, process: Process) -> None:
        """Check that whatever is unfinished has something that will wake it; nothing moves by itself."""
        alarm = process.supervisor.timekeeper.next_due()
        for row in self._unfinished():
            if row.state == State.QUARANTINED:
                if row.error is None or row.error.type != "perdure.Poison":
                    self._ledger.broken(7, f"run {row.execution_id} was set aside: {row.error}")
                continue
            if process.supervisor.is_recovering(row.id) or process.supervisor.is_recovering(row.parent_id or 0):
                continue
            facts = self._facts(row).values()
            # A run that is being stopped only waits for what is in flight, and for its children: no timer of it counts.
            is_stopping = self._ledger.halted(row.id) and row.state != State.COMPENSATING
            timers = () if is_stopping else facts
            due = min((fact.due_at for fact in timers if fact.due_at is not None), default=None)
            if due is not None and (alarm is None or alarm > due):
                self._ledger.broken(
                    7, f"a timer of {row.execution_id} is due at {due}, but the alarm is set to {alarm}"
                )
            if due is None and not any(self._will_wake(process, row, fact) for fact in facts):
                self._ledger.broken(7, f"nothing will ever wake {row.execution_id}, which is {row.state}")

    def _will_wake(self, process: Process, row: ExecutionRow, fact: Fact) -> bool:
        if fact.settled:
            return False
        if fact.kind is FactKind.GATE:
            return True
        if fact.kind in (FactKind.CHILD, FactKind.UNDO):
            children = [one for one in self._ledger.rows.values() if one.parent_id == row.id]
            return any(one.state not in FINAL or process.supervisor.is_recovering(one.id) for one in children)
        return False

    # ---- at the end

    def at_the_end(self, process: Process) -> None:
        """Check every run against its plan, and the database against what was seen of it."""
        for row in self._ledger.rows.values():
            self._check_kept(process, row)
            self._check_ending(row)
            self._check_retries(row)
            self._check_children(row)
            self._check_rollback(row)
        for run in self._ledger.cancelled:
            row = self._ledger.rows[run]
            if row.state != State.CANCELLED and self._facts(row).get(CANCEL) is not None:
                self._ledger.broken(1, f"{row.execution_id} was cancelled, but has {row.state}")

    def _check_kept(self, process: Process, row: ExecutionRow) -> None:
        stored = process.store.load(row.id)
        if stored is None:
            self._ledger.broken(1, f"{row.execution_id} is no longer on disk")
            return
        if {fact.key: fact for fact in stored.facts} != self._facts(row):
            self._ledger.broken(2, f"the facts of {row.execution_id} are not those that were committed")
        if replace(stored.execution, owner=0, adoptions=0) != replace(row, owner=0, adoptions=0):
            self._ledger.broken(2, f"the row of {row.execution_id} is not the one that was committed")

    def _check_ending(self, row: ExecutionRow) -> None:
        facts = self._facts(row)
        if row.state not in FINAL:
            self._ledger.broken(7, f"{row.execution_id} is {row.state} at the end")
        if row.state == State.COMPLETED and row.result is not None:
            for plan in self._flows[row.workflow].body:
                if plan.kind == "step" and not self._is_completed(facts, plan.name):
                    self._ledger.broken(2, f"{row.execution_id} has completed without {plan.name}")
        for fact in facts.values():
            if fact.due_at is not None:
                self._ledger.broken(7, f"{row.execution_id} has ended, but the timer of {fact.key} is still on disk")

    @staticmethod
    def _is_completed(facts: dict[str, Fact], key: str) -> bool:
        return key in facts and facts[key].status is FactStatus.COMPLETED

    def _check_retries(self, row: ExecutionRow) -> None:
        """Check that steps have failed as often as they may: a crash neither uses attempts up nor gives more."""
        for fact in self._facts(row).values():
            if not fact.attempts or fact.status is not FactStatus.FAILED:
                continue
            plan = self._plans[node_name(fact.name.removeprefix(UNDO))]
            failures = self._ledger.failures.get((row.id, fact.key, fact.turn), 0) + 1
            final = fact.error is not None and fact.error.type.endswith("NonRetryable")
            halted = self._ledger.halted(row.id) and fact.kind is FactKind.STEP
            if failures > plan.retry or (failures < plan.retry and not final and not halted):
                self._ledger.broken(4, f"{fact.key} of {row.execution_id} has failed {failures} of {plan.retry} times")

    def _check_children(self, row: ExecutionRow) -> None:
        for fact in self._facts(row).values():
            if fact.kind is not FactKind.CHILD:
                continue
            children = [
                one for one in self._ledger.rows.values() if (one.parent_id, one.parent_key) == (row.id, fact.key)
            ]
            if len(children) > 1 and not fact.turn:
                self._ledger.broken(2, f"{fact.key} of {row.execution_id} has {len(children)} children")
            if not children and fact.error is not None and fact.error.type == "perdure.ChildFailed":
                self._ledger.broken(2, f"{fact.key} of {row.execution_id} speaks of a child that is not on disk")
            last = children and max(children, key=lambda child: child.id).rollback
            if fact.status is FactStatus.FAILED and last == "partial" and not has_left([fact]):
                self._ledger.broken(5, f"{fact.key} of {row.execution_id} does not tell what its child has left")

    # ---- the way back

    def _check_rollback(self, row: ExecutionRow) -> None:
        facts = self._facts(row)
        undone = sorted((fact for fact in facts.values() if fact.kind is FactKind.UNDO), key=lambda fact: fact.order)
        owed = self._owed(row) if row.state in (State.FAILED, State.CANCELLED) else []
        who = row.execution_id
        if [fact.key for fact in undone] != [f"{UNDO}{key}" for key in owed]:
            keys = [fact.key.removeprefix(UNDO) for fact in undone]
            self._ledger.broken(5, f"{who} ({row.state}) has undone {keys}, and not {owed}")
        if any(not fact.settled for fact in undone):
            self._ledger.broken(5, f"{who} has ended, but its rollback has not")
        partial = any(fact.status is FactStatus.FAILED for fact in undone) or has_left(facts.values())
        rollback = "none" if not undone else "partial" if partial else "complete"
        if row.state in (State.FAILED, State.CANCELLED) and row.rollback != rollback:
            self._ledger.broken(5, f"{who} calls its rollback {row.rollback}, but it was {rollback}")

    def _owed(self, row: ExecutionRow) -> list[str]:
        """Return the keys of what must have been undone, in that order."""
        facts = self._facts(row)
        stop = facts.get(CANCEL)
        limit = facts.get(LIMIT)
        if limit is not None and limit.status is FactStatus.FAILED:
            stop = stop or limit
        if stop is not None and stop.value == "false":
            return []
        body = self._flows[row.workflow].body
        if self._is_past_pivot(body, facts):
            return []
        owing = [key for key in _owing(body, (), ()) if key in facts and facts[key].status is FactStatus.COMPLETED]
        return owing[::-1]

    def _is_past_pivot(self, body: tuple[Plan, ...], facts: dict[str, Fact]) -> bool:
        return any(plan.kind == "pivot" and self._is_completed(facts, before.name) for before, plan in pairwise(body))


def _owing(body: tuple[Plan, ...], items: tuple[int, ...], turns: tuple[int, ...]) -> Iterator[str]:
    """Yield the keys of all that could owe an undo: in order of start, or of declaration where it is parallel."""
    for plan in body:
        match plan.kind:
            case "step" if plan.undone:
                yield _key(plan.name, items, turns)
            case "child":
                yield _key(f"sub:{plan.name}", items, turns)
            case "do_until" | "do_while":
                for turn in range(1, _MOST_TURNS):
                    yield from _owing(plan.inside[0], items, (*turns, turn))
            case "for_each":
                for index in range(plan.number):
                    yield from _owing(plan.inside[0], (*items, index), turns)
            case _:
                for inner in plan.inside:
                    yield from _owing(inner, items, turns)


def _key(name: str, items: tuple[int, ...], turns: tuple[int, ...]) -> str:
    name = ":".join((name, *map(str, items)))
    return f"{name}@{'.'.join(map(str, turns))}" if turns else name
