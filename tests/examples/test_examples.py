"""Every example prints exactly what its docstring says it prints."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from perdure import look_at
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def promised_output(path: Path) -> str:
    """Return the indented block at the end of a file's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path.name} has no docstring"
    block = docstring.rpartition("\n\n")[2]
    assert block.startswith("    "), f"the docstring of {path.name} does not end with an indented block of its output"
    return textwrap.dedent(block) + "\n"


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a reader would, but with warnings as errors, and also where the package is not installed."""
    command = [sys.executable, "-W", "error", os.fspath(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_docstring_says(path: Path) -> None:
    finished = run(path)

    assert finished.stderr == ""
    assert finished.returncode == 0
    assert finished.stdout == promised_output(path)


def test_an_example_keeps_its_database_where_it_is_told_and_does_nothing_a_second_time(location: str) -> None:
    path = ROOT / "examples" / "order_pipeline.py"

    stories = [run(path, location).stdout for _ in range(2)]

    assert stories == [promised_output(path)] * 2
    with look_at(location) as looking:
        assert looking.count_executions() > 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_on_two_screens(path: Path) -> None:
    assert 60 <= len(path.read_text().splitlines()) <= 140


def test_the_documentation_shows_every_example() -> None:
    page = "".join((ROOT / "docs" / name).read_text() for name in ("examples.md", "applications.md", "executors.md"))

    missing = [path.name for path in EXAMPLES if f"../{path.relative_to(ROOT)}" not in page]

    assert missing == []
