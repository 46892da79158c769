"""Builders of rows, and stores that are closed at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from perdure.persistence.store import Store
from perdure.testing.store_contract import Rows


class OpenStore(Protocol):
    def __call__(self, **options: Any) -> Store: ...


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
