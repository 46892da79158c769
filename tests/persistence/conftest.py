"""Builders of rows, and stores that are closed at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from perdure.dsl.facts import Fact, FactKind, FactStatus
from perdure.persistence.records import Batch, ExecutionRow, SignalRow
from perdure.persistence.store import Store

NOW = 1_790_000_000_000_000
"""An instant, in microseconds."""


class OpenStore(Protocol):
    def __call__(self, **options: Any) -> Store: ...


class Rows:
    """Makes rows that differ from the ordinary in what a test says."""

    now = NOW

    def run(self, store: Store, **changes: Any) -> ExecutionRow:
        """A running run of a new id."""
        number = store.new_id()
        row = ExecutionRow(
            id=number,
            execution_id=f"order-{number}",
            workflow="order",
            version=None,
            fingerprint="f",
            state="running",
            input="{}",
            result=None,
            error=None,
            rollback=None,
            idempotency_key=None,
            tags=None,
            parent_id=None,
            parent_key=None,
            owner=store.engine_id,
            adoptions=0,
            sequence=0,
            created_at=NOW,
            updated_at=NOW,
            finished_at=None,
        )
        return row._replace(**changes)

    def fact(self, key: str = "charge", **changes: Any) -> Fact:
        """A completed step."""
        return Fact(key, FactKind.STEP, FactStatus.COMPLETED, value="1", started_at=NOW, completed_at=NOW)._replace(
            **changes
        )

    def signal(self, store: Store, run: int, **changes: Any) -> SignalRow:
        """A signal that waits in the mailbox."""
        return SignalRow(store.new_id(), run, "paid", "null", NOW)._replace(**changes)

    def batch(self, *runs: ExecutionRow, facts: dict[int, list[Fact]] | None = None, signals: Any = ()) -> Batch:
        """What one commit writes."""
        return Batch(
            {row.id: row for row in runs},
            {(run, fact.key): fact for run, of_run in (facts or {}).items() for fact in of_run},
            {signal.id: signal for signal in signals},
        )


@pytest.fixture
def rows() -> Rows:
    """The builder of rows."""
    return Rows()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "runs.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[OpenStore]:
    """Opens stores on `path`, each as an engine of its own."""
    opened: list[Store] = []

    def open_one(**options: Any) -> Store:
        store = Store(str(path), **{"durability": "normal", "busy_timeout": 0.05, **options})
        store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


class Child:
    """Another process, with a store on the same file; what its code prints is read line by line."""

    def __init__(self, code: str, *arguments: object) -> None:
        prelude = (
            "import os, sys\nfrom perdure.persistence.store import Store\nfrom perdure.persistence.records import *\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", prelude + code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        """Give it a line to read."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end; return its code."""
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts other processes, which are killed at the end if they are still there."""
    started: list[Child] = []

    def start(code: str, *arguments: object) -> Child:
        process = Child(code, *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
