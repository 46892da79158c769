"""A folder with a module of workflows and a database, and the commands run in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perdure import Context, Engine, NonRetryable, Retry, Workflow
from perdure.cli.commands import perdure

Perdure = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in; modules imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("PERDURE_DATABASE", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("PYTHONPATH", str(checkout))  # where perdure is only a checkout, its processes find it, too
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def run(folder: Path) -> Perdure:
    """Runs a command in the folder."""

    def invoke(*arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(perdure, list(arguments), **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def ask(run: Perdure) -> Callable[..., Any]:
    """Runs a command with ``--json`` and returns the answer."""
    return lambda *arguments: json.loads(run(*arguments, "--json").stdout)


def charge(ctx: Context[Any]) -> str:
    """Take the money, at the second attempt."""
    if ctx.attempt == 1:
        msg = "the bank is busy"
        raise ConnectionError(msg)
    return "payment-1"


def ship(ctx: Context[Any]) -> str:
    """Ship what can be shipped."""
    if ctx.input["item"] == "piano":
        msg = "the lorry has broken down"
        raise NonRetryable(msg)
    return "on its way"


def order() -> Workflow[Any, Any]:
    """Build the workflow of the runs below."""
    return (
        Workflow("order")
        .step("reserve", lambda: "shelf 7", compensate=lambda: None)
        .wait_for("approval", timeout=3600)
        .step("charge", charge, compensate=lambda: None, retry=Retry(initial=0.001, jitter=0))
        .step("ship", ship)
    )


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "perdure.db"
    with Engine(path, order(), durability="normal") as engine:
        for number, (item, answered) in enumerate([("kettle", True), ("piano", True), ("stove", False)], start=1):
            run = engine.start("order", {"item": item}, id=f"o-{number}", tags={"shop": "Rome", "number": number})
            run.wait(until="waiting")
            if answered:
                run.signal("approval", "yes")
                run.wait()
    return path


@pytest.fixture
def runs(folder: Path, _filled: Path) -> Path:
    """A database with a completed, a failed and a waiting run, and no engine."""
    path = folder / "perdure.db"
    path.write_bytes(_filled.read_bytes())
    return path
