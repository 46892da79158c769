"""Between the records that cross the border of this room and the columns of the tables.

The SQL that drives runs is written by peewee once, from the models, and kept as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from peewee import EXCLUDED, Model

from ..dsl.facts import ErrorRecord, Fact, FactKind, FactStatus
from .models import ExecutionModel, columns, key_of
from .records import AttemptRow, ExecutionRow, SignalRow

__all__ = [
    "attempt_parameters",
    "attempt_row",
    "error_text",
    "execution_parameters",
    "execution_row",
    "fact",
    "fact_parameters",
    "listed",
    "signal_row",
    "upsert",
]

_STARTED_WITH: Final = frozenset(
    {
        "execution_id",
        "workflow",
        "input",
        "idempotency_key",
        "key_until",
        "priority",
        "business_key",
        "tags",
        "parent_id",
        "parent_key",
        "created_at",
    }
)
"""What a run was started with is written once: SQLite would rewrite every index that has one of these columns."""

_to_json: Final = msgspec.json.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode
_KINDS: Final = {kind.value: kind for kind in FactKind}
_STATUSES: Final = {status.value: status for status in FactStatus}


def listed(model: type[Model]) -> str:
    """Return the columns of a model, in their order, as SQL."""
    return ", ".join(f'"{name}"' for name in columns(model))


@cache
def upsert(model: type[Model], rows: int, condition: str = "") -> str:
    """Return the statement that inserts so many rows, or replaces those whose primary key exists.

    Every other constraint that fails is an error. With a condition, rows that exist and do not meet it are left
    alone, and are missing from the statement's row count.
    """
    names, key = columns(model), key_of(model)
    kept = {*key, *(_STARTED_WITH if model is ExecutionModel else ())}
    query = model.insert_many([[None] * len(names)], fields=names)
    replaced = {name: getattr(EXCLUDED, name) for name in names if name not in kept}
    query = query.on_conflict(conflict_target=key, update=replaced) if replaced else query.on_conflict_ignore()
    sql: str = query.sql()[0]
    values = f"({', '.join('?' * len(names))})"
    sql = sql.replace(f"VALUES {values}", f"VALUES {', '.join([values] * rows)}")
    return f"{sql} WHERE {condition}" if condition else sql


def execution_parameters(row: ExecutionRow, owner: int) -> tuple[Any, ...]:
    """Return the columns of a run that this engine owns from now on."""
    columns = msgspec.structs.astuple(row)
    error = None if row.error is None else error_text(row.error)
    return (*columns[:8], error, *columns[9:14], owner, *columns[15:])


def execution_row(row: Sequence[Any], drivers: dict[int, int]) -> ExecutionRow:
    """Return a run from its columns; its owner is the engine that drives it, whoever is written in the row."""
    record = ExecutionRow(*row)
    error, owner = record.error, record.owner
    if error is not None or owner in drivers:
        return replace(record, error=_error(error), owner=drivers.get(owner, owner))
    return record


def fact_parameters(facts: Iterable[tuple[tuple[int, str], Fact]]) -> list[tuple[Any, ...]]:
    """Return the columns of facts, given with the runs they belong to."""
    # `_value_` and not `value`: the property costs as much as the rest of the line.
    return [
        (
            run,
            fact.key,
            fact.kind._value_,
            fact.status._value_,
            ",".join(map(str, fact.turn)) if fact.turn else None,
            fact.order,
            fact.attempts,
            fact.interruptions,
            fact.value,
            None if fact.error is None else error_text(fact.error),
            fact.started_at,
            fact.completed_at,
            fact.due_at,
            fact.sequence,
        )
        for (run, _), fact in facts
    ]


def fact(row: Sequence[Any]) -> Fact:
    """Return a fact from its columns."""
    _, key, kind, status, turn, order, attempts, interruptions, value, error, *times_and_sequence = row
    return Fact(
        key,
        _KINDS[kind],
        _STATUSES[status],
        _turn(turn),
        order,
        attempts,
        interruptions,
        value,
        _error(error),
        *times_and_sequence,
    )


def _turn(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


def _turn_text(turn: tuple[int, ...]) -> str | None:
    return ",".join(map(str, turn)) if turn else None


def attempt_parameters(run: int, attempt: AttemptRow) -> tuple[Any, ...]:
    """Return the columns of an attempt."""
    position, number, key, turn, outcome, error, *times = attempt
    text = None if error is None else error_text(error)
    return (run, position, number, key, _turn_text(turn), outcome, text, *times)


def attempt_row(row: Sequence[Any]) -> AttemptRow:
    """Return an attempt from its columns."""
    _, position, number, key, turn, outcome, error, *times = row
    return AttemptRow(position, number, key, _turn(turn), outcome, _error(error), *times)


def signal_row(row: Sequence[Any]) -> SignalRow:
    """Return a signal from its columns."""
    return SignalRow._make(row)


def error_text(error: ErrorRecord) -> str:
    """Return an error as JSON, whatever its texts hold: an exception's message may not be encodable."""
    try:
        return _to_json(_plain_error(error)).decode()
    except UnicodeEncodeError:
        return _to_json(_plain_error(_encodable(error))).decode()


def _plain_error(error: ErrorRecord) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.step is not None:
        plain["step"] = error.step
    if error.traceback:
        plain["traceback"] = error.traceback
    if error.causes:
        plain["causes"] = [_plain_error(cause) for cause in error.causes]
    return plain


def _encodable(error: ErrorRecord) -> ErrorRecord:
    def encodable(text: str) -> str:
        return text.encode("utf-8", "backslashreplace").decode()

    return ErrorRecord(
        encodable(error.type),
        encodable(error.message),
        None if error.step is None else encodable(error.step),
        encodable(error.traceback),
        tuple(map(_encodable, error.causes)),
    )


def _error(text: Any) -> ErrorRecord | None:
    return None if text is None else _error_record(_from_json(text))


def _error_record(plain: dict[str, Any]) -> ErrorRecord:
    return ErrorRecord(
        plain["type"],
        plain["message"],
        plain.get("step"),
        plain.get("traceback", ""),
        tuple(map(_error_record, plain.get("causes", ()))),
    )
