"""DBOS on SQLite: "full" is as it ships, "normal" is tuned with a WAL and NORMAL."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID

from ..measure import latencies, median, percentiles, rate, stopwatch

__all__ = ["latency", "nodes", "signals", "startup", "throughput"]


@DBOS.step()
def noop() -> dict[str, bool]:
    """Return a small result at once."""
    return {"ok": True}


@DBOS.step()
def now() -> float:
    """Return the time."""
    return time.perf_counter()


@DBOS.workflow()
def straight(steps: int, payload: dict[str, Any]) -> dict[str, bool]:
    """Call so many steps in a row."""
    return [noop() for _ in range(steps)][-1]


@DBOS.workflow()
def gated() -> float:
    """Wait for a message, then say when the next step began."""
    DBOS.recv("go", timeout_seconds=60)
    return now()


@DBOS.workflow()
def parent() -> dict[str, bool]:
    """Call a workflow of one step."""
    return straight(1, {})


@contextmanager
def _launched(durability: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        config: DBOSConfig = {
            "name": "benchmark",
            "system_database_url": f"sqlite:///{Path(folder) / 'dbos.db'}",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
        if durability == "normal":
            sa.event.listen(sa.engine.Engine, "connect", _tune)
        DBOS(config=config)
        DBOS.launch()
        yield
        DBOS.destroy()


def _tune(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("PRAGMA synchronous=normal")


_INPUT = {"order": 42, "items": ["tea", "milk"], "total": 12.5}


def throughput(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Start and wait from several threads."""
    with _launched(durability):

        def start() -> Callable[[], Any]:
            return DBOS.start_workflow(straight, 3, _INPUT).get_result

        found = rate(start, in_flight=in_flight, callers=callers, seconds=seconds)
    return {"runs": found.per_second, "cpu": found.cpu / found.runs / 3 * 1e6}


def latency(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Start a workflow and wait for its result, again and again."""
    with _launched(durability):
        found = latencies(lambda: DBOS.start_workflow(straight, steps, _INPUT).get_result(), seconds=seconds)
    return {**percentiles(found), "runs": len(found) / sum(found)}


def signals(*, durability: str, burners: int, seconds: float) -> dict[str, float]:
    """Send a message to a workflow that waits for one."""
    assert not burners
    with _launched(durability):

        def once() -> float:
            name = str(uuid.uuid4())
            with SetWorkflowID(name):
                handle = DBOS.start_workflow(gated)
            time.sleep(0.05)  # until it waits: nothing tells
            called = time.perf_counter()
            DBOS.send(name, "hello", "go")
            return handle.get_result() - called

        found = latencies(once, seconds=seconds, least=5)
    return percentiles(found)


def nodes(*, durability: str, kind: str, seconds: float) -> dict[str, float]:
    """Run a loop of 100 steps, or a workflow that calls another."""
    with _launched(durability):

        def once() -> Any:
            if kind == "for_each":
                return DBOS.start_workflow(straight, 100, _INPUT).get_result()
            return DBOS.start_workflow(parent).get_result()

        found = latencies(once, seconds=seconds, least=5)
    return percentiles(found)


def startup(*, rounds: int) -> dict[str, float]:
    """Import in new interpreters; launch and destroy, once."""
    found = [_import() for _ in range(rounds)]
    with stopwatch() as opened:
        launched = _launched("full")
        launched.__enter__()
    straight(3, _INPUT)
    with stopwatch() as closed:
        launched.__exit__(None, None, None)
    return {"import": 1000 * median(found), "open": 1000 * opened[0], "close": 1000 * closed[0]}


def _import() -> float:
    code = "import time; began = time.perf_counter(); import dbos; print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return float(done.stdout)
