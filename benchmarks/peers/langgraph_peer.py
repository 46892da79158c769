"""LangGraph with its SQLite checkpointer, which saves the whole state after every node."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from ..measure import latencies, percentiles, rate

__all__ = ["latency", "throughput"]

_INPUT = {"order": 42, "items": ["tea", "milk"], "total": 12.5}


class _State(TypedDict, total=False):
    order: dict[str, Any]
    ok: bool


def _noop(state: _State) -> _State:
    return {"ok": True}


@contextmanager
def _invoker(durability: str, steps: int) -> Iterator[Callable[[], Any]]:
    graph = StateGraph(_State)
    names = [f"step-{number}" for number in range(steps)]
    for name in names:
        graph.add_node(name, _noop)
    for before, after in itertools.pairwise([START, *names, END]):
        graph.add_edge(before, after)
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        connection = sqlite3.connect(Path(folder) / "langgraph.db", check_same_thread=False)
        saver = SqliteSaver(connection)
        saver.setup()
        connection.execute(f"PRAGMA synchronous={durability}")
        compiled = graph.compile(checkpointer=saver)
        threads = itertools.count()

        def invoke() -> Any:
            config: Any = {"configurable": {"thread_id": str(next(threads))}, "recursion_limit": steps + 10}
            return compiled.invoke({"order": _INPUT}, config, durability="sync")

        yield invoke
        connection.close()


def throughput(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Invoke from several threads: an invocation is in line, so what is in flight is a thread."""
    with _invoker(durability, 3) as invoke:

        def start() -> Callable[[], Any]:
            invoke()
            return bool  # what there is to wait for is over

        found = rate(start, in_flight=callers, callers=callers, seconds=seconds)
    return {"runs": found.per_second, "cpu": found.cpu / found.runs / 3 * 1e6}


def latency(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Invoke, again and again."""
    with _invoker(durability, steps) as invoke:
        found = latencies(invoke, seconds=seconds)
    return {**percentiles(found), "runs": len(found) / sum(found)}
