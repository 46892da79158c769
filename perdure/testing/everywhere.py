"""Kills a workflow's process at every point in turn, restarts it, and looks whether anything was lost or repeated."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ..dsl.errors import UsageError, did_you_mean
from ..dsl.workflow import Workflow
from ..engine import Engine
from ..execution import Execution
from ..persistence.migrations import blank
from .crash_points import POINTS, Moment, watch_points
from .forks import check_may_fork, run_in_fork
from .freezing import freeze
from .lives import Entry, Witness, describe, drive

__all__ = ["CrashError", "CrashReport", "crash_everywhere"]

InputT = TypeVar("InputT")

_RUN = "run"
_DATABASE = "runs.db"
_MOST_SHOWN = 5
Place = tuple[str, int]
"""A point, and which time it is reached."""


class CrashError(AssertionError):
    """After a crash the workflow did not come to the same end, or something was lost, repeated or out of order."""


@dataclass(frozen=True, slots=True)
class CrashReport:
    """What was tried.

    Attributes:
        kills: How often the process was killed.
        points: How often at each point, by name.
        repeated: How often user code ran a second time, since its result was not on disk when the process died.
    """

    kills: int
    points: Mapping[str, int]
    repeated: int

    def __str__(self) -> str:
        """Show it in one line."""
        return f"killed {self.kills} times at {len(self.points)} points: nothing was lost; {self.repeated} repeats"


def crash_everywhere(
    workflow: Workflow[InputT, Any],
    input: InputT | None = None,
    *,
    others: Sequence[Workflow[Any, Any]] = (),
    signals: Mapping[str, Any] | None = None,
    points: Collection[str] | None = None,
    check: Callable[[Execution], object] | None = None,
    same_results: bool = True,
    timeout: float = 30,
) -> CrashReport:
    """Run a workflow in processes that are killed, one at each crash point in turn, and restarted; check what is left.

    The workflow runs once undisturbed. Then, for every point it passed, a new process runs it from the start and kills
    itself there with SIGKILL, another one opens the database it has left and brings the run to its end. What must hold
    every time: the same end, of every step and compensation; every piece of user code that ran undisturbed has run, at
    most once more than then, and never again once its result was on disk; compensations in the same order.

    Processes are forks of this one: memory that handlers write to is lost with each, as it is in life. Time is frozen,
    and moved from deadline to deadline.

    Args:
        workflow: The workflow.
        input: What it is started with.
        others: Workflows it starts as sub-workflows.
        signals: Payloads by event; one is sent whenever a run waits for it. A gate with a deadline whose event is not
            here times out.
        points: Only these of `POINTS`.
        check: Called with the run's `Execution` in the process that brought it to its end; what it raises is reported.
        same_results: Whether results must be the same each time, too; False for handlers that return something new,
            such as an id they draw.
        timeout: Real seconds a process may take.

    Raises:
        CrashError: something does not hold; says after which kill.
        UsageError: an engine is open in this process, a point does not exist, or a signal is missing.

    Example:
        >>> order = Workflow("order").step("charge", lambda: "receipt").step("ship", lambda: "parcel")
        >>> report = crash_everywhere(order, points=["commit.written", "handler.after"])
        >>> report.kills, report.repeated
        (5, 3)
    """
    check_may_fork("crash_everywhere")
    for point in points or ():
        if point not in POINTS:
            raise UsageError(f"there is no crash point {point!r}{did_you_mean(point, list(POINTS))}")
    trial = _Trial(workflow, input, others, signals or {}, check, timeout, same_results)
    with freeze() as freezer, tempfile.TemporaryDirectory(prefix="perdure-crash-") as folder:
        trial.freezer, trial.folder = freezer, Path(folder)
        return trial.run(points)


@dataclass
class _Trial:
    workflow: Workflow[Any, Any]
    input: Any
    others: Sequence[Workflow[Any, Any]]
    signals: Mapping[str, Any]
    check: Callable[[Execution], object] | None
    timeout: float
    same_results: bool
    freezer: Any = None
    folder: Path = Path()
    _seen: list[Place] = field(default_factory=list)

    def run(self, points: Collection[str] | None) -> CrashReport:
        self._warm_up()
        calm = _Scene(self, self.folder / "calm", None)
        calm.live()
        killed: Counter[str] = Counter()
        repeated = 0
        for number, place in enumerate(calm.places(points)):
            scene = _Scene(self, self.folder / str(number), place)
            if scene.live():
                killed[place[0]] += 1
                scene.live()
            scene.compare(calm)
            repeated += sum((scene.counted("began") - calm.counted("began")).values())
        return CrashReport(killed.total(), dict(killed), repeated)

    def _warm_up(self) -> None:
        """Let an engine live here for a moment: what is made once for each process, the forks need not make again."""
        hello: Workflow[None, str] = Workflow("hello").step("greet", lambda ctx: "hello").wait_for("never")
        with Engine(None, *self.others, self.workflow) as engine:
            engine.register(hello).start(hello).wait(self.timeout, until="waiting")


class _Scene:
    """One database, the lives on it, and what they left behind."""

    def __init__(self, trial: _Trial, folder: Path, place: Place | None) -> None:
        folder.mkdir()
        (folder / _DATABASE).write_bytes(blank())  # an eighth of what it takes to create the tables
        self._trial = trial
        self._folder = folder
        self._place = place
        self._lives = 0
        self._entries: list[Entry] = []

    def live(self) -> bool:
        """Have one process live; return whether it was killed."""
        self._lives += 1
        death = run_in_fork(self._life, timeout=self._trial.timeout)
        with closing(Witness(self._folder / "witness")) as witness:
            self._entries = witness.read()
        if death.trouble:
            raise CrashError(f"{self}: {death.trouble}")
        return death.killed

    def __str__(self) -> str:
        if self._place is None:
            return "undisturbed"
        point, count = self._place
        return f"killed at {point} (time {count}), life {self._lives}"

    def _life(self) -> None:
        """Run the workflow to its end; this is the fork's code."""
        trial, passed = self._trial, []
        place = self._place if self._lives == 1 else None
        witness = Witness(self._folder / "witness")
        if times := [entry.run for entry in witness.read() if entry.what == "time"]:
            trial.freezer.move_to(datetime.fromtimestamp(max(times) / 1_000_000, UTC))

        def visit(moment: Moment) -> None:
            witness.visit(moment)
            here = (moment.point, moment.count)
            if here == place:
                os.kill(os.getpid(), signal.SIGKILL)
            passed.append(here)

        with ExitStack() as stack:
            stack.enter_context(watch_points(visit))
            # One after the other, so that a point that was passed undisturbed is reached again.
            flows = (*trial.others, trial.workflow)
            engine = stack.enter_context(Engine(self._folder / _DATABASE, *flows, durability="normal", seed=0))
            engine.on_any(lambda event: None)
            engine.start(trial.workflow.name, trial.input, id=_RUN)
            drive(engine, trial.freezer, trial.signals, witness, timeout=trial.timeout)
            end = describe(engine)
            if trial.check is not None and (shown := engine.get_execution(_RUN)) is not None:
                trial.check(shown)
        (self._folder / "end").write_text(json.dumps({"end": end, "passed": passed}))

    # ---- what is left

    def _read(self, what: str) -> Any:
        return json.loads((self._folder / "end").read_text())[what]

    def places(self, points: Collection[str] | None) -> Iterator[Place]:
        """Yield every point that was passed."""
        for point, count in self._read("passed"):
            if points is None or point in points:
                yield point, count

    def _named(self, *what: str) -> Iterator[tuple[str, str]]:
        order = {run: number for number, run in enumerate(sorted({e.run for e in self._entries if e.what != "time"}))}
        for entry in self._entries:
            if entry.what in what:
                yield entry.what, f"{order[entry.run]}:{entry.name}"

    def counted(self, what: str) -> Counter[str]:
        """Count how often user code began or ended, by run and step."""
        return Counter(name for _, name in self._named(what))

    def compare(self, calm: _Scene) -> None:
        """Compare with a life that had no crash.

        Raises:
            CrashError: something was lost, repeated or out of order.
        """
        faults = [*self._different_ends(calm), *self._wrong_effects(calm), *self._repeated_though_recorded()]
        if faults:
            raise CrashError("\n  ".join([f"{self}:", *faults[:_MOST_SHOWN]]))

    def _different_ends(self, calm: _Scene) -> Iterator[str]:
        ours, theirs = self._read("end"), calm._read("end")
        if [run["run"] for run in ours] != [run["run"] for run in theirs]:
            yield f"there are the runs {[run['run'] for run in ours]}, not {[run['run'] for run in theirs]}"
            return
        for found, due in zip(ours, theirs, strict=True):
            for what in dict.fromkeys([*due, *found]):
                if found.get(what) != due.get(what) and (self._trial.same_results or not what.startswith("result")):
                    yield f"{due['run']}: {what} is {found.get(what)}, undisturbed it was {due.get(what)}"

    def _wrong_effects(self, calm: _Scene) -> Iterator[str]:
        ours, theirs = self.counted("did"), calm.counted("did")
        for name in theirs.keys() - ours.keys():
            yield f"{name} never ran to its end"
        for name in ours.keys() - theirs.keys():
            yield f"{name} ran, which undisturbed it did not"
        for name, count in self.counted("began").items():
            if count > calm.counted("began")[name] + self._lives - 1:
                yield f"{name} began {count} times, undisturbed {calm.counted('began')[name]}"
        undone, due = self._undone(), calm._undone()
        if undone != due:
            yield f"undone in the order {undone}, undisturbed {due}"

    def _undone(self) -> list[str]:
        return list(dict.fromkeys(name for _, name in self._named("did") if name.partition(":")[2].startswith("undo:")))

    def _repeated_though_recorded(self) -> Iterator[str]:
        recorded: set[str] = set()
        for what, name in self._named("recorded", "began"):
            if what == "recorded":
                recorded.add(name)
            elif name in recorded:
                yield f"{name} began again though its result was on disk"
