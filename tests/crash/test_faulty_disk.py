"""The process dies in an fsync, or a write fails: nothing acknowledged is lost, and everything ends as it should.

``PERDURE_DISK_FAULTS=1000`` tries that many of each kind instead of 40; 0 tries every write of one workflow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRIES = int(os.environ.get("PERDURE_DISK_FAULTS", "40"))
FIRST_SEED = int(os.environ.get("PERDURE_CRASH_SEED", "1"))
pytestmark = pytest.mark.timeout(120 + (TRIES or 1000) * 5)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("a disk that fails needs a C compiler, and Linux")
    library = tmp_path_factory.mktemp("disk") / "faulty_disk.so"
    source = Path(__file__).with_name("faulty_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source, "-ldl"], check=True)
    return library


def test_nothing_is_lost_on_a_disk_that_fails(library: Path, tmp_path: Path, checkout: Path) -> None:
    command = [sys.executable, "-m", "tests.crash.faulty_disk", str(tmp_path), str(TRIES), str(FIRST_SEED)]
    found = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    print(found.stdout)  # noqa: T201 - for the long run
