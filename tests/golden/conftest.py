"""Which recording is played: ours, or any other of the same form given with ``--golden=FILE``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RECORDING = Path(__file__).parent / "reference.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", metavar="FILE", default=None, help="play this recording instead of reference.json")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        # Without a path on the command line this file is read too late for its option to exist.
        file = Path(metafunc.config.getoption("golden", None) or RECORDING)
        scenarios = json.loads(file.read_text(encoding="utf-8"))["scenarios"]
        metafunc.parametrize("scenario", [pytest.param(scenario, id=scenario["name"]) for scenario in scenarios])
