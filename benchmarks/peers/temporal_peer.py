"""Temporal's development server, which keeps everything in memory, with a worker of local activities."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ..measure import percentiles

__all__ = ["latency", "throughput"]

_QUEUE = "benchmark"
_LONGEST = timedelta(seconds=30)
_INPUT = {"order": 42, "items": ["tea", "milk"], "total": 12.5}


@activity.defn
async def noop() -> dict[str, bool]:
    """Return a small result at once."""
    return {"ok": True}


@workflow.defn(sandboxed=False)
class Straight:
    """So many local activities in a row."""

    @workflow.run
    async def run(self, steps: int, payload: dict[str, Any]) -> dict[str, bool]:
        """Call them."""
        found: dict[str, bool] = {}
        for _ in range(steps):
            found = await workflow.execute_local_activity(noop, start_to_close_timeout=_LONGEST)
        return found


@asynccontextmanager
async def _client() -> AsyncIterator[Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = shutil.which("temporal", path=str(Path(sys.executable).parent)) or "temporal"
    command = [program, "server", "start-dev", "--headless", "--port", str(port), "--log-level", "never"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220, S603
    try:
        client = await _connect(f"127.0.0.1:{port}")
        async with Worker(
            client,
            task_queue=_QUEUE,
            workflows=[Straight],
            activities=[noop],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_workflow_tasks=100,
        ):
            yield client
    finally:
        server.terminate()
        server.wait()


async def _connect(address: str) -> Client:
    for _ in range(100):
        try:
            return await Client.connect(address)
        except RuntimeError:
            await asyncio.sleep(0.1)
    msg = "the server did not start"
    raise RuntimeError(msg)


def _straight(client: Client, steps: int) -> Callable[[], Awaitable[Any]]:
    def once() -> Awaitable[Any]:
        return client.execute_workflow(Straight.run, args=[steps, _INPUT], id=str(uuid.uuid4()), task_queue=_QUEUE)

    return once


def throughput(*, durability: str, in_flight: int, callers: int, seconds: float) -> dict[str, float]:
    """Keep so many in flight from one event loop."""

    async def main() -> dict[str, float]:
        async with _client() as client:
            once = _straight(client, 3)
            await _in_flight(once, in_flight, seconds / 2)
            began = time.perf_counter()
            runs = await _in_flight(once, in_flight, seconds)
            return {"runs": runs / (time.perf_counter() - began)}

    return asyncio.run(main())


async def _in_flight(once: Callable[[], Awaitable[Any]], count: int, seconds: float) -> int:
    deadline = time.perf_counter() + seconds

    async def call() -> int:
        runs = 0
        while time.perf_counter() < deadline:
            await once()
            runs += 1
        return runs

    return sum(await asyncio.gather(*(call() for _ in range(count))))


def latency(*, durability: str, steps: int, seconds: float) -> dict[str, float]:
    """Start a workflow and wait for its result, again and again."""

    async def main() -> list[float]:
        found: list[float] = []
        async with _client() as client:
            once = _straight(client, steps)
            for _ in range(5):
                await once()
            deadline = time.perf_counter() + seconds
            while time.perf_counter() < deadline or len(found) < 10:
                began = time.perf_counter()
                await once()
                found.append(time.perf_counter() - began)
        return sorted(found)

    found = asyncio.run(main())
    return {**percentiles(found), "runs": len(found) / sum(found)}
