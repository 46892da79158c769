"""One to four processes on one PostgreSQL server, beside DBOS on the same server; and the time to fail over.

    python -m benchmarks.on_a_server [--dbos PYTHON] [--seconds 5] [--rounds 3]

``PYTHON`` is an interpreter that has DBOS. A server of the benchmark's own is started, with fsync, and thrown away.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perdure import Engine, Workflow
from perdure.testing.postgres_server import PostgresServer, programs

IN_FLIGHT = 50
STEPS = 3
PROCESSES = (1, 2, 4)
DBOS_CHILD = """
import collections, sys, time
from dbos import DBOS

@DBOS.step()
def noop():
    return {"ok": True}

@DBOS.workflow()
def straight():
    for _ in range(3):
        noop()

DBOS(config={"name": "benchmark", "system_database_url": sys.argv[1], "log_level": "ERROR", "executor_id": sys.argv[3],
             "run_admin_server": False})
DBOS.launch()
print("ready", flush=True)
sys.stdin.readline()
end, done, under_way = time.monotonic() + float(sys.argv[2]), 0, collections.deque()
while time.monotonic() < end:
    while len(under_way) < 50:
        under_way.append(DBOS.start_workflow(straight))
    under_way.popleft().get_result()
    done += 1
print("done", done, flush=True)
DBOS.destroy()
"""


def now() -> float:
    """Return real seconds."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def noop() -> dict[str, bool]:
    """Return a small result at once."""
    return {"ok": True}


def straight() -> Workflow[Any, Any]:
    """Return a workflow of so many steps in a row."""
    workflow: Workflow[Any, Any] = Workflow("straight")
    for number in range(STEPS):
        workflow = workflow.step(f"step{number}", noop)
    return workflow


def child(url: str, seconds: float) -> None:
    """Keep so many runs in flight; say how many have ended."""
    with Engine(url, straight(), concurrency=IN_FLIGHT) as engine:
        print("ready", flush=True)
        sys.stdin.readline()
        end, done, under_way = now() + seconds, 0, [engine.start("straight") for _ in range(IN_FLIGHT)]
        while now() < end:
            under_way.pop(0).result(timeout=60)
            under_way.append(engine.start("straight"))
            done += 1
        print("done", done, flush=True)


def frozen_child(url: str) -> None:
    """Begin a step that takes for ever; whoever takes it over says when."""

    def hold() -> None:
        print("begin", now(), flush=True)
        time.sleep(3600)

    with Engine(url, Workflow("held").step("hold", hold)) as engine:
        print("ready", flush=True)
        for _ in sys.stdin:
            engine.start("held")


def throughput(command: Callable[[int], list[str]], processes: int, seconds: float) -> float:
    """Return how many runs all processes together end in a second."""
    children = [
        subprocess.Popen(command(number), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for number in range(processes)
    ]
    for one in children:
        heard(one, "ready")
    for one in children:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    done = sum(int(heard(one, "done")) for one in children)
    for one in children:
        one.communicate()
    return done / seconds


def heard(one: subprocess.Popen[str], word: str) -> str:
    """Wait until a process says a word; return the one behind it."""
    assert one.stdout is not None
    for line in one.stdout:
        first, *rest = line.split()
        if first == word:
            return rest[0] if rest else ""
    raise RuntimeError(f"a process ended before it said {word!r}")


def failover(server: PostgresServer, how: signal.Signals) -> float:
    """Return the seconds from a death or freeze to the interrupted step running elsewhere."""
    url = server.borrow()
    command = [sys.executable, "-m", "benchmarks.on_a_server", "--frozen", url]
    owner, heir = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(2)
    )
    for one in (owner, heir):
        heard(one, "ready")
    assert owner.stdin is not None
    owner.stdin.write("start\n")
    owner.stdin.flush()
    heard(owner, "begin")
    began = now()
    owner.send_signal(how)
    took = float(heard(heir, "begin")) - began
    for one in (owner, heir):
        one.kill()
        one.communicate()
    server.give_back(url)
    return took


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dbos", metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--frozen", metavar="URL", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child is not None:
        child(wanted.child, wanted.seconds)
        return
    if wanted.frozen is not None:
        frozen_child(wanted.frozen)
        return
    home = programs()
    if home is None:
        sys.exit("there is no PostgreSQL server here")
    with tempfile.TemporaryDirectory(prefix="perdure-pg-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(
            Path(folder) / "s", home, settings={"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
        )
        server.start()
        try:
            report(server, wanted)
        finally:
            server.remove()


def report(server: PostgresServer, wanted: argparse.Namespace) -> None:
    """Measure each in turn, so many rounds; print medians."""
    seconds = str(wanted.seconds)

    def ours(url: str) -> Callable[[int], list[str]]:
        return lambda _: [sys.executable, "-m", "benchmarks.on_a_server", "--child", url, "--seconds", seconds]

    def theirs(url: str) -> Callable[[int], list[str]]:
        return lambda number: [wanted.dbos, "-c", DBOS_CHILD, url, seconds, f"executor-{number}"]

    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(wanted.rounds):
        for processes in PROCESSES:
            for name, command in (("perdure", ours), ("dbos", theirs if wanted.dbos else None)):
                if command is not None:
                    rate = throughput(command(server.borrow()), processes, wanted.seconds)
                    found.setdefault((name, processes), []).append(rate)
    for (name, processes), rates in sorted(found.items()):
        print(f"{name:8} {processes} processes: {statistics.median(rates):8.0f} runs/s  {rates}")
    for how in (signal.SIGKILL, signal.SIGSTOP):
        times = [failover(server, how) for _ in range(wanted.rounds)]
        print(f"{how.name}: {statistics.median(times):.2f} s to fail over  {times}")
    print(f"{os.cpu_count()} processors")


if __name__ == "__main__":
    main()
