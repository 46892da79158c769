"""Plays a recorded scenario on any engine that can start, signal and tell, in real time, and says what was left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from perdure import Workflow
from perdure.errors import EngineError
from tests.golden.language import Pause, Translator

__all__ = ["PLAYABLE", "Player", "Stage", "play", "workflows_of"]

PLAYABLE = frozenset({"start", "wait", "signal", "sleep"})
"""Actions that concern no store, process or listener of an engine's."""

FINAL = ("completed", "failed", "cancelled", "quarantined")
PATIENCE = 20.0
GLANCE = 0.02


class Player(Protocol):
    """What a scenario is played on."""

    def start(self, workflow: str, input: Any = None) -> Any:
        """Start a run."""

    def signal(self, id: str, event: str, payload: Any = None) -> None:
        """Send a signal."""

    def get_execution(self, id: str) -> Any:
        """Return what a run looks like."""


class Stage:
    """Where handlers act: they log, and they pause for as long as they say."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._guard = threading.Lock()

    def log(self, text: str) -> None:
        """Record a side effect."""
        with self._guard:
            self.lines.append(text)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Count nothing."""
        yield

    def here(self, pause: Pause) -> None:
        """Make a ``def`` handler pause."""
        time.sleep((pause.milliseconds or 0) / 1000)

    async def pause(self, pause: Pause) -> None:
        """Make an ``async def`` handler pause."""
        await asyncio.sleep((pause.milliseconds or 0) / 1000)


def workflows_of(spec: dict[str, Any], stage: Stage) -> list[Workflow[Any, Any]]:
    """Return the scenario's workflows, whose handlers act on a stage."""
    translator = Translator(stage)
    return [translator.workflow(workflow) for workflow in spec["workflows"]]


def play(engine: Player, spec: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Perform a scenario's actions and return what each run has come to, and the ids of the runs."""
    ids: dict[str, str] = {}
    told = []
    for action in spec["phases"][0]["actions"]:
        try:
            _act(engine, action, ids)
        except EngineError as error:
            told.append(f"{action['do']}: {type(error).__name__}")
    return {"told": told, **{label: _described(engine, run) for label, run in ids.items()}}, list(ids.values())


def _act(engine: Player, action: dict[str, Any], ids: dict[str, str]) -> None:
    match action["do"]:
        case "start":
            for number in range(action.get("count", 1)):
                label = f"{action['as']}{number}" if "count" in action else action["as"]
                given = {"i": number} if action.get("index_input") else action.get("input")
                ids[label] = engine.start(action["wf"], given).id
        case "signal":
            payload = None if action.get("no_payload") else action.get("payload")
            engine.signal(ids.get(action["run"], action["run"]), action["event"], payload)
        case "sleep":
            time.sleep(action["ms"] / 1000)
        case "wait":
            _wait(engine, action, ids)


def _wait(engine: Player, action: dict[str, Any], ids: dict[str, str]) -> None:
    wanted = action.get("states", FINAL)
    labels = [label for label in ids if label.startswith(action["prefix"])] if "prefix" in action else [action["run"]]
    deadline = time.monotonic() + PATIENCE
    while any(str(engine.get_execution(ids[label]).state) not in wanted for label in labels if label in ids):
        if time.monotonic() > deadline:
            return
        time.sleep(GLANCE)


def _described(engine: Player, run: str) -> dict[str, Any]:
    execution = engine.get_execution(run)
    return {
        "state": str(execution.state),
        "input": execution.input,
        "result": execution.result,
        "signals": dict(execution.signals),
        "error": None if execution.error is None else str(execution.error),
        "rollback": execution.rollback,
        "steps": {
            name: (str(step.status), step.result, None if step.error is None else str(step.error), step.compensation)
            for name, step in execution.steps.items()
        },
    }
