"""The public API is typed: both checkers, strict, accept the right uses and reject each wrong one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RIGHT, WRONG = FOLDER / "api_right.py", FOLDER / "api_wrong.py"
MARK = "# E: "

Complaint = tuple[str, int]
"""A file's name and the line of an error in it."""


def mypy(checkout: Path, scratch: Path) -> set[Complaint]:
    command = ["mypy", "--strict", "--output", "json", "--cache-dir", str(scratch), str(RIGHT), str(WRONG)]
    lines = _output(command, checkout).splitlines()
    found = [json.loads(line) for line in lines]
    return {(Path(one["file"]).name, one["line"]) for one in found if one["severity"] == "error"}


def pyright(checkout: Path, scratch: Path) -> set[Complaint]:
    for path in (RIGHT, WRONG):  # away from the checkout, whose own settings leave the wrong uses out
        shutil.copy(path, scratch)
    settings = {"strict": ["."], "extraPaths": [str(checkout)], "pythonVersion": "3.11"}
    (scratch / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = ["pyright", "--project", str(scratch), "--pythonpath", sys.executable, "--outputjson"]
    found = json.loads(_output(command, checkout))["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found if one["severity"] == "error"}


def _output(command: list[str], checkout: Path) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # 1: there are errors, as there should be; 2: it gave up
    return done.stdout


Checker = Callable[[Path, Path], set[Complaint]]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# One test, not two on one fixture: workers that share the tests would each run the checker.
@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)
def test_every_right_use_is_accepted_and_every_wrong_one_rejected(
    checker: Checker, checkout: Path, tmp_path: Path
) -> None:
    complaints = checker(checkout, tmp_path)

    lines = lines_of(RIGHT)
    assert [lines[line - 1] for name, line in sorted(complaints) if name == RIGHT.name] == [], "rejected, though right"
    lines = lines_of(WRONG)
    marked = {number for number, line in enumerate(lines, 1) if MARK in line}
    rejected = {line for name, line in complaints if name == WRONG.name}
    assert [lines[number - 1] for number in sorted(marked - rejected)] == [], "accepted, though wrong"
    assert [lines[number - 1] for number in sorted(rejected - marked)] == [], "rejected, though not marked"


def test_the_wrong_uses_are_many() -> None:
    assert sum(MARK in line for line in lines_of(WRONG)) > 100
