"""README keeps its word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n\n```text\n(?P<prints>.*?)```", re.DOTALL)
COMMANDS = [
    'python3 -m venv .venv && .venv/bin/pip install -e ".[cli]" && .venv/bin/perdure demo',
    'python3 -m venv .venv && .venv/bin/pip install -e ".[dev,cli]" && .venv/bin/python -m pytest -n auto',
]


def test_the_example_runs_as_a_script_of_its_own_and_prints_what_readme_says(checkout: Path, tmp_path: Path) -> None:
    example = EXAMPLE.search((checkout / "README.md").read_text())
    assert example

    script = tmp_path / "example.py"
    script.write_text(example["code"])
    ran = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (ran.stdout, ran.stderr, ran.returncode) == (example["prints"], "", 0)


def test_two_commands_are_all_it_takes(checkout: Path) -> None:
    """`.ci/run` takes the commands from here, by how they begin."""
    lines = (checkout / "README.md").read_text().splitlines()

    assert [line for line in lines if line.startswith("python3 -m venv ")] == COMMANDS
