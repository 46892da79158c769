"""unhinged: spawned and worked off in line, on one thread, which is its fastest way."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unhinged import Unhinged

from ..measure import latencies, percentiles, rate, stopwatch

__all__ = ["latency", "signals", "throughput", "waiting"]

_INPUT = {"order": 42, "items": ["tea", "milk"], "total": 12.5}
_POLL = 0.005


def _noop() -> dict[str, bool]:
    return {"ok": True}


def _straight(params: dict[str, Any], ctx: Any) -> Any:
    return [ctx.step(f"step-{number}", _noop) for number in range(params["steps"])][-1]


def _gated(params: dict[str, Any], ctx: Any) -> float:
    ctx.await_event(f"go:{params['name']}")
    began: float = ctx.step("after", time.perf_counter)
    return began


@contextmanager
def _app(durability: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        app = Unhinged(str(Path(folder) / "unhinged.db"), synchronous=durability)
        app.register_task("straight")(_straight)
        app.register_task("gated")(_gated)
        yield app
        app.close()


def throughput(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Spawn so many, then work them all off."""
    with _app(durability) as app:

        def start() -> Any:
            app.spawn("straight", {"steps": 3, **_INPUT})
            return app.run_until_idle

        found = rate(start, in_flight=in_flight, callers=1, seconds=seconds)
    return {"runs": found.per_second, "cpu": found.cpu / found.runs / 3 * 1e6}


def latency(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Spawn one, work it off, fetch its result."""
    with _app(durability) as app:

        def once() -> None:
            task = app.spawn("straight", {"steps": steps, **_INPUT})
            app.work_batch()
            assert app.fetch_task_result(task["task_id"]).terminal

        found = latencies(once, seconds=seconds)
    return {**percentiles(found), "runs": len(found) / sum(found)}


def signals(*, durability: str, burners: int, seconds: float) -> dict[str, float]:
    """Emit an event that a task waits for, while a worker polls every 5 ms instead of its 250."""
    assert not burners
    with _app(durability) as app:
        threading.Thread(target=app.start_worker, kwargs={"poll_interval": _POLL}, daemon=True).start()
        names = iter(range(10**9))

        def once() -> float:
            name = next(names)
            task = app.spawn("gated", {"name": name})["task_id"]
            while (found := app.fetch_task_result(task)).state != "sleeping":
                time.sleep(0.001)
            called = time.perf_counter()
            app.emit_event(f"go:{name}", "hello")
            while not (found := app.fetch_task_result(task)).terminal:
                time.sleep(0.001)
            return float(found.result) - called

        found = latencies(once, seconds=seconds)
        app.stop_worker()
        time.sleep(10 * _POLL)
    return percentiles(found)


def waiting(*, durability: str, count: int) -> dict[str, float]:
    """Have so many wait for an event, then emit all the events and work the tasks off."""
    with _app(durability) as app:
        with stopwatch() as create:
            for number in range(count):
                app.spawn("gated", {"name": number})
                app.work_batch()
        with stopwatch() as resume:
            for number in range(count):
                app.emit_event(f"go:{number}", "hello")
            app.run_until_idle()
    return {"create": create[0], "resume": resume[0]}
