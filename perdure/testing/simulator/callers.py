"""The outside world of one history: it starts, signals and cancels runs, and remembers what it was told.

An acknowledgement is checked in the moment it is given: what it says must be on disk already.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec

from ...actors.reply import Elsewhere
from ...actors.starting import Start, ToRun
from ...dsl import messages as msg
from ...dsl.errors import (
    ExecutionFinished,
    ExecutionNotFound,
    IllegalTransition,
    InternalError,
    OwnershipLost,
    StoreUnavailable,
    UnknownSignal,
)
from ...dsl.states import FINAL, State
from ...persistence.codec import encode
from .ledger import Ledger
from .plans import EVENTS, Flow
from .process import Process

__all__ = ["Callers"]


class Callers:
    """Everybody who asks something of the engines of one history.

    Attributes:
        more: How many more things they will ask for.
    """

    def __init__(self, chance: random.Random, flows: tuple[Flow, ...], ledger: Ledger) -> None:
        self._chance = chance
        self._flows = flows
        self._ledger = ledger
        self._events = {flow.name: [plan.name for plan in flow.every() if plan.kind == "gate"] for flow in flows}
        self._tokens = itertools.count(1)
        self._starts = [self._new_start(number) for number in range(chance.choice((1, 2, 2, 3, 4)))]
        self._again: list[Start] = []
        self._cancels = chance.choice((0.0, 0.1, 0.3, 0.6))
        self._keyed = chance.choice((0.0, 0.5))
        self.more = len(self._starts) + chance.choice((0, 3, 9))

    def _new_start(self, number: int) -> Start:
        flow = self._chance.choice(self._flows)
        key = f"key{number}" if self._chance.random() < 0.3 else None  # noqa: PLR2004 - some
        named = key is None or self._chance.random() < 0.5  # noqa: PLR2004 - half of them
        name = f"run{number}" if named else None
        return Start(flow.name, encode(f"input {number}"), name or "", execution_id=name, key=key)

    # ---- asking

    def act(self, process: Process) -> None:
        """Ask for something."""
        self.more -= 1
        if self._starts and (not self._again or self._chance.random() < 0.5 or self.more < len(self._starts)):  # noqa: PLR2004
            start = self._starts.pop(0)
            self._again.append(start)
            self._start(process, start)
            return
        start = self._chance.choice(self._again)
        row = self._ledger.row_of(start.execution_id or "run0")
        run = start.execution_id or "run0"
        draw = self._chance.random()
        if row is None or draw < 0.15:  # noqa: PLR2004 - a caller that did not hear the first time
            self._start(process, start)
        elif draw < 0.15 + self._cancels:
            self.send(process, run, msg.Cancel(compensate=self._chance.random() < 0.8))  # noqa: PLR2004 - mostly
        else:
            key = self._chance.choice(("a", "b")) if self._chance.random() < self._keyed else None
            self.signal(process, run, self._chance.choice(self._events[row.workflow] or EVENTS), key=key)

    def _start(self, process: Process, start: Start) -> None:
        if start.execution_id is None:  # every call makes an id up
            start = msgspec.structs.replace(start, new_id=f"made{next(self._tokens)}")
        process.post(start, lambda answer: self._started(start, answer))

    def signal(self, process: Process, run: str, event: str, *, key: str | None = None) -> None:
        """Send a signal that is like no other."""
        self.send(process, run, msg.Signalled(event, encode(f"payload {next(self._tokens)}"), key))

    def send(self, process: Process, run: str, message: Any) -> None:
        """Send a message to a run."""
        heard = self._hears(run, message)

        def answered(answer: Any) -> None:
            if not isinstance(answer, Elsewhere):  # what nobody here has taken, a caller sends to another engine
                heard(answer)

        process.post(ToRun(run, message), answered)

    def _hears(self, run: str, message: Any) -> Callable[[Any], None]:
        match message:
            case msg.Signalled():
                return lambda answer: self._signalled(run, message, answer)
            case msg.Cancel():
                return lambda answer: self._cancelled(run, answer)
        return self._resumed

    # ---- hearing

    def _check_excuse(self, answer: Any, what: str, legal: tuple[type[BaseException], ...]) -> bool:
        """Tell whether the answer is an error, and note one that nobody should get."""
        if not isinstance(answer, BaseException):
            return False
        if isinstance(answer, InternalError) or not isinstance(answer, (StoreUnavailable, OwnershipLost, *legal)):
            self._ledger.broken(1, f"{what} was answered by {answer!r}")
        return True

    def _resumed(self, answer: Any) -> None:
        self._check_excuse(answer, "resume", ())

    def _started(self, start: Start, answer: Any) -> None:
        if self._check_excuse(answer, f"start of {start.execution_id or start.key}", ()):
            return
        row = self._ledger.row_of(answer)
        if row is None:
            self._ledger.broken(1, f"the start of {answer} was acknowledged, but it is not on disk")
        elif (row.input, row.workflow) != (start.input, start.workflow):
            self._ledger.broken(1, f"the start of {answer} gave a run of something else")

    def _signalled(self, run: str, signal: msg.Signalled, answer: Any) -> None:
        what = f"signal {signal.payload} to {run}"
        legal = (ExecutionFinished, ExecutionNotFound, UnknownSignal)
        row = self._ledger.row_of(run)
        if self._check_excuse(answer, what, legal):
            self._check_refusal(answer, what, run)
            return
        stored = [one for one in self._ledger.signals.values() if row is not None and one.execution == row.id]
        key = signal.dedup_key
        if not any(one.payload == signal.payload or (key is not None and one.dedup_key == key) for one in stored):
            self._ledger.broken(1, f"{what} was acknowledged, but it is not on disk")

    def _check_refusal(self, answer: Any, what: str, run: str) -> None:
        row = self._ledger.row_of(run)
        if isinstance(answer, ExecutionNotFound) and row is not None:
            self._ledger.broken(1, f"{what} was refused: no such run, but it is on disk")
        if isinstance(answer, (ExecutionFinished, IllegalTransition)):
            over = row is not None and (State(row.state) in {*FINAL, State.COMPENSATING, State.QUARANTINED})
            if not over and not (row is not None and self._ledger.halted(row.id)):
                self._ledger.broken(1, f"{what} was refused as if the run had ended")

    def _cancelled(self, run: str, answer: Any) -> None:
        what = f"cancelling {run}"
        if self._check_excuse(answer, what, (IllegalTransition, ExecutionNotFound)):
            self._check_refusal(answer, what, run)
            return
        row = self._ledger.row_of(run)
        if row is None or not self._ledger.halted(row.id):
            self._ledger.broken(1, f"{what} was acknowledged, but it is not on disk")
        else:
            self._ledger.cancelled.add(row.id)
