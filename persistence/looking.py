"""Looking for runs: what is asked, as a record, and the SQL that answers it.

Rules:

1. Every question that a page or a poll may ask is answered from an index, in the index's own order, and that index is
   named in the statement: without statistics, which nobody gathers here, SQLite would have to guess.
2. What no index knows (a text in an error, a value in an input) is looked at row by row behind the narrowest one.

This file must never write.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, Literal, NamedTuple

from ..dsl.states import State
from .inputs import encoded_parts, holds
from .models import ExecutionModel, columns

__all__ = ["By", "Cursor", "Filter", "Order", "count_statement", "list_statement", "teach"]

By = Literal["state", "workflow"]
Order = Literal["newest", "oldest"]

_COLUMNS: Final = ", ".join(f'run."{name}"' for name in columns(ExecutionModel))
_INPUT_HOLDS: Final = "perdure_input_holds"


class Filter(NamedTuple):
    """Which runs are looked for; what is left out does not matter.

    Attributes:
        workflow: Name of the workflow.
        states: Names of states, one of which it is in.
        business_key: What it was started with.
        tags: Names with encoded values, all of which it has.
        created_from: Instant at which it was started, or later.
        created_until: Instant before which it was started.
        finished_from: Instant at which it ended, or later.
        finished_until: Instant before which it ended.
        error: Text that its error's type or message holds, in whatever case.
        inputs: Paths into the input with the encoded values that are there.
    """

    workflow: str | None = None
    states: tuple[str, ...] = ()
    business_key: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    created_from: int | None = None
    created_until: int | None = None
    finished_from: int | None = None
    finished_until: int | None = None
    error: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()


class Cursor(NamedTuple):
    """Where a page ended: what runs are in order by."""

    created_at: int
    id: int


def teach(connection: sqlite3.Connection) -> None:
    """Give a connection the function that looks into inputs."""
    connection.create_function(_INPUT_HOLDS, 3, holds, deterministic=True)


def list_statement(
    chosen: Filter, *, limit: int, offset: int = 0, after: Cursor | None = None, order: Order = "newest"
) -> tuple[str, list[Any]]:
    """Return the statement that reads a page of runs, and its parameters."""
    source, conditions = _source(chosen), _conditions(chosen)
    lead = "tag.created_at, tag.execution" if chosen.tags else "run.created_at, run.id"
    created, number = lead.split(", ")
    before, direction = ("<", "DESC") if order == "newest" else (">", "ASC")
    if after is not None:
        conditions.append((f"{created} {before}= ?", [after.created_at]))
        conditions.append((f"({created} {before} ? OR {number} {before} ?)", list(after)))
    where, parameters = _joined(conditions)
    sql = f"SELECT {_COLUMNS} {source}{where} ORDER BY {created} {direction}, {number} {direction} LIMIT ? OFFSET ?"
    return sql, [*parameters, limit, offset]


def count_statement(chosen: Filter, by: By | None = None) -> tuple[str, list[Any]]:
    """Return the statement that counts runs, in all or for each state or workflow."""
    source = _source(chosen, None if by is None else f"workflow_executions_{by}")
    where, parameters = _joined(_conditions(chosen))
    if by is None:
        return f"SELECT count(*) {source}{where}", parameters
    return f"SELECT run.{by}, count(*) {source}{where} GROUP BY run.{by} ORDER BY run.{by}", parameters


def _source(chosen: Filter, otherwise: str | None = None) -> str:
    """Return where rows come from: the narrowest index that there is for the question."""
    if chosen.tags:
        # CROSS JOIN keeps the order: SQLite would rather begin with the larger table.
        return "FROM workflow_tags AS tag CROSS JOIN workflow_executions AS run ON run.id = tag.execution"
    return f"FROM workflow_executions AS run INDEXED BY {_index(chosen) or otherwise or 'workflow_executions_created'}"


def _index(chosen: Filter) -> str | None:
    rare_state = len(chosen.states) == 1 and chosen.states[0] != State.COMPLETED
    if chosen.business_key is not None:
        return "workflow_executions_business_key"
    if rare_state:
        return "workflow_executions_state"
    if chosen.error is not None:
        return "workflow_executions_error"
    if chosen.workflow is not None:
        return "workflow_executions_workflow"
    if chosen.states and len(chosen.states) == 1:
        return "workflow_executions_state"
    if chosen.finished_from is not None and chosen.created_from is None:
        return "workflow_executions_finished"
    return None


def _conditions(chosen: Filter) -> list[tuple[str, list[Any]]]:
    """Return pieces of SQL that all must hold, each with its parameters."""
    found: list[tuple[str, list[Any]]] = []

    def ask(sql: str, *parameters: object) -> None:
        if None not in parameters:
            found.append((sql, list(parameters)))

    for number, (name, value) in enumerate(chosen.tags):
        if number == 0:
            ask("tag.name = ? AND tag.value = ?", name, value)
        else:
            ask(
                "EXISTS (SELECT 1 FROM workflow_tags AS another WHERE another.name = ? AND another.value = ?"
                " AND another.created_at = run.created_at AND another.execution = run.id)",
                name,
                value,
            )
    created = "tag.created_at" if chosen.tags else "run.created_at"
    ask(f"{created} >= ?", chosen.created_from)
    ask(f"{created} < ?", chosen.created_until)
    ask("run.business_key = ?", chosen.business_key)
    ask("run.workflow = ?", chosen.workflow)
    if len(chosen.states) == 1:
        ask("run.state = ?", *chosen.states)
    elif chosen.states:
        ask(f"run.state IN ({', '.join('?' * len(chosen.states))})", *chosen.states)
    ask("run.finished_at IS NOT NULL AND run.finished_at >= ?", chosen.finished_from)
    ask("run.finished_at IS NOT NULL AND run.finished_at < ?", chosen.finished_until)
    if chosen.error is not None:
        said = "lower(json_extract(run.error, '$.type') || ': ' || json_extract(run.error, '$.message'))"
        ask(f"run.error IS NOT NULL AND instr({said}, lower(?)) > 0", chosen.error)
    for path, value in chosen.inputs:
        ask(f"{_INPUT_HOLDS}(run.input, ?, ?)", encoded_parts(path), value)
    return found


def _joined(conditions: list[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    where = " AND ".join(sql for sql, _ in conditions)
    return f" WHERE {where}" if where else "", [value for _, values in conditions for value in values]
