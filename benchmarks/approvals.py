"""What a test costs that lets a month pass: a file of a thousand of them, made up and given to pytest.

``python -m benchmarks.approvals --help``. It prints how long pytest took for a thousand tests that do nothing, and for
a thousand approvals of thirty days with two reminders and a deadline: with the fixtures, and with bare freezegun.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from .running import pin

__all__ = ["main"]

_HEAD: Final = """
from datetime import timedelta

from freezegun import freeze_time

from perdure import Engine, Workflow

reminded = []
approval = (
    Workflow("approval")
    .wait_for(
        "approved",
        timeout=timedelta(days=30),
        on_timeout=lambda w: w.step("escalate", lambda: "escalated"),
        remind_every=timedelta(days=14),
        remind=lambda ctx: reminded.append(ctx.turn),
    )
    .step("file", lambda ctx: ctx.signals.get("approved", "nobody answered"))
)


def let_a_month_pass(engine):
    reminded.clear()
    run = engine.start(approval)
    engine.advance(days=30)
    assert run.result() == "nobody answered"
    assert reminded == [1, 2]
"""
_BODIES: Final = {
    "nothing": """
def test_{number}():
    pass
""",
    "the fixtures": """
def test_{number}(frozen_engine):
    let_a_month_pass(frozen_engine.register(approval))
""",
    "bare freezegun": """
def test_{number}():
    with freeze_time("2026-01-01"), Engine(None, approval) as engine:
        let_a_month_pass(engine)
""",
}
_SUMMARY: Final = re.compile(r"^(\d+) passed in ([\d.]+)s", re.MULTILINE)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.approvals", description=__doc__)
    parser.add_argument("--tests", type=int, default=1000, metavar="N", help="how many tests there are in a file")
    parser.add_argument("--pinned", action="store_true", help="keep everything on one processor")
    arguments = parser.parse_args()
    number = arguments.tests
    if arguments.pinned:
        pin()
    with tempfile.TemporaryDirectory() as folder:
        for name, body in _BODIES.items():
            seconds = _seconds(Path(folder), _HEAD + "".join(body.format(number=each) for each in range(number)))
            print(f"{name:>15}: {seconds:6.2f} s for {number} tests, {1000 * seconds / number:5.2f} ms each")
    return 0


def _seconds(folder: Path, source: str) -> float:
    """Return what pytest says that a file has taken, once all that is imported has byte code."""
    file = folder / "test_month.py"
    file.write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for selected in ([*command, "-k", "test_0"], command):
        done = subprocess.run(selected, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    found = _SUMMARY.search(done.stdout)
    assert found is not None, done.stdout
    return float(found.group(2))


if __name__ == "__main__":
    sys.exit(main())
