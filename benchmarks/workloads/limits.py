"""What this machine allows anybody, to compare it with other machines: a commit, a hop, a loop of Python."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from functools import partial

from ..measure import latencies
from .shared import folder


def raw(*, seconds: float) -> dict[str, float]:
    """Return microseconds: a commit of one row in both modes, a round trip between threads, 1,000 turns of a loop."""
    threading.Thread(target=_answer, daemon=True).start()
    actions: dict[str, Callable[[], object]] = {"hop": _hop, "loop": _loop}
    found = {name: latencies(action, seconds=seconds) for name, action in actions.items()}
    with folder() as path:
        for mode in ("normal", "full"):
            connection = sqlite3.connect(path / f"{mode}.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode=wal")
            connection.execute(f"PRAGMA synchronous={mode}")
            connection.execute("CREATE TABLE facts (id INTEGER PRIMARY KEY, value TEXT)")
            insert = partial(connection.execute, "INSERT INTO facts (value) VALUES ('ok')")
            found[f"commit-{mode}"] = latencies(insert, seconds=seconds)
            connection.close()
    _calls.put(None)
    return {name: 1e6 * times[len(times) // 2] for name, times in found.items()}


_calls = queue.SimpleQueue[object]()
_answers = queue.SimpleQueue[object]()


def _answer() -> None:
    while (call := _calls.get()) is not None:
        _answers.put(call)


def _hop() -> None:
    _calls.put(1)
    _answers.get()


def _loop() -> int:
    return sum(number & 3 for number in range(1000))
