"""One run as a person reads it: what it is, what it waits for, and every attempt in order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from ..dsl.events import WaitingFor
from ..execution import Execution
from ..history import AttemptRecord
from ..steering import AuditEntry
from .printing import STYLES, error_data, plain, print_line, shorten, span, value_text, when

__all__ = ["attempt_data", "print_attempt", "print_run", "run_data", "summary", "waits_of"]

_NAME = 26
_OUTCOME = 13


def print_run(
    run: Execution, history: Iterable[AttemptRecord], asked: Iterable[AuditEntry], *, whole: bool, tracebacks: bool
) -> None:
    """Print a run: its head, then its timeline."""
    version = f" {run.version}" if run.version else ""
    paused = ", paused" if run.paused else ""
    rollback = f", rollback {run.rollback}" if run.rollback else ""
    print_line(
        (run.id, "bold"), f"  {run.workflow_name}{version}  ", (f"{run.state}{paused}{rollback}", STYLES[run.state])
    )
    ended = "" if run.finished_at is None else f", ended {span(run.finished_at - run.created_at)} later"
    print_line(f"started  {when(run.created_at)}{ended}")
    if run.parent_id is not None:
        print_line(f"parent   {run.parent_id}")
    if run.tags:
        print_line(f"tags     {_value(run.tags, whole=whole)}")
    print_line(f"input    {_value(run.input, whole=whole)}")
    if run.error is not None:
        where = f" (in {run.error.step!r})" if run.error.step else ""
        print_line("error    ", (f"{run.error}{where}", "red"))
    if run.finished_at is not None and run.result is not None:
        print_line(f"result   {_value(run.result, whole=whole)}")
    for line in waits_of(run):
        print_line("waiting  ", (line, "yellow"))
    for entry in asked:
        step = f" {entry.step!r}" if entry.step else ""
        by, why = f" by {entry.by}" if entry.by else "", f": {entry.reason}" if entry.reason else ""
        print_line("asked    ", (f"{when(entry.at)}  ", "dim"), f"{entry.verb}{step}{by}{why}")
    print_line("")
    for record in history:
        print_attempt(record, run.created_at, whole=whole)
        if tracebacks and record.error is not None and record.error.traceback:
            for line in record.error.traceback.splitlines():
                print_line(f"{'':11}", (line, "dim"))


def print_attempt(record: AttemptRecord, start: datetime, *, whole: bool = False, run: str = "") -> None:
    """Print one attempt on a line, its time counted from the start of its run."""
    undo = record.kind == "compensation"
    name = f"undo {record.step}" if undo else record.step.removeprefix("__waitFor:")
    turn = f" turn {'.'.join(map(str, record.turn))}" if record.turn else ""
    outcome = "undone" if undo and record.outcome == "completed" else record.outcome
    kind = "" if record.kind in ("step", "compensation") else f"({record.kind.replace('_', ' ')}) "
    print_line(
        f"{run}{'  ' if run else ''}",
        (f"{span(record.started_at - start):>9}  ", "dim"),
        f"{shorten(name, _NAME):<{_NAME}}",
        (f"{outcome.replace('_', ' '):<{_OUTCOME}}", STYLES.get(outcome, "")),
        (f"{kind}{_detail(record, whole=whole)}{turn}", "red" if record.error is not None else ""),
    )


def _detail(record: AttemptRecord, *, whole: bool) -> str:
    said = [f"attempt {record.attempt}"] if record.attempt > 1 or record.next_attempt_at is not None else []
    if record.error is not None:
        said.append(str(record.error))
    if record.next_attempt_at is not None and record.ended_at is not None:
        said.append(f"again after {span(record.next_attempt_at - record.ended_at)}")
    if record.error is None and record.ended_at is not None and record.ended_at - record.started_at > timedelta(0):
        said.append(f"took {span(record.ended_at - record.started_at)}")
    if record.result is not None:
        said.append(f"-> {_value(record.result, whole=whole)}")
    return ", ".join(said) if whole else shorten(", ".join(said))


def waits_of(run: Execution) -> list[str]:
    """Return what a run waits for, and how that ends."""
    parked = {f"undo {one.step}" if one.compensation else one.step: one for one in run.incidents}
    steps = {one.step for one in run.incidents}
    lines = [_gate(gate) for gate in run.waiting_for if gate.event is not None or gate.name not in steps]
    return lines + [
        f"for an operator, since {when(one.since)}: {name!r} has failed; perdure retry {run.id}, or skip, or resolve"
        for name, one in parked.items()
    ]


def _gate(gate: WaitingFor) -> str:
    what = f"for signal {gate.event!r}" if gate.event else f"in {gate.name!r}"
    if gate.limit is not None:
        what = f"for {gate.what}"
    until = f", until {when(gate.deadline)} at most" if gate.deadline else ""
    return f"{what} since {when(gate.since)}{until}"


def _value(value: Any, *, whole: bool) -> str:
    text = value_text(value)
    return text if whole else shorten(text)


def summary(run: Execution) -> str:
    """Return the one thing to know of a run besides its state."""
    if run.error is not None:
        return str(run.error)
    return ", ".join(f"for {gate.what}" for gate in run.waiting_for)


def run_data(run: Execution, history: Iterable[AttemptRecord] | None = None) -> dict[str, Any]:
    """Return a run as data for JSON, with its attempts if there is a history."""
    data = {
        "id": run.id,
        "workflow": run.workflow_name,
        "version": run.version,
        "state": str(run.state),
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "finished_at": run.finished_at,
        "parent_id": run.parent_id,
        "tags": run.tags,
        "input": run.input,
        "result": run.result,
        "error": error_data(run.error),
        "rollback": run.rollback,
        "paused": run.paused,
        "forked_from": run.forked_from,
        "waiting_for": [
            {
                "name": gate.name,
                "event": gate.event,
                "since": gate.since,
                "deadline": gate.deadline,
                **({} if gate.limit is None else {"limit": gate.limit, "key": gate.key}),
            }
            for gate in run.waiting_for
        ],
        "signals": run.signals,
        "steps": run.steps,
    }
    if history is not None:
        data["attempts"] = [attempt_data(record) for record in history]
    return plain(data)  # type: ignore[no-any-return]


def attempt_data(record: AttemptRecord) -> dict[str, Any]:
    """Return an attempt as data for JSON."""
    return plain(record)  # type: ignore[no-any-return]
