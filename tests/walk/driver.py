"""A driver for walks that has no engine: one thread, no database, time that is only a number.

It keeps the driver's rules: an effect is carried out once at a time and never after its fact is settled; its fact is
recorded before anything that depends on it happens. Every effect takes a time that follows from its key alone: so a
walk that is cut short and taken up again meets the same order of events as one that is not, and must end the same.
"""

from __future__ import annotations

import heapq
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from perdure import Context, Workflow
from perdure.dsl.context import RunFacts
from perdure.dsl.definition import Definition
from perdure.dsl.effects import (
    Conclude,
    Decide,
    Effect,
    Invoke,
    Remind,
    RunChild,
    UndoChild,
    WaitFor,
    WaitUntil,
    Withdraw,
)
from perdure.dsl.facts import ErrorRecord, Fact, FactKind, FactStatus
from perdure.dsl.journal import Journal
from perdure.dsl.programs import roll_back
from perdure.dsl.scope import Scope
from perdure.dsl.walk import Walk

__all__ = ["Crash", "Driver", "End", "JsonReader"]


class JsonReader:
    """Values as plain JSON."""

    @staticmethod
    def decode(text: str, /) -> Any:
        return json.loads(text)

    @staticmethod
    def split(text: str, /) -> list[str]:
        return [json.dumps(item) for item in json.loads(text)]

    @staticmethod
    def join(texts: Iterable[str], /) -> str:
        return f"[{','.join(texts)}]"

    @staticmethod
    def entries(text: str, /) -> dict[str, str]:
        return {name: json.dumps(value) for name, value in json.loads(text).items()}

    @staticmethod
    def compose(texts: Mapping[str, str], /) -> str:
        return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in texts.items())}}}"


class Crash(Exception):
    """The process is gone."""


@dataclass(frozen=True)
class End:
    """What a run has come to."""

    state: str
    value: Any
    error: ErrorRecord | None
    rollback: str | None
    undone: tuple[str, ...]
    visible: tuple[tuple[str, Any], ...]
    signals: tuple[tuple[str, Any], ...]


