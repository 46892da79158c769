"""One to four processes on one PostgreSQL server, beside DBOS on the same server; and the time to fail over.

    python -m benchmarks.on_a_server [--dbos PYTHON] [--seconds 5] [--rounds 3] [--trials 10] [--failover-only]

``PYTHON`` is an interpreter that has DBOS: by default what ``python -m benchmarks install dbos`` has made. A server of
the benchmark's own is started, with fsync, and thrown away.

Runs are started by one thread in each process, and by sixteen. The first says how long it takes to be told that a start
is on disk, since whoever starts waits for that; only the second keeps as many runs in flight as it says.
"""

from __future__ import annotations

import argparse
import itertools
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

from .measure import rate
from .peers.install import command_of, is_installed

IN_FLIGHT = 48
CALLERS = (1, 16)
STEPS = 3
PROCESSES = (1, 2, 4)
DBOS_CHILD = """
import os, sys
from benchmarks.measure import rate
from dbos import DBOS

@DBOS.step()
def noop():
    return {"ok": True}

@DBOS.workflow()
def straight():
    for _ in range(3):
        noop()

_, url, seconds, callers, in_flight, executor = sys.argv
DBOS(config={"name": "benchmark", "system_database_url": url, "log_level": "ERROR", "executor_id": executor,
             "run_admin_server": False})
DBOS.launch()
print("ready", flush=True)
sys.stdin.readline()
found = rate(lambda: DBOS.start_workflow(straight).get_result,
             in_flight=int(in_flight), callers=int(callers), seconds=float(seconds))
print("done", found.per_second, flush=True)
os._exit(0)
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


def child(url: str, callers: int, seconds: float) -> None:
    """Keep so many runs in flight, started by so many threads; say how many have ended in a second."""
    with Engine(url, straight(), concurrency=IN_FLIGHT) as engine:

        def start() -> Callable[[], object]:
            return engine.start("straight").result

        print("ready", flush=True)
        sys.stdin.readline()
        print("done", rate(start, in_flight=IN_FLIGHT, callers=callers, seconds=seconds).per_second, flush=True)


def frozen_child(url: str) -> None:
    """Begin a step that takes for ever; whoever takes it over says when."""

    def hold() -> None:
        print("begin", now(), flush=True)
        time.sleep(3600)

    with Engine(url, Workflow("held").step("hold", hold)) as engine:
        print("ready", flush=True)
        for _ in sys.stdin:
            engine.start("held")


def throughput(command: Callable[[int], list[str]], processes: int) -> float:
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
    found = sum(float(heard(one, "done")) for one in children)
    for one in children:
        one.communicate()
    return found


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
    parser.add_argument("--dbos", metavar="PYTHON", default=command_of("dbos")[0] if is_installed("dbos") else None)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=10, help="how often an owner is killed, and how often frozen")
    parser.add_argument("--failover-only", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("URL", "CALLERS"), help=argparse.SUPPRESS)
    parser.add_argument("--frozen", metavar="URL", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child is not None:
        url, callers = wanted.child
        child(url, int(callers), wanted.seconds)
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
            if not wanted.failover_only:
                report_throughput(server, wanted)
            report_failover(server, wanted.trials)
        finally:
            server.remove()


def report_throughput(server: PostgresServer, wanted: argparse.Namespace) -> None:
    """Measure each in turn, so many rounds; print medians."""
    seconds = str(wanted.seconds)

    def ours(url: str, callers: str) -> Callable[[int], list[str]]:
        command = [sys.executable, "-m", "benchmarks.on_a_server", "--child", url, callers, "--seconds", seconds]
        return lambda _: command

    def theirs(url: str, callers: str) -> Callable[[int], list[str]]:
        command = [wanted.dbos, "-c", DBOS_CHILD, url, seconds, callers, str(IN_FLIGHT)]
        return lambda number: [*command, f"executor-{number}"]

    found: dict[tuple[int, int, str], list[float]] = {}
    for _, callers, processes in itertools.product(range(wanted.rounds), CALLERS, PROCESSES):
        for name, command in (("perdure", ours), *([("dbos", theirs)] if wanted.dbos else [])):
            rates = found.setdefault((callers, processes, name), [])
            rates.append(throughput(command(server.borrow(), str(callers)), processes))
    for (callers, processes, name), rates in sorted(found.items()):
        rounded = ", ".join(f"{one:.0f}" for one in rates)
        print(
            f"{callers:2} callers, {processes} processes, {name:8} {statistics.median(rates):6.0f} runs/s  [{rounded}]"
        )


def report_failover(server: PostgresServer, trials: int) -> None:
    """Kill one owner after the other, and freeze as many; print how long their steps stood still."""
    for how in (signal.SIGKILL, signal.SIGSTOP):
        times = sorted(failover(server, how) for _ in range(trials))
        shown = ", ".join(f"{one:.2f}" for one in times)
        print(
            f"{how.name}: {times[0]:.2f} s, {statistics.median(times):.2f} s, {times[-1]:.2f} s to fail over  [{shown}]"
        )
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
