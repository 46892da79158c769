"""The order example and the KYC example run unchanged wherever runs may be kept, and come to the same ends."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure import Engine

from .conftest import MakeEngine

EXAMPLES = Path(__file__).parents[2] / "examples"

Open = Callable[..., AbstractContextManager[Any]]


def load(name: str) -> ModuleType:
    """Import an example afresh, so that the world outside is new."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ends(name: str, open_engine: Open) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run an example; return what its runs have come to, and what the world outside looks like."""
    example = load(name)
    with open_engine(*example.workflows) as engine:
        found = {label: end.loaded() for label, end in example.drive(engine).items()}
    told = {
        label: {
            "state": end.state,
            "input": str(end.input),
            "result": end.result,
            "error": end.error and (end.error.type, end.error.message, end.error.step),
            "rollback": end.rollback,
            "signals": str(dict(end.signals)),
            "steps": {
                step: (record.status, str(record.result), record.attempts, record.compensation)
                for step, record in end.steps.items()
            },
        }
        for label, end in found.items()
    }
    return told, [vars(service) for service in example.services]


@pytest.mark.parametrize("name", ["order_pipeline", "kyc_onboarding"])
def test_an_example_comes_to_the_same_ends_on_sqlite_on_postgresql_and_on_temporal(
    name: str, postgres_url: str, temporal: MakeEngine, tmp_path: Path
) -> None:
    places: dict[str, Open] = {
        "sqlite": lambda *workflows: Engine(tmp_path / "runs.db", *workflows),
        "postgresql": lambda *workflows: Engine(postgres_url, *workflows),
        "temporal": temporal,
    }

    found = {place: ends(name, open_engine) for place, open_engine in places.items()}

    assert found["postgresql"] == found["sqlite"]
    assert found["temporal"] == found["sqlite"]
