"""How it is kept what operators have asked of runs, and how it is found what waits for them.

An audit row is written in the transaction of what it caused, is never changed, and goes when its run goes.
"""

# ruff: noqa: S608 - the pieces are names of columns.

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .connection import Connection
from .models import AuditModel, StepModel, columns
from .records import AuditRow, Batch, IncidentRow
from .rows import fact, listed

__all__ = ["read_audit", "read_incidents", "write_oversight"]

_FORGET: Final = "DELETE FROM workflow_steps WHERE execution = ? AND key = ?"
_NOTE: Final = f"INSERT INTO workflow_audit ({listed(AuditModel)}) VALUES ({', '.join('?' * len(columns(AuditModel)))})"
_AUDIT: Final = f"""
    SELECT {", ".join(f"audit.{name}" for name in columns(AuditModel))} FROM workflow_audit AS audit
    JOIN workflow_executions AS run ON run.id = audit.execution WHERE run.execution_id = ? ORDER BY audit.id
"""
_INCIDENTS: Final = f"""
    SELECT run.execution_id, run.workflow, {", ".join(f'step."{name}"' for name in columns(StepModel))}
    FROM workflow_steps AS step INDEXED BY workflow_incidents
    CROSS JOIN workflow_executions AS run ON run.id = step.execution
    WHERE step.status = 'parked' AND run.finished_at IS NULL AND run.state != 'quarantined'
    AND run.workflow = coalesce(?, run.workflow)
    ORDER BY step.completed_at, step.execution, step.key LIMIT ?
"""


def write_oversight(connection: Connection, batch: Batch) -> None:
    """Delete the facts that are to be asked for anew, and keep who wanted that, inside a transaction."""
    if batch.forgotten:
        connection.executemany(_FORGET, sorted(batch.forgotten))
    if batch.audit:
        connection.executemany(_NOTE, batch.audit)


def read_audit(connection: Connection, execution_id: str) -> list[AuditRow]:
    """Return what operators have asked of a run, oldest first."""
    return list(map(AuditRow._make, connection.execute(_AUDIT, (execution_id,))))


def read_incidents(connection: Connection, workflow: str | None, limit: int) -> list[IncidentRow]:
    """Return what waits for an operator, longest first."""
    found: Iterable[tuple[object, ...]] = connection.execute(_INCIDENTS, (workflow, limit))
    return [IncidentRow(str(run), str(name), fact(columns)) for run, name, *columns in found]
