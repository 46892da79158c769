"""One life of an engine that runs a workflow to its end, and what a witness writes down of it.

The witness is a file: what was written before a SIGKILL is there after it. It never asks the engine what happened; it
sees user code begin and end, and commits succeed.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..dsl.errors import UsageError
from ..dsl.facts import UNDO, FactStatus
from ..dsl.states import ENDS
from ..engine import Engine
from ..execution import Execution
from ..persistence import codec
from .crash_points import Moment

__all__ = ["Entry", "Witness", "describe", "drive"]


class Entry(NamedTuple):
    """One line of the witness.

    Attributes:
        what: ``began`` or ``did`` for user code; ``recorded`` for a result on disk; ``time`` for the time it was.
        run: Integer key of the run, or microseconds for a time.
        name: Name of the node with its turn; ``undo:`` stands before that of a compensation.
    """

    what: str
    run: int
    name: str = ""


class Witness:
    """A file to which lines are added, each at once and whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def visit(self, moment: Moment) -> None:
        """Write down what a crash point shows."""
        match moment.point:
            case "handler.before":
                self._user_code("began", moment)
            case "handler.after":
                self._user_code("did", moment)
            case "commit.after":
                for (run, _), fact in moment.records.facts.items():
                    if fact.status is FactStatus.COMPLETED:
                        turn = f"@{'.'.join(map(str, fact.turn))}" if fact.turn else ""
                        self.write(Entry("recorded", run, f"{fact.name.replace(UNDO, 'undo:')}{turn}"))

    def _user_code(self, what: str, moment: Moment) -> None:
        assert moment.attempt is not None
        assert moment.key is not None
        self.write(Entry(what, moment.attempt.run, moment.key.removeprefix(f"{moment.run}:")))

    def write(self, entry: Entry) -> None:
        """Add a line."""
        os.write(self._descriptor, f"{json.dumps(entry)}\n".encode())

    def read(self) -> list[Entry]:
        """Return all lines, in order."""
        return [Entry(*json.loads(line)) for line in self._path.read_text().splitlines()]

    def close(self) -> None:
        """Write nothing more."""
        os.close(self._descriptor)


def drive(engine: Engine, freezer: Any, signals: Mapping[str, Any], witness: Witness, *, timeout: float) -> None:
    """Bring every run to its end: send each signal that a gate waits for, else let time pass to the next deadline.

    Raises:
        UsageError: a run waits for a signal that is not given, and would wait for ever.
        WaitTimeout: a handler did not return within so many real seconds.
    """
    while True:
        engine.settle(timeout)
        runs = [run for run in engine.list_executions() if run.state not in ENDS]
        if not runs:
            return
        gates = [
            (run.id, gate.event) for run in runs for gate in run.waiting_for if gate.event and gate.event in signals
        ]
        for run_id, event in gates:
            engine.signal(run_id, event, signals[event])
        if not gates:
            _move_on(engine, freezer, runs, witness)


def _move_on(engine: Engine, freezer: Any, runs: list[Execution], witness: Witness) -> None:
    due = engine.next_deadline()
    if due is None:
        events = sorted({str(gate.event) for run in runs for gate in run.waiting_for})
        raise UsageError(f"nothing will ever wake {runs}: which signals are to be sent? It waits for {events}")
    now = max(due, dt.datetime.now(dt.UTC))
    witness.write(Entry("time", round(now.timestamp() * 1_000_000)))  # first: time never goes back after a crash
    freezer.move_to(now)


def describe(engine: Engine) -> list[dict[str, Any]]:
    """Return how every run ended, oldest first, in a form that is the same whenever the process died."""
    runs = engine.list_executions()[::-1]
    # Ids of children are drawn anew in each life, and may stand in results: runs are called by their order.
    names = {run.id: f"<{run.workflow_name} {number}>" for number, run in enumerate(runs)}
    return [dict(_described(run, names)) for run in runs]


def _described(run: Execution, names: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    yield "run", names[run.id]
    yield "state", str(run.state)
    yield "error", None if run.error is None else [run.error.type, run.error.step]
    yield "rollback", None if run.rollback is None else str(run.rollback)
    yield "result", _text(run.result, names)
    for name, step in sorted(run.steps.items()):
        yield f"step {name!r}", [str(step.status), step.compensation]
        yield f"result of {name!r}", _text(step.result, names)


def _text(value: Any, names: Mapping[str, str]) -> str:
    text = codec.encode(value)
    for own, name in names.items():
        text = text.replace(own, name)
    return text
