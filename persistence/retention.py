"""How finished runs leave: deleted, or moved to the archive, whole and with everything that belongs to them.

A run stays as long as the run that started it is unfinished, or the one that started that: they may have to undo it.
"""

# ruff: noqa: S608 - the pieces are names of columns and constants of this file.

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec

from ..dsl.errors import UsageError
from ..dsl.states import FINAL
from .connection import Connection
from .models import AttemptModel, AuditModel, ExecutionModel, SignalModel, StepModel, columns
from .rows import listed

__all__ = ["archive", "cleanup", "make_way"]

_IN: Final = "(SELECT value FROM json_each(?))"
_CANDIDATES: Final = f"""
    SELECT run.id FROM workflow_executions AS run
    WHERE run.finished_at < ? AND run.state IN {_IN} AND NOT EXISTS
    (
        WITH RECURSIVE above (parent_id, finished_at) AS (
            SELECT parent_id, finished_at FROM workflow_executions WHERE id = run.parent_id
            UNION ALL
            SELECT next.parent_id, next.finished_at
            FROM workflow_executions AS next JOIN above ON next.id = above.parent_id
        )
        SELECT 1 FROM above WHERE finished_at IS NULL
    )
    ORDER BY run.finished_at LIMIT ?
"""
_DELETE: Final = (
    f"DELETE FROM workflow_steps WHERE execution IN {_IN}",
    f"DELETE FROM workflow_attempts WHERE execution IN {_IN}",
    f"DELETE FROM workflow_signals WHERE execution IN {_IN}",
    f"DELETE FROM workflow_tags WHERE execution IN {_IN}",
    f"DELETE FROM workflow_audit WHERE execution IN {_IN}",
    f"DELETE FROM workflow_executions WHERE id IN {_IN}",
)
_RUNS: Final = f"SELECT {listed(ExecutionModel)} FROM workflow_executions WHERE id IN {_IN} ORDER BY id"
_STEPS: Final = f"SELECT {listed(StepModel)} FROM workflow_steps WHERE execution IN {_IN} ORDER BY execution, position"
_SIGNALS: Final = f"SELECT {listed(SignalModel)} FROM workflow_signals WHERE execution IN {_IN} ORDER BY execution, id"
_ATTEMPTS: Final = (
    f"SELECT {listed(AttemptModel)} FROM workflow_attempts WHERE execution IN {_IN}"
    " ORDER BY execution, position, attempt"
)
_ARCHIVE: Final = (
    f"INSERT INTO workflow_executions_archive ({listed(ExecutionModel)}, steps, signals, attempts, audit, archived_at)"
    f" VALUES ({', '.join('?' * (len(columns(ExecutionModel)) + 4))}"
    ", coalesce(?, CAST(strftime('%s', 'now') AS INTEGER) * 1000000))"
)
_FREE: Final = f"UPDATE workflow_executions SET idempotency_key = NULL WHERE id IN {_IN}"
_AUDIT: Final = f"SELECT {listed(AuditModel)} FROM workflow_audit WHERE execution IN {_IN} ORDER BY execution, id"
_STEP_NAMES: Final = columns(StepModel)
_SIGNAL_NAMES: Final = columns(SignalModel)
_ATTEMPT_NAMES: Final = columns(AttemptModel)
_AUDIT_NAMES: Final = columns(AuditModel)
_JSON_COLUMNS: Final = frozenset({"value", "error", "payload", "detail"})


def cleanup(connection: Connection, *, older_than: int, states: frozenset[str], limit: int) -> int:
    """Delete the oldest finished runs, inside a transaction; return how many."""
    chosen = _choose(connection, older_than, states, limit)
    _delete(connection, chosen)
    return len(chosen)


def archive(
    connection: Connection, *, older_than: int, states: frozenset[str], limit: int, archived_at: int | None
) -> int:
    """Move the oldest finished runs to the archive, inside a transaction; return how many."""
    chosen = _choose(connection, older_than, states, limit)
    _archive(connection, chosen, archived_at)
    return len(chosen)


def make_way(connection: Connection, *, replaced: Iterable[int], freed: Iterable[int]) -> None:
    """Move finished runs to the archive, and take others' idempotency keys, inside a transaction."""
    _archive(connection, list(replaced), None)
    connection.execute(_FREE, (_list(freed),))


def _archive(connection: Connection, chosen: list[int], archived_at: int | None) -> None:
    ids = _list(chosen)
    steps = _grouped(connection.execute(_STEPS, (ids,)), _STEP_NAMES)
    signals = _grouped(connection.execute(_SIGNALS, (ids,)), _SIGNAL_NAMES)
    attempts = _grouped(connection.execute(_ATTEMPTS, (ids,)), _ATTEMPT_NAMES)
    audit = _grouped(connection.execute(_AUDIT, (ids,)), _AUDIT_NAMES)
    rows = [
        (*run, *(_text(of_runs.get(run[0], [])) for of_runs in (steps, signals, attempts, audit)), archived_at)
        for run in connection.execute(_RUNS, (ids,))
    ]
    connection.executemany(_ARCHIVE, rows)
    _delete(connection, chosen)


def _choose(connection: Connection, older_than: int, states: frozenset[str], limit: int) -> list[int]:
    if wrong := states - FINAL:
        raise UsageError(f"only finished runs can go: {min(wrong)!r} is none of {', '.join(sorted(FINAL))}")
    found = connection.execute(_CANDIDATES, (older_than, _list(sorted(states)), limit))
    return [row[0] for row in found]


def _delete(connection: Connection, chosen: list[int]) -> None:
    for statement in _DELETE:
        connection.execute(statement, (_list(chosen),))


def _list(items: Iterable[object]) -> str:
    return msgspec.json.encode(list(items)).decode()


def _grouped(rows: Iterable[tuple[Any, ...]], names: list[str]) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of each run as mappings; text that is JSON stays the JSON it is."""
    execution = names.index("execution")
    return {
        run: [
            {
                name: msgspec.Raw(item.encode()) if name in _JSON_COLUMNS and item is not None else item
                for name, item in zip(names, row, strict=True)
                if name != "execution" and item is not None
            }
            for row in of_run
        ]
        for run, of_run in groupby(rows, key=itemgetter(execution))
    }


def _text(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()
