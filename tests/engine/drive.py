"""Drives an engine on frozen time until a run has ended, and photographs its database after every commit."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from perdure import Engine, Execution
from perdure.persistence.migrations import blank
from perdure.persistence.records import Batch
from perdure.persistence.store import Store

__all__ = [
    "Clock",
    "after_each_commit",
    "completed_keys",
    "drive",
    "files_of",
    "photographs_of",
    "prepared",
    "unfinished",
]


class Clock(Protocol):
    """What freezegun gives to whoever has frozen the time."""

    def move_to(self, target_datetime: datetime) -> None:
        """Make it that time."""


def prepared(location: str) -> str:
    """Give a file that does not exist yet its tables: a third of what it takes an engine to open one without."""
    if "://" not in location:
        Path(location).write_bytes(blank())
    return location


def unfinished(engine: Engine) -> list[Execution]:
    """Return every run, children too, that has not ended, oldest first."""
    return [run for run in reversed(engine.list_executions()) if not run.finished]


def drive(engine: Engine, clock: Clock, at_rest: Callable[[], Engine] | None = None) -> Engine:
    """Bring every run to its end: send a signal to each gate that has no deadline or an hour, else let time pass.

    Args:
        engine: Where the runs are.
        clock: The frozen time.
        at_rest: Called whenever nothing moves any more; gives the engine to go on with.
    """
    while True:
        engine.settle()
        if at_rest is not None:
            engine = at_rest()
            engine.settle()
        runs = unfinished(engine)
        if not runs:
            return engine
        gates = [(run.id, wait.event) for run in runs for wait in run.waiting_for if wait.event in ("outer", "inner")]
        for run_id, event in gates:
            engine.signal(run_id, event, "go")
        if not gates:
            due = engine.next_deadline()
            assert due is not None, f"nothing will ever wake {runs}"
            clock.move_to(max(due, datetime.now(UTC)))


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the files that make up a database."""
    return path, path.with_name(f"{path.name}-wal")


@contextmanager
def after_each_commit(look: Callable[[], None]) -> Iterator[None]:
    """Call a function after every commit of every engine, before the engine acts on it."""
    commit = Store.commit

    def watched(self: Store, batch: Batch) -> None:
        commit(self, batch)
        look()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", watched)
        yield


@contextmanager
def photographs_of(path: Path, world: Callable[[], Any]) -> Iterator[list[tuple[tuple[bytes, ...], Any, datetime]]]:
    """Collect what a process killed after each commit would leave: the bytes of the files, the world, the time."""
    photographs: list[tuple[tuple[bytes, ...], Any, datetime]] = []
    with ExitStack() as stack:
        files: list[Any] = []

        def look() -> None:
            # Opened once, closed at the end: closing a file drops the locks that SQLite has on it in this process.
            if not files:
                files.extend(stack.enter_context(file.open("rb", buffering=0)) for file in files_of(path))
            content = tuple(os.pread(file.fileno(), 1 << 30, 0) for file in files)
            photographs.append((content, world(), datetime.now(UTC)))

        with after_each_commit(look):
            yield photographs


def completed_keys(path: Path) -> set[str]:
    """Return the idempotency keys of all steps and undoes that a database calls completed, read without an engine."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT run.execution_id, step.key, step.turn FROM workflow_steps AS step"
            " JOIN workflow_executions AS run ON run.id = step.execution"
            " WHERE step.status = 'completed' AND step.kind IN ('step', 'undo')"
        ).fetchall()
    return {_idempotency_key(*row) for row in rows}


def _idempotency_key(run: str, key: str, turn: str | None) -> str:
    name = key.partition("@")[0].replace("__undo:", "undo:")
    return f"{run}:{name}@{turn}" if turn else f"{run}:{name}"
