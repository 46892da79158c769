"""The page over a database that an engine of another process drives, or nobody does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from perdure import Client, Engine
from perdure.dashboard import create_app
from tests.patience import PATIENCE

from .shop import Visitor, hostile, orders


def test_a_client_has_the_same_page_and_its_signals_reach_the_engine(engine: Engine) -> None:
    with Client(engine.path, orders) as client:
        visitor = Visitor(create_app(client))

        assert {run["id"] for run in visitor.get("/api/runs").json()["runs"]} == {"o-1", "o-2"}
        assert visitor.get("/api/overview").json()["counts"] == {"waiting": 1, "failed": 1}
        assert visitor.get("/api/run/graph?id=o-1").status_code == 200
        sent = visitor.act(verb="signal", id="o-1", event="approval", payload={"approved": True, "note": "from afar"})

    assert sent.status_code == 200
    assert engine.run("o-1").result(timeout=PATIENCE) == "shipped, from afar"


def test_without_the_workflows_there_are_no_graphs_and_everything_else(engine: Engine) -> None:
    with Client(engine.path) as client:
        visitor = Visitor(create_app(client))

        assert visitor.get("/api/run?id=o-1").json()["has_graph"] is False
        assert visitor.get("/api/run/graph?id=o-1").status_code == 409
        assert visitor.get("/api/inbox").json()["gates"][0]["form"]["whole"] is True
        assert visitor.get("/metrics").status_code == 200


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_the_command_serves_a_file_and_ends_quietly(tmp_path: Path, signal_number: int) -> None:
    with Engine(tmp_path / "runs.db", hostile) as engine:
        engine.start(hostile, 1, id="h-1").wait(until="waiting", timeout=PATIENCE)
    command = [sys.executable, "-m", "perdure.cli", "dashboard", "-d", str(tmp_path / "runs.db"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        with (
            urllib.request.urlopen(f"{address}api/live", timeout=PATIENCE) as watching,  # noqa: S310 - our own address
            urllib.request.urlopen(f"{address}api/run?id=h-1", timeout=PATIENCE) as answer,  # noqa: S310
        ):
            assert watching.readline()
            assert b'"state":"waiting"' in answer.read()
            process.send_signal(signal_number)
            _, told = process.communicate(timeout=PATIENCE)

    assert told == ""


def test_a_server_that_has_the_page_mounted_stops_while_somebody_watches(tmp_path: Path, checkout: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "in_fastapi:app", "--port", "0", "--no-use-colors"]
    folder = checkout / "examples" / "applications"
    environment = {**os.environ, "ORDERS_DB": str(tmp_path / "orders.db"), "PYTHONPATH": str(checkout)}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+", line)))
        with urllib.request.urlopen(f"{address}/runs/api/live", timeout=PATIENCE) as watching:  # noqa: S310 - our own address
            assert watching.readline()
            server.send_signal(signal.SIGTERM)
            _, told = server.communicate(timeout=PATIENCE)

    assert "Application shutdown complete" in told
    assert not re.search("error|cancel", told, re.IGNORECASE)
