"""One life of a process that starts some runs of a workflow and brings them to their end, unless it is killed.

What it leaves are its database, and files: the witness of user code; ``acks``, of what was asked for and what was
acknowledged; ``events``, as listeners heard them; ``log``, of the engine; ``ends``, if it came to the end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from perdure import Engine, EngineError, Event, Run, StoreError, Workflow
from perdure.dsl.facts import kept_beside
from perdure.dsl.states import FINAL, State
from perdure.testing import Moment, watch_points
from perdure.testing.lives import Entry, Witness, describe

from .places import Place

__all__ = ["Ask", "Disk", "Life", "Spot"]

Spot = tuple[str, int]
"""A crash point, and which time it is reached."""

T = TypeVar("T")
_BUSY = 20


class Disk(Protocol):
    """A disk that may be made to fail."""

    def whole_life(self) -> AbstractContextManager[Any]:
        """Fail, if at all, from before the database is opened until after it is closed."""

    def open_engine(self) -> AbstractContextManager[Any]:
        """Fail, if at all, while the engine is open."""


class Ask(NamedTuple):
    """One line of ``acks``.

    Attributes:
        what: ``asked`` before the call, ``acked`` after it.
        run: Id of the run.
        event: Name of the signal; empty for a start.
        key: Its key.
    """

    what: str
    run: str
    event: str = ""
    key: str = ""


class Life:
    """What one process does, in a folder."""

    def __init__(
        self,
        folder: Path,
        place: Place,
        flows: list[Workflow[Any, Any]],
        *,
        runs: int,
        early: set[str],
        seed: int | None,
    ) -> None:
        self._folder = folder
        self._place = place
        self._flows = flows
        self._runs = [f"run-{number}" for number in range(runs)]
        self._early = early
        self._seed = seed
        self._acks = os.open(folder / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._events = os.open(folder / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._witness = Witness(folder / "witness")
        self._passed: list[Spot] = []
        logging.getLogger("perdure").addHandler(logging.FileHandler(folder / "log"))

    def live(self, freezer: Any, die_at: Spot | None = None, disk: Disk | None = None) -> None:
        """Live; kill this process at a spot, if one is given, or on a disk that fails."""
        if times := [entry.run for entry in self._witness.read() if entry.what == "time"]:
            freezer.move_to(datetime.fromtimestamp(max(times) / 1_000_000, UTC))

        def visit(moment: Moment) -> None:
            self._witness.visit(moment)
            if moment.point == "handler.before":
                self._check_that_what_it_sees_is_on_disk(moment)
            here = (moment.point, moment.count)
            if here == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self._passed.append(here)

        flows, location = self._flows, self._place.location
        options: dict[str, Any] = {"seed": self._seed, "on_event": self._hear}
        options["durability"] = "normal" if disk is None else "full"
        open_disk, engine_disk = (disk.whole_life, disk.open_engine) if disk is not None else (nullcontext, nullcontext)
        with (
            watch_points(visit),
            open_disk(),
            Engine(location, *flows, **options) as engine,
            engine_disk(),
        ):
            self._drive(engine, freezer)
            ends = self._patiently(lambda: describe(engine))
        (self._folder / "ends").write_text(json.dumps({"ends": ends, "passed": self._passed}))

    def _hear(self, event: Event) -> None:
        step = getattr(event, "step", "")
        line = json.dumps([os.getpid(), event.execution_id, event.sequence, event.type, step])
        os.write(self._events, f"{line}\n".encode())

    def _check_that_what_it_sees_is_on_disk(self, moment: Moment) -> None:
        attempt = moment.attempt
        assert attempt is not None
        scope = attempt.effect.scope
        seen = {fact.key for name in scope.names() if (fact := scope.find(name)) is not None}
        on_disk = self._on_disk(attempt.run)
        if missing := {key for key in seen if on_disk.isdisjoint((key, kept_beside(key)))}:
            self._witness.write(Entry("ahead", attempt.run, f"{moment.step} saw {sorted(missing)}"))

    def _on_disk(self, run: int) -> set[str]:
        sql = "SELECT key FROM workflow_steps WHERE execution = ? AND completed_at IS NOT NULL"
        return {key for (key,) in self._ask_disk(sql, run)}

    def _ask_disk(self, sql: str, *parameters: Any) -> list[Any]:
        with self._place.look() as disk:
            return list(disk.execute(sql, parameters))

    # ---- driving

    def _drive(self, engine: Engine, freezer: Any) -> None:
        for run in self._runs:
            self._call(Ask("asked", run), lambda run=run: engine.start("generated", id=run))  # type: ignore[misc]
            for event in sorted(self._early):
                self._signal(engine.run(run), event, f"{event}#early")
        while True:
            self._patiently(lambda: engine.settle(_BUSY))
            runs = [run for run in engine.list_executions() if run.state not in (*FINAL, State.QUARANTINED)]
            if not runs:
                return
            gates = [(run.id, str(gate.event)) for run in runs for gate in run.waiting_for if _is_opened(gate.event)]
            for run_id, event in gates:
                self._signal(engine.run(run_id), event, f"{event}#{self._sent(run_id, event)}")
            if not gates:
                self._move_on(engine, freezer)

    @staticmethod
    def _patiently(call: Callable[[], T]) -> T:
        """Call again when the disk has failed: whether anything was written is unknown."""
        for _ in range(_BUSY):
            with suppress(StoreError):
                return call()
        return call()

    def _call(self, ask: Ask, call: Callable[[], object]) -> None:
        os.write(self._acks, f"{json.dumps(ask)}\n".encode())
        with suppress(EngineError):  # the run has ended meanwhile
            self._patiently(call)
            os.write(self._acks, f"{json.dumps(ask._replace(what='acked'))}\n".encode())

    def _signal(self, run: Run[Any], event: str, key: str) -> None:
        self._call(Ask("asked", run.id, event, key), lambda: run.signal(event, event, key=key))

    def _sent(self, run: str, event: str) -> int:
        sql = (
            "SELECT count(*) FROM workflow_signals AS sent JOIN workflow_executions AS run ON run.id = sent.execution"
            " WHERE run.execution_id = ? AND sent.event = ?"
        )
        [(count,)] = self._ask_disk(sql, run, event)
        return int(count)

    def _move_on(self, engine: Engine, freezer: Any) -> None:
        due = engine.next_deadline()
        assert due is not None, f"nothing will ever wake {engine.list_executions()}"
        now = max(due, datetime.now(UTC))
        self._witness.write(Entry("time", round(now.timestamp() * 1_000_000)))
        freezer.move_to(now)


def _is_opened(event: str | None) -> bool:
    """Tell whether a signal is sent to a gate; the others time out."""
    return event is not None and event.startswith("gate")
