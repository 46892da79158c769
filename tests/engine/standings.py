"""Brings a run to where an operator may find it, each standing that the table knows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from perdure import Compensation, Concurrency, Context, Engine, Rate, Retry, Workflow
from perdure.dsl.legality import Standing
from tests.patience import PATIENCE

__all__ = ["PATIENCE", "Outside", "Scene", "see_off"]

SLOW = Retry(attempts=2, initial=60, jitter=0)
_TEN_MINUTES = Rate(1, per=600, name="service")


def see_off(engine: Engine) -> None:
    """Wait until every thread of an engine that was closed or abandoned has left; handlers may be about to return."""
    while any(thread.name.startswith(f"{engine.name}-") for thread in threading.enumerate()):
        threading.Event().wait(0)


class Outside:
    """What handlers do to the world: what they did, what is broken, and a door they may have to wait at."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken: set[str] = set()
        self.began = threading.Event()
        self.left = threading.Event()
        self.door = threading.Event()
        self.door.set()

    def act(self, ctx: Context[Any]) -> str:
        """Do a step's work, or fail at it."""
        if ctx.step_name == "work":
            self.began.set()
            self.door.wait(PATIENCE)
        if ctx.step_name in self.broken:
            msg = f"{ctx.step_name} is broken"
            raise ValueError(msg)
        self.done.append(ctx.step_name)
        self.left.set()
        return f"{ctx.step_name} of {ctx.execution_id}"

    def open(self) -> None:
        """Let whoever waits at the door do its work, and wait until it has."""
        if not self.door.is_set():
            self.left.clear()
            self.door.set()
            assert self.left.wait(PATIENCE)

    def undo(self, ctx: Context[Any]) -> None:
        """Undo a step's work, or fail at it."""
        if f"undo {ctx.step_name}" in self.broken:
            msg = f"{ctx.step_name} cannot be undone"
            raise ValueError(msg)
        self.done.append(f"undo {ctx.step_name}")


class Scene:
    """An engine with workflows to be steered; the one's steps fail the run, the other's are parked."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outside = Outside()
        engine.register(self.plain("plain"), self.parking(), self.undoing(), self.plain("bare", compensate=False))

    def plain(self, name: str, *, compensate: bool = True) -> Workflow[Any, Any]:
        """Two steps, a gate, a step; retries come after a minute."""
        undo = self.outside.undo if compensate else None
        return (
            Workflow(name)
            .step("first", self.outside.act, compensate=undo, retry=SLOW)
            .step("work", self.outside.act, retry=SLOW)
            .wait_for("go", timeout=3600)
            .step("last", self.outside.act, retry=1)
        )

    def limited(self, name: str) -> Workflow[Any, Any]:
        """A workflow of which, and of those of other names, there is one run at a time; only a holder does nothing."""
        flow: Workflow[Any, Any] = Workflow(name, concurrency=Concurrency(1, name="desk"))
        if name != "holder":
            flow.step("first", self.outside.act)
        return flow.wait_for("go", timeout=3600)

    def rated(self) -> Workflow[Any, Any]:
        """Two steps, the second of which is to be attempted once in ten minutes."""
        return (
            Workflow("rated")
            .step("first", self.outside.act, compensate=self.outside.undo)
            .step("work", self.outside.act, rate=_TEN_MINUTES)
        )

    def spender(self) -> Workflow[Any, Any]:
        """A workflow that uses up what the other one would need."""
        return Workflow("spender").step("spend", lambda: None, rate=_TEN_MINUTES)

    def parking(self) -> Workflow[Any, Any]:
        """A workflow whose steps and undos are parked."""
        undo = Compensation(self.outside.undo, retry=1, on_exhausted="park")
        return (
            Workflow("parking", on_exhausted="park")
            .step("first", self.outside.act, compensate=undo)
            .step("work", self.outside.act, retry=1)
        )

    def undoing(self) -> Workflow[Any, Any]:
        """A workflow that fails, with undos that are parked."""
        undo = Compensation(self.outside.undo, retry=1, on_exhausted="park")
        return (
            Workflow("undoing").step("first", self.outside.act, compensate=undo).step("work", self.outside.act, retry=1)
        )

    # ---- where a run may stand

    def bring(self, standing: Standing) -> str:
        """Start a run and bring it there; return its id."""
        arrange: dict[Standing, Callable[[], None]] = {
            Standing.RUNNING: self._running,
            Standing.WAITING: lambda: self._start("plain"),
            Standing.PAUSED: self._paused,
            Standing.PARKED: lambda: self._start("parking", "work"),
            Standing.STOPPING: self._stopping,
            Standing.COMPENSATING: lambda: self._start("plain", "last", "undo first", signal=True),
            Standing.ROLLBACK_PAUSED: self._rollback_paused,
            Standing.ROLLBACK_PARKED: lambda: self._start("undoing", "work", "undo first"),
            Standing.COMPLETED: lambda: self._start("plain", signal=True),
            Standing.FAILED: lambda: self._start("bare", "last", signal=True),
            Standing.UNDONE: lambda: self._start("plain", "last", signal=True),
            Standing.PARTLY_UNDONE: self._partly_undone,
            Standing.CANCELLED: self._cancelled,
            Standing.QUARANTINED: self._quarantined,
        }
        arrange[standing]()
        return "run"

    def _start(self, workflow: str, *broken: str, signal: bool = False) -> None:
        self.outside.broken.update(broken)
        self.engine.start(workflow, id="run")
        self.engine.settle()
        if signal:
            self.engine.signal("run", "go")
            self.engine.settle()

    def _running(self) -> None:
        self.outside.door.clear()
        self.engine.start("plain", id="run")
        assert self.outside.began.wait(PATIENCE)

    def _paused(self) -> None:
        self._start("parking", "work")
        self.engine.pause("run")

    def _stopping(self) -> None:
        self._running()
        self.engine.cancel("run")

    def _rollback_paused(self) -> None:
        self._start("undoing", "work", "undo first")
        self.engine.pause("run")

    def _partly_undone(self) -> None:
        self._start("undoing", "work", "undo first")
        self.engine.resolve("run", "fail")
        self.engine.settle()

    def _cancelled(self) -> None:
        self._start("plain")
        self.engine.cancel("run", compensate=False)
        self.engine.settle()

    def _quarantined(self) -> None:
        self._start("plain")
        supervisor = self.engine._machine.supervisor
        run = supervisor.core.store.find("run")
        assert run is not None
        from perdure.dsl.facts import ErrorRecord

        self.engine._machine.exclusively(lambda: supervisor._set_aside(run.id, ErrorRecord("Poison", "it kills")))
        self.engine.settle()
