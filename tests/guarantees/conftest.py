"""Engines on a database that is still there after them, frozen time, and processes that end in all sorts of ways."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from perdure import Engine, Workflow
from perdure.testing import close_cleanly, freeze
from perdure.testing.leaks import unique_name
from tests.patience import PATIENCE

PRELUDE = """
import os, signal, sys, threading
from perdure import Engine, Workflow
path = sys.argv[1]
def say(*words):
    print(*words, flush=True)
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known only if this folder is named on the command line."""
    parser.addoption("--soak", type=float, default=0.0, metavar="SECONDS", help="how long the soak test is to run")
    parser.addoption("--lock", type=float, default=0.0, metavar="SECONDS", help="how long another program holds a lock")


class Open(Protocol):
    def __call__(self, *workflows: Workflow[Any, Any], **options: Any) -> Engine: ...


@pytest.fixture
def path(location: str) -> Path:
    """The file that the database is; only for tests that are on a file."""
    assert "://" not in location
    return Path(location)


@pytest.fixture
def open_engine(location: str) -> Iterator[Open]:
    """Opens engines on `location`; each is closed at the end, and must leave no thread behind."""
    opened: list[Engine] = []

    def open_one(*workflows: Workflow[Any, Any], **options: Any) -> Engine:
        engine = Engine(location, *workflows, **{"durability": "normal", "queue_name": unique_name(), **options})
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        close_cleanly(engine)


class Tables:
    """The tables behind the engines' backs, as another program of SQLite's or of the server's sees them."""

    def __init__(self, location: str) -> None:
        self.on_a_server = "://" in location
        self._location = location

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if self.on_a_server:
            import psycopg

            with psycopg.connect(self._location, autocommit=True) as session:
                yield session
        else:
            with closing(sqlite3.connect(self._location, isolation_level=None)) as connection:
                yield connection

    def execute(self, *statements: str) -> int:
        """Execute statements, each at once; return how many rows the last one has changed."""
        with self._opened() as program:
            return int([program.execute(statement).rowcount for statement in statements][-1])

    def count(self, table: str) -> int:
        """Count the rows of a table."""
        with self._opened() as program:
            return int(program.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have nobody write while this is entered, as another program can; all may read."""
        with self._opened() as program:
            program.execute("BEGIN" if self.on_a_server else "BEGIN IMMEDIATE")
            if self.on_a_server:
                program.execute("LOCK TABLE workflow_engines, workflow_executions, workflow_inbox IN EXCLUSIVE MODE")
            yield
            program.execute("ROLLBACK")


@pytest.fixture
def tables(location: str, request: pytest.FixtureRequest) -> Tables:
    """The tables of the database at `location`."""
    return Tables(request.getfixturevalue("postgres_url") if "://" in location else location)


@pytest.fixture
def frozen() -> Iterator[Any]:
    """Time that stands still."""
    with freeze() as freezer:
        yield freezer


class Heard(logging.Handler):
    """What was logged, which can be waited for."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.arrived = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.arrived.set()

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Warnings and errors of the engine."""
    handler = Heard()
    logging.getLogger("perdure").addHandler(handler)
    yield handler
    logging.getLogger("perdure").removeHandler(handler)


class Process:
    """Another Python that runs some code; it is read line by line."""

    def __init__(self, code: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its code, and the rest of what it wrote to both streams."""
        out, errors = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out, errors

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process(location: str) -> Iterator[Callable[[str], Process]]:
    """Starts other processes, which are killed at the end if they are still there."""
    started: list[Process] = []

    def start(code: str) -> Process:
        one = Process(code, location)
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
