"""Engines in processes of their own, which are killed at the end if they are still there."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perdure import Client

HERE = Path(__file__).resolve().parent


class Worker:
    """Another process with an engine on the same database.

    Attributes:
        engine: The engine's number, once it is open.
    """

    engine = 0

    def __init__(self, *arguments: object, script: str = "worker.py") -> None:
        self._unheard: list[list[str]] = []
        self._process = subprocess.Popen(
            [sys.executable, HERE / script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hear(self, word: str) -> list[str]:
        """Wait for a line that begins with this word and was not heard yet; return the rest of its words."""
        for words in self._unheard:
            if words[0] == word:
                self._unheard.remove(words)
                return words[1:]
        assert self._process.stdout is not None
        for line in self._process.stdout:
            first, *rest = line.split()
            if first == word:
                return rest
            assert first != "refused", f"it was to say {word!r}, and was refused: {' '.join(rest)}"
            self._unheard.append([first, *rest])
        msg = f"the process ended before it said {word!r}"
        raise AssertionError(msg)

    def has_spoken(self) -> bool:
        """Tell whether there is something to hear from a process of which nothing was heard yet."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def tell(self, *words: object) -> None:
        """Give it an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def ask(self, *words: object, answer: str) -> list[str]:
        """Give it an order, and wait for the answer that begins with a word."""
        self.tell(*words)
        return self.hear(answer)

    def stop(self) -> None:
        """Freeze it, as a debugger or a laptop's lid does."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def close(self) -> int:
        """Have it close its engine and end; return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait()


@pytest.fixture
def spawn() -> type[Worker]:
    """Starts other processes; whoever does kills them."""
    return Worker


@pytest.fixture
def path(location: str) -> Path | str:
    """Where the database is: the path of a file, or the address of a server."""
    return location if "://" in location else Path(location)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Holds back the steps that are told to hold, until it is called."""
    with (tmp_path / "hold").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)


@pytest.fixture
def open_at(tmp_path: Path, held: Any) -> Iterator[Callable[..., Worker]]:
    """Opens an engine in a process of its own, at some place, with these workflows; waits until it is open."""
    workers: list[Worker] = []

    def begin(place: object, *names: str) -> Worker:
        one = Worker(place, tmp_path / "hold", *names)
        workers.append(one)
        one.engine = int(one.hear("open")[0])
        return one

    yield begin
    for one in workers:
        one.kill()


@pytest.fixture
def worker(path: Path | str, open_at: Any) -> Callable[..., Worker]:
    """Opens an engine in a process of its own on the file, with these workflows; waits until it is open."""
    return partial(open_at, path)


@pytest.fixture
def client(path: Path | str) -> Iterator[Callable[[], Client]]:
    """Opens clients of the database, which must exist."""
    clients: list[Client] = []

    def open_one() -> Client:
        clients.append(Client(path, durability="normal"))
        return clients[-1]

    yield open_one
    for one in clients:
        one.close()
