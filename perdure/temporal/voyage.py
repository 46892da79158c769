"""One run on Temporal: the same walk over the same journal, every effect carried out by Temporal's own means.

Rules:

1. Nothing here reads a clock, draws a number or calls user code but through Temporal, so that a replay does the same.
2. A handler or question is an activity, a wait a timer, a child a workflow. Retries and time limits are Temporal's.
3. What was recorded is kept as facts. A history that grows too long is left behind: the run continues as a new one that
   begins with them, at a moment at which nothing is under way that could not be taken up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from msgspec import structs
from temporalio import workflow

from ..actors.reader import CodecReader
from ..actors.results import step_results
from ..dsl.effects import Conclude, Decide, Effect, Invoke, Remind, RunChild, UndoChild, WaitFor, WaitUntil, Withdraw
from ..dsl.errors import SignalTimeout, WorkflowTimeout
from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus, Place
from ..dsl.journal import Journal
from ..dsl.programs import forward, roll_back, undone_in_part
from ..dsl.scope import Scope
from ..dsl.states import FINAL, State
from ..dsl.walk import Walk
from ..persistence.codec import decode, encode
from ..persistence.records import ExecutionRow
from . import calls, graph
from .border import Begin, Left, Sent, Snapshot, Stop
from .mailbox import Mailbox

__all__ = ["Voyage"]

_MICROS = 1_000_000


class Voyage:
    """Where one run stands.

    Attributes:
        changed: Whether anything has happened since the run was last looked at.
        fault: What has gone wrong that is nobody's fault but ours.
        state: What it is doing.
        error: Why it has failed or was stopped.
        deadline: When its time as a whole is up.
    """

    def __init__(self, begin: Begin, execution_id: str) -> None:
        self._begin = begin
        self._id = execution_id
        self.definition = graph.read(begin.graphs[begin.workflow])
        self.journal = Journal(CodecReader(), begin.facts)
        self.scope = Scope(self.journal)
        self.mailbox = Mailbox(begin.signals)
        self._left = dict(begin.left)
        self._order = begin.order
        self._doing: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        self._stop: Stop | None = None
        self._walk: Walk | None = None
        self._way_back = False
        self._draining = False
        self.changed = False
        self.fault: BaseException | None = None
        self.state = State.RUNNING
        self.error: ErrorRecord | None = None
        self._cancelled = begin.cancelled
        self._result: str | None = None
        self._rollback: str | None = None
        self.created_at = begin.created_at
        self.deadline = begin.deadline
        self._updated_at = begin.created_at
        self._finished_at: int | None = None

    # ---- from outside

    def set_sail(self) -> None:
        """Walk to where the facts end."""
        now = _now()
        self.created_at = self.created_at or now
        if self.deadline is None and self.definition.timeout is not None and not self._begin.undoes:
            self.deadline = now + round(self.definition.timeout * _MICROS)
        self._walk = forward(self.definition.body, self.scope)
        if self._begin.error is not None:  # it was on its way back, or is there to undo what another one did
            self._turn_back(self._begin.error)
        elif self.deadline is not None:
            self._time("", self.deadline, self._time_is_up)
        self.go_on()

    def accept(self, sent: Sent) -> None:
        """Take a signal in, and open the first gate that waits for it; one that comes too late is dropped."""
        if self._stop is not None or self._way_back or self.state in FINAL:
            return
        if not self.mailbox.accept(sent.event, sent.payload, sent.key, _now()):
            return
        for effect in self._walk.open if self._walk is not None else ():
            if isinstance(effect, WaitFor) and sent.event in effect.demand.events:
                fact = self.journal.answer(effect.place, effect.kind)
                if fact is not None and not fact.settled and self._take(effect, fact):
                    break
        self.changed = True

    def stop(self, stop: Stop, error: ErrorRecord | None = None) -> None:
        """Begin nothing more, let what is under way end, and undo what was done; an error says that it has failed."""
        if self._stop is not None or self._way_back or self.state in FINAL:
            return
        self._stop = stop
        self._cancelled = error is None
        self.error = error or ErrorRecord("perdure.WorkflowCancelled", stop.reason)
        for task in self._doing.values():
            task.cancel()
        self.changed = True

    def snapshot(self) -> Snapshot:
        """Return what the run looks like."""
        row = ExecutionRow(
            id=0,
            execution_id=self._id,
            workflow=self.definition.name,
            version=self.definition.version,
            fingerprint=self.definition.fingerprint,
            state=self._shown_state(),
            input=self._begin.input,
            result=self._result,
            error=self.error,
            rollback=self._rollback,
            idempotency_key=None,
            tags=self._begin.tags,
            parent_id=None,
            parent_key=None,
            owner=0,
            adoptions=0,
            sequence=0,
            created_at=self.created_at,
            updated_at=self._updated_at,
            finished_at=self._finished_at,
        )
        return Snapshot(row, list(self.journal.facts.values()), self.mailbox.signals, self._left)

    def _shown_state(self) -> State:
        if self.state is State.RUNNING and self._walk is not None and self._walk.open and not self._doing:
            return State.WAITING
        return self.state

    # ---- a history that grows too long

    def may_continue(self, events: int, *, suggested: bool) -> bool:
        """Tell whether the run is to continue as a new one, now; begin nothing more until it can."""
        limit = self._begin.most_events
        if not suggested and (limit is None or events < limit):
            return False
        if self._stop is not None or any(key.startswith("child ") for key in self._doing):
            return False  # a child reports to this run alone
        self._draining = True
        return not self._doing

    def continued(self) -> Begin:
        """Return what the new run begins with."""
        return structs.replace(
            self._begin,
            created_at=self.created_at,
            deadline=self.deadline,
            order=self._order,
            facts=list(self.journal.facts.values()),
            signals=self.mailbox.signals,
            left=self._left,
            error=self.error,
            cancelled=self._cancelled,
        )

    # ---- going on

    def go_on(self) -> None:
        """Ask for what the walk owes until it rests or ends."""
        if self.fault is not None:
            raise self.fault
        while (walk := self._walk) is not None:
            effect = self._next(walk)
            if effect is not None:
                if self._stop is None or self._way_back:
                    self._ask(effect)
            elif walk.ended:
                self._arrive()
            elif self._stop is not None and not self._way_back and not self._doing:
                self._turn_back(self.error, compensate=self._stop.compensate)
            else:
                return

    def _next(self, walk: Walk) -> Effect | None:
        """Return the next effect; while nothing may begin, only what belongs to a fact, or ends what was begun."""
        for at, effect in enumerate(walk.fresh):
            if not self._draining or isinstance(effect, (Conclude, Withdraw)):
                return walk.fresh.pop(at)
        return None

    def _arrive(self) -> None:
        walk = self._walk
        assert walk is not None
        if self._way_back:
            self._end(State.CANCELLED if self._cancelled else State.FAILED, rollback=walk.value)
        elif self._stop is not None:
            self._turn_back(self.error, compensate=self._stop.compensate)
        elif walk.error is not None:
            self._turn_back(walk.error)
        else:
            self._result = walk.value or "null"
            self._end(State.COMPLETED)

    def _turn_back(self, error: ErrorRecord | None, *, compensate: bool = True) -> None:
        walk = self._walk
        assert walk is not None
        walk.close()
        for key in list(self._timers):
            self._disarm(key)
        self.error = error
        debts = self.scope.debts() if compensate else []
        if not debts:
            self._end(State.CANCELLED if self._cancelled else State.FAILED, rollback="none")
            return
        self.state = State.COMPENSATING
        self._way_back = True
        self._walk = Walk(roll_back(debts), self.journal)

    def _end(self, state: State, *, rollback: str | None = None) -> None:
        self._walk = None
        for key in list(self._timers):
            self._disarm(key)
        self.state, self._rollback = state, rollback
        self._finished_at = self._updated_at = _now()

    # ---- facts

    def _new_fact(self, effect: Any, status: FactStatus, **fields: Any) -> Fact:
        self._order += 1
        place: Place = effect.place
        return Fact(place.key, effect.kind, status, place.turn, self._order, started_at=_now(), **fields)

    def _record(self, fact: Fact) -> Fact:
        self.journal.enter(fact)
        self._updated_at = _now()
        return fact

    def _settle(self, fact: Fact, status: FactStatus, **changes: Any) -> None:
        """Record an outcome and let the walk go on with it."""
        self._disarm(fact.key)
        fact = self._record(structs.replace(fact, status=status, due_at=None, completed_at=_now(), **changes))
        if self._walk is not None:
            self._walk.resume(fact)
        self.changed = True

    def _fail(self, fact: Fact, error: ErrorRecord, **changes: Any) -> None:
        self._settle(fact, FactStatus.FAILED, value=None, error=error, **changes)

    # ---- asking

    def _ask(self, effect: Effect) -> None:  # noqa: C901 - one case an effect
        fact = self.journal.answer(effect.place, effect.kind)
        match effect:
            case Invoke():
                fact = fact or self._record(self._new_fact(effect, FactStatus.RUNNING, attempts=1))
                self._do(effect.place.key, self._invoke(effect, fact))
            case Decide():
                self._do(effect.place.key, self._decide(effect))
            case WaitFor():
                self._open_gate(effect, fact)
            case Remind():
                self._ask_reminder(effect, fact)
            case WaitUntil() if fact is not None:
                self._sleep_until(effect, fact)
            case WaitUntil() if callable(effect.until):
                self._do(effect.place.key, self._ask_time(effect))
            case WaitUntil():
                self._sleep_until(effect, self._sleep_of(effect, effect.until))
            case RunChild():
                self._do(effect.place.key, self._run_child(effect), what="child")
            case UndoChild():
                self._do(effect.place.key, self._undo_child(effect), what="child")
            case Conclude():
                concluded = self._new_fact(effect, FactStatus.COMPLETED, value=effect.value)
                self._record(structs.replace(concluded, completed_at=_now()))
            case Withdraw():
                self._withdraw(effect, fact)

    def _do(self, key: str, coroutine: Coroutine[Any, Any, None], *, what: str = "call") -> None:
        """Have something under way until it has settled its fact."""
        name = f"{what} {key}"

        def done(task: asyncio.Task[None]) -> None:
            del self._doing[name]
            self.changed = True
            if not task.cancelled() and (fault := task.exception()) is not None:
                self.fault = fault

        self._doing[name] = asyncio.create_task(coroutine)
        self._doing[name].add_done_callback(done)

    def _withdraw(self, effect: Withdraw, fact: Fact | None) -> None:
        """End what is no longer wanted: what only waits at once, all else as soon as it can."""
        key = effect.place.key
        for name in (f"call {key}", f"child {key}"):
            if name in self._doing:
                self._unwanted.add(key)
                self._doing[name].cancel()
                return
        if fact is not None:
            self._settle(fact, FactStatus.CANCELLED, value=None)

    # ---- handlers and questions

    async def _invoke(self, effect: Invoke, fact: Fact) -> None:
        task = calls.task_of(self._begin, self.definition, self._id, effect, effect.handler)
        if effect.undoes is not None:
            task = structs.replace(task, failure=self.error)
        outcome = await calls.invoke(task, effect, self._begin.heartbeat)
        if isinstance(outcome, calls.Returned):
            self._settle(fact, FactStatus.COMPLETED, value=outcome.value, attempts=outcome.attempt)
        elif isinstance(outcome, calls.Raised):
            self._fail(fact, outcome.error, attempts=outcome.attempt)
        elif fact.key in self._unwanted:
            self._unwanted.discard(fact.key)
            self._settle(fact, FactStatus.CANCELLED, value=None)

    async def _question(
        self, effect: Any, code: graph.Code, *, as_bool: bool = False
    ) -> calls.Returned | calls.Raised | None:
        task = calls.task_of(self._begin, self.definition, self._id, effect, code)
        task = structs.replace(task, turn=getattr(effect, "turn", None), as_bool=as_bool)
        outcome = await calls.ask(task, effect)
        if effect.place.key in self._unwanted:  # it is forgotten, whatever came of it
            self._unwanted.discard(effect.place.key)
            return None
        check = getattr(effect, "check", None)
        if not isinstance(outcome, calls.Returned) or check is None or as_bool:
            return outcome
        try:
            checked = check(decode(outcome.value))
        except Exception as error:  # noqa: BLE001 - the answer's fault, and told as such
            return calls.Raised(calls.record_of(error, effect.place.name), 1)
        # The list of items stays as it came: here nobody need know what they are.
        return outcome if effect.kind is FactKind.ITEMS else calls.Returned(encode(checked), 1)

    async def _decide(self, effect: Decide) -> None:
        code: Any = effect.question
        outcome = await self._question(effect, code, as_bool=effect.check is bool)
        if isinstance(outcome, calls.Raised):
            self._fail(self._new_fact(effect, FactStatus.RUNNING), outcome.error)
        elif outcome is not None:
            self._settle(self._new_fact(effect, FactStatus.RUNNING), FactStatus.COMPLETED, value=outcome.value)

    # ---- time

    def _time(self, key: str, due: int, then: Any) -> None:
        async def wait() -> None:
            await workflow.sleep(timedelta(microseconds=max(0, due - _now())))
            self._timers.pop(key, None)
            then()
            self.changed = True

        self._timers[key] = asyncio.create_task(wait())

    def _disarm(self, key: str) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()

    def _time_is_up(self) -> None:
        error = WorkflowTimeout(self.definition.name, self.definition.timeout or 0)
        self.stop(Stop(), calls.record_of(error, None))

    async def _ask_time(self, effect: WaitUntil) -> None:
        code: Any = effect.until
        outcome = await self._question(effect, code)
        if isinstance(outcome, calls.Raised):
            self._fail(self._new_fact(effect, FactStatus.RUNNING), outcome.error)
        elif outcome is not None:
            self._sleep_until(effect, self._sleep_of(effect, decode(outcome.value)))

    def _sleep_of(self, effect: WaitUntil, until: Any) -> Fact:
        now = _now()
        due = now + round(until * _MICROS) if isinstance(until, (int, float)) else round(until.timestamp() * _MICROS)
        return self._record(self._new_fact(effect, FactStatus.WAITING, due_at=due))

    def _sleep_until(self, effect: WaitUntil, fact: Fact) -> None:
        assert fact.due_at is not None
        self._time(fact.key, fact.due_at, lambda: self._settle(fact, FactStatus.COMPLETED))

    # ---- gates

    def _open_gate(self, effect: WaitFor, fact: Fact | None) -> None:
        if fact is None:
            due = None if effect.timeout is None else _now() + round(effect.timeout * _MICROS)
            counts = effect.demand.counts
            wanted = encode(effect.demand.label if list(counts.values()) == [1] else counts)
            fact = self._new_fact(effect, FactStatus.WAITING, value=wanted, due_at=due)
            if self._take(effect, fact):
                return
            self._record(fact)
        if fact.due_at is not None:
            gate = fact
            self._time(fact.key, fact.due_at, lambda: self._expire(effect, gate))

    def _take(self, effect: WaitFor, gate: Fact) -> bool:
        value = self.mailbox.take(effect, gate)
        if value is not None:
            self._settle(gate, FactStatus.COMPLETED, value=value)
        return value is not None

    def _expire(self, effect: WaitFor, gate: Fact) -> None:
        error = SignalTimeout(effect.demand.label, effect.timeout or 0)
        self._fail(gate, calls.record_of(error, gate.name))

    def _ask_reminder(self, effect: Remind, fact: Fact | None) -> None:
        gate = self.journal.facts[effect.gate.key]
        every = round(effect.every * _MICROS)
        due = gate.started_at + every * ((_now() - gate.started_at) // every + 1)
        if fact is None:
            fact = self._record(self._new_fact(effect, FactStatus.WAITING))
        if gate.due_at is None or due < gate.due_at:
            reminder = fact
            self._time(fact.key, due, lambda: self._settle(reminder, FactStatus.COMPLETED))

    # ---- children

    async def _run_child(self, effect: RunChild) -> None:
        given = "null"
        if effect.mapper is not None:
            code: Any = effect.mapper
            outcome = await self._question(effect, code)
            if isinstance(outcome, calls.Raised):
                self._fail(self._new_fact(effect, FactStatus.RUNNING), outcome.error)
            if not isinstance(outcome, calls.Returned):
                return
            given = outcome.value
        fact = self._record(self._new_fact(effect, FactStatus.RUNNING))
        begin = Begin(effect.workflow, given, self._begin.graphs, self._begin.heartbeat, self._begin.most_events)
        ended = await calls.run_child(begin, f"{self._id}/{fact.key}")
        if isinstance(ended, calls.Raised):
            self._fail(fact, ended.error)
        else:
            self._left[fact.key] = Left(ended.facts, ended.left)
            self._settle(fact, FactStatus.COMPLETED, value=CodecReader.compose(step_results(ended.facts)))

    async def _undo_child(self, effect: UndoChild) -> None:
        fact = self._record(self._new_fact(effect, FactStatus.RUNNING))
        node = self.journal.facts[effect.child.key]
        name = self._workflow_of(effect)
        left = self._left[node.key]
        if not owes(self._begin.graphs[name], left):
            self._settle(fact, FactStatus.SKIPPED)
            return
        begin = Begin(
            name,
            "null",
            self._begin.graphs,
            self._begin.heartbeat,
            self._begin.most_events,
            order=max((each.order for each in left.facts), default=0),
            facts=left.facts,
            left=left.left,
            undoes=True,
            error=ErrorRecord("perdure.WorkflowCancelled", "the parent failed"),
            cancelled=True,
        )
        outcome = await calls.run_child(begin, f"{self._id}/{node.key}/undo")
        if isinstance(outcome, calls.Raised):
            self._fail(fact, outcome.error)
        elif outcome.execution.rollback == "partial":
            self._fail(fact, undone_in_part(name, outcome.facts, outcome.execution.error))
        else:
            self._settle(fact, FactStatus.COMPLETED)

    def _workflow_of(self, effect: UndoChild) -> str:
        """Return the name of the workflow of a child: its node knows it."""
        name = effect.scope.node_name(effect.child)
        for node in self.definition.body.every():
            if node.children() and name == node.name:
                return node.children()[0]
        raise AssertionError(name)


def owes(written: dict[str, Any], left: Left) -> bool:
    """Tell whether a run that has completed has left anything to be undone."""
    scope = Scope(Journal(CodecReader(), left.facts))
    forward(graph.read(written).body, scope)
    return bool(scope.debts())


def _now() -> int:
    return workflow.time_ns() // 1000
