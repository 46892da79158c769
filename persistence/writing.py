"""What a commit holds, written by as few statements as may be.

This file must never begin or end a transaction, nor decide whether it may be committed: it returns what does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from ..dsl.errors import OwnershipLost
from . import retention
from .connection import Connection, Rows
from .inbox import consume
from .limits import change_slots, take_tokens
from .models import AttemptModel, ExecutionModel, SignalModel, StepModel, TagModel
from .oversight import write_oversight
from .records import Batch
from .rows import attempt_parameters, execution_parameters, fact_parameters, upsert
from .schedules import write_schedules

__all__ = ["MAY_BE_WRITTEN", "write_batch"]

_EXACT: Final = 8
_LARGEST_STATEMENT: Final = 64
"""Rows in one statement at most. Measured: beyond that SQLite spends more on each row, not less."""

MAY_BE_WRITTEN: Final = (
    "workflow_executions.owner IN ({}) OR (workflow_executions.finished_at IS NOT NULL"
    " AND workflow_executions.owner NOT IN (SELECT id FROM workflow_engines))"
)
"""Which runs an engine may write, by the engines whose runs it drives. A finished run whose engine is forgotten belongs
to nobody: whoever revives it may have it."""

_NEW_INPUT: Final = "UPDATE workflow_executions SET input = ? WHERE id = ?"


def write_batch(connection: Connection, batch: Batch, owner: int, condition: str) -> list[Callable[[], None]]:
    """Write what a commit holds.

    Args:
        connection: One on which a transaction is open.
        batch: What to write.
        owner: The engine whose runs the batch's are from now on.
        condition: Which runs that are there already may be written.

    Returns:
        What makes sure that all was as it should be; to be called before the commit.
    """
    checks = []
    if batch.replaced or batch.freed:
        retention.make_way(connection, replaced=batch.replaced, freed=batch.freed)
    if batch.executions:
        checks.append(_write_runs(connection, batch, owner, condition))
    write_oversight(connection, batch)
    if batch.facts:
        _insert(connection, StepModel, fact_parameters(batch.facts.items()))
    if batch.signals:
        _insert(connection, SignalModel, list(batch.signals.values()))
    if batch.schedules:
        write_schedules(connection, batch.schedules)
    if batch.consumed:
        checks.append(consume(connection, batch.consumed))
    if batch.slots:
        change_slots(connection, batch.slots)
    if batch.tokens:
        take_tokens(connection, batch.tokens)
    _write_the_rare(connection, batch)
    return checks


def _write_runs(connection: Connection, batch: Batch, owner: int, condition: str) -> Callable[[], None]:
    """Write runs; return what raises unless all of them are this engine's to write."""
    runs = [execution_parameters(row, owner) for row in batch.executions.values()]
    done = _insert(connection, ExecutionModel, runs, condition)

    def check() -> None:
        if lost := len(runs) - sum(rows.rowcount for rows in done):
            raise OwnershipLost(f"{lost} of the batch's runs belong to another engine; nothing was written")

    return check


def _write_the_rare(connection: Connection, batch: Batch) -> None:
    """Write what most commits have none of."""
    if batch.attempts:
        _insert(connection, AttemptModel, [attempt_parameters(run, attempt) for run, attempt in batch.attempts])
    if batch.inputs:
        connection.executemany(_NEW_INPUT, [(text, run) for run, text in batch.inputs])
    if batch.tags:
        _insert(connection, TagModel, list(batch.tags))


def _insert(connection: Connection, model: Any, rows: list[Any], condition: str = "") -> list[Rows]:
    """Insert or replace rows by as few statements as powers of two allow; return what each of them has done.

    Few statements, because each gives the GIL up, which beside a busy thread can cost 5 ms to get back; powers of
    two, so that every one is prepared once.
    """
    done = []
    begin = 0
    while begin < len(rows):
        left = len(rows) - begin
        size = left if left <= _EXACT else min(1 << left.bit_length() - 1, _LARGEST_STATEMENT)
        parameters = list(itertools.chain.from_iterable(rows[begin : begin + size])) if size > 1 else rows[begin]
        done.append(connection.execute(upsert(model, size, condition), parameters))
        begin += size
    return done
