"""An engine or client that was carried into a forked process says so; one made there works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def test_every_public_method_of_a_forked_engine_or_client_says_what_to_do(path: Path | str, tmp_path: Path) -> None:
    script = [sys.executable, "-W", "error", str(HERE / "forker.py"), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run(script, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
    *lines, own, g, h = done.stdout.splitlines()

    wrong = [line for line in lines if line.split()[1] != "forked"]
    assert wrong == []
    assert len(lines) > 30
    assert all("belongs to the parent process; create the" in line for line in lines)
    assert (own, g, h) == ("own waiting", "g True", "h True")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.on_every_store
def test_a_death_is_heard_of_though_the_dead_have_forked_children(path: Path | str) -> None:
    """Invariant: neither a lock nor a line outlives the process that made it, whatever it has forked."""
    code = """
import os, sys
from perdure import Engine, Workflow
engine = Engine(sys.argv[1], Workflow("gate").wait_for("go").step("after", lambda ctx: ctx.signals["go"]))
engine.start("gate", id="g").wait(until="waiting", timeout=30)
heir = Engine(sys.argv[1], Workflow("gate").wait_for("go").step("after", lambda ctx: ctx.signals["go"]))
ready, done = os.pipe()
if os.fork() == 0:
    os.write(done, b"x")
    os.read(0, 1)
    os._exit(0)
os.read(ready, 1)
engine.abandon()
heir.signal("g", "go", "heard")
print(heir.run("g").result(timeout=30), flush=True)
heir.close()
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    script = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "heard\n"
