"""What a step costs in commits, statements and calls of functions: counted, so that a busy machine changes nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from perdure import Workflow

from ..measure import rate
from ..recording import Tape, record
from .shared import INPUT, open_engine, straight

_SHORT, _LONG = 10, 30


def perdure(*, in_flight: int, seconds: float) -> dict[str, float]:
    """Compare what long and short runs cost: the difference, divided by the difference in steps."""
    if in_flight == 1:
        short, long = _alone(_SHORT), _alone(_LONG)
        more = _LONG - _SHORT
        return {name: (long[name] - short[name]) / more for name in long}
    workflow = straight(3)
    started: list[str] = []

    def start() -> Callable[[], object]:
        run = engine.start(workflow.name, INPUT)
        started.append(run.id)
        return run.result

    with record() as tape, open_engine(workflow, durability="full", concurrency=in_flight) as engine:
        tape.clear()
        rate(start, in_flight=in_flight, callers=min(16, in_flight), seconds=seconds)
        return {name: count / len(started) / 3 for name, count in _counts(tape).items()}


def _alone(steps: int) -> dict[str, float]:
    workflow = straight(steps)
    with record() as tape, open_engine(workflow, durability="full") as engine:
        engine.start(workflow.name, INPUT).result()
        tape.clear()
        engine.start(workflow.name, INPUT).result()
        counts = _counts(tape)
    return {**counts, "calls": _calls(workflow)}


def _calls(workflow: Workflow[Any, Any]) -> int:
    """Count the calls of Python functions that a run needs, on all threads."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    threading.setprofile(count)  # for the engine's threads, which are yet to start
    try:
        with open_engine(workflow, durability="normal") as engine:
            engine.start(workflow.name, INPUT).result()
            sys.setprofile(count)
            before = calls
            engine.start(workflow.name, INPUT).result()
            return calls - before
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _counts(tape: Tape) -> dict[str, float]:
    return {"commits": len(tape.transactions), "statements": tape.statements, "reads": len(tape.reads)}