@dataclass
class Driver:
    """Drives one run.

    Attributes:
        definition: The graph.
        input: What the run was started with.
        facts: The journal as it is on disk; outlives a crash.
        ledger: Keys of all user code that began, in order; outlives a crash.
        crash_after: How many more records may be written.
        timeouts: Whether no signal comes to a gate that has a timeout.
        times: How long effects take, by key, where it matters.
    """

    definition: Definition
    input: Any = None
    facts: dict[str, Fact] = field(default_factory=dict)
    ledger: list[str] = field(default_factory=list)
    crash_after: int | None = None
    timeouts: bool = False
    times: dict[str, int] = field(default_factory=dict)
    now: int = 0
    records: int = 0
    _number: int = 0

    @classmethod
    def of(cls, workflow: Workflow[Any, Any], **settings: Any) -> Driver:
        """Return a driver of a workflow."""
        return cls(workflow.definition(), **settings)

    def again(self, definition: Definition | None = None, crash_after: int | None = None) -> Driver:
        """Return what a new process would begin with."""
        return Driver(
            definition or self.definition,
            self.input,
            dict(self.facts),
            self.ledger,
            crash_after,
            self.timeouts,
            self.times,
        )

    # ---- the run

    def run(self) -> End:
        """Drive the run to its end.

        Raises:
            Crash: as many records as allowed have been written.
        """
        self._open()
        self._drive(self.walk)
        error, value = self.walk.error, self.walk.value
        debts = [] if error is None else self.scope.debts()
        visible = {name: self._value(fact) for name in self.scope.names() if (fact := self.scope.find(name))}
        signals = {
            name: self._value(fact) for name in self.scope.signal_names() if (fact := self.scope.find_signal(name))
        }
        rollback = None
        if debts:
            back = Walk(roll_back(debts), self.journal)
            self._drive(back)
            rollback = back.value
        return End(
            state="completed" if error is None else "failed",
            value=None if value is None else json.loads(value),
            error=error,
            rollback=rollback,
            undone=tuple(debt.place.key for debt in debts),
            visible=tuple(sorted(visible.items())),
            signals=tuple(sorted(signals.items())),
        )

    def _open(self) -> None:
        self.journal = Journal(JsonReader(), self.facts.values())
        self.now = max((max(fact.started_at, fact.completed_at or 0) for fact in self.facts.values()), default=0)
        self.scope = Scope(self.journal)
        self.walk = Walk(self.definition.body.walk(self.scope), self.journal)

    def restore(self) -> Fact | None:
        """Walk to where the facts end; return the first fact that does not fit."""
        self._open()
        return self.walk.stray or self.journal.stray(lambda fact: fact.kind is FactKind.UNDO)

    def _drive(self, walk: Walk) -> None:
        under_way: list[tuple[int, int, int, Effect]] = []
        while walk.fresh or not walk.ended:
            while walk.fresh:
                match effect := walk.fresh.pop(0):
                    case Conclude():
                        self._record(replace(self._new_fact(effect), status=FactStatus.COMPLETED, value=effect.value))
                    case Withdraw():
                        self._withdraw(walk, effect)
                    case _:
                        heapq.heappush(under_way, (self._begin(effect), _chance(effect), self._next(), effect))
            if not under_way:
                assert walk.ended, f"nothing will ever wake it: {walk.open}"
                return
            due, _, _, effect = heapq.heappop(under_way)
            if walk.asks(effect.place.key) is effect:
                self.now = max(self.now, due)
                walk.resume(self._settle(effect))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _begin(self, effect: Effect) -> int:
        """Record that an effect is under way; return when it will be settled. Decisions take no time and no record."""
        if isinstance(effect, Decide):
            return self.now
        fact = self.journal.answer(effect.place, effect.kind)
        assert fact is None or not fact.settled
        if fact is None:
            fact = self._record(self._new_fact(effect))
        return fact.started_at + self.times.get(fact.key, 1 + _chance(effect) % 7)

    def _withdraw(self, walk: Walk, effect: Withdraw) -> None:
        fact = self.journal.answer(effect.place, effect.kind)
        if fact is not None:
            walk.resume(self._record(replace(fact, status=FactStatus.CANCELLED, completed_at=self.now)))

    def _new_fact(self, effect: Effect) -> Fact:
        order = max((fact.order for fact in self.facts.values()), default=0) + 1
        place = effect.place
        return Fact(place.key, effect.kind, FactStatus.RUNNING, place.turn, order, started_at=self.now)

    def _settle(self, effect: Effect) -> Fact:
        begun = self._new_fact(effect) if isinstance(effect, Decide) else self.journal.facts[effect.place.key]
        fact = replace(begun, completed_at=self.now)
        try:
            value = self._carry_out(effect)
        except Exception as error:  # noqa: BLE001 - user code
            record = ErrorRecord(type(error).__name__, str(error), effect.place.name)
            return self._record(replace(fact, status=FactStatus.FAILED, error=record))
        return self._record(replace(fact, status=FactStatus.COMPLETED, value=json.dumps(value)))

    def _carry_out(self, effect: Effect) -> Any:
        match effect:
            case Invoke():
                return self._call(effect.handler, effect)
            case Decide():
                answer = self._call(effect.question, effect)
                return answer if effect.check is None else effect.check(answer)
            case WaitFor() if effect.timeout is not None and self.timeouts:
                msg = f"no {effect.demand.label}"
                raise TimeoutError(msg)
            case WaitFor():
                events = [event for event, needed in effect.demand.counts.items() for _ in range(needed)]
                taken = [events[position] for position in effect.demand.choose(events) or ()]
                values = [(event, json.dumps(f"{event} for {effect.place.key}")) for event in taken]
                return json.loads(effect.demand.value(JsonReader(), values))
            case RunChild():
                return {"of": effect.place.key}
            case WaitUntil() | UndoChild() | Remind():
                return None

    def _call(self, function: Callable[..., Any], effect: Invoke | Decide) -> Any:
        place = getattr(effect, "undoes", None) or effect.place
        facts = RunFacts("run", self.definition.name, json.dumps(self.input), lambda *_: None)
        failure = ErrorRecord("Error", "undone") if isinstance(effect, Invoke) and effect.undoes else None
        context: Context[Any] = Context(facts, effect.scope, place, attempt=1, failure=failure)
        self.ledger.append(f"{effect.place.key} {'.'.join(map(str, effect.place.turn))}")
        turn = getattr(effect, "turn", None)
        return function(context) if turn is None else function(context, turn)

    def _record(self, fact: Fact) -> Fact:
        if self.records == self.crash_after:
            raise Crash
        self.records += 1
        self.facts.update((each.key, each) for each in self.journal.enter(fact))
        return fact

    def _value(self, fact: Fact) -> Any:
        return self.journal.value(fact)


def _chance(effect: Effect) -> int:
    """Return a number that follows from an effect's key and turn: what comes first does not depend on a restart."""
    return zlib.crc32(f"{effect.place.key} {effect.place.turn}".encode())
