"""Crash after every single commit of each example, restored from what is left: same end, same events, nothing twice.

An undisturbed run of an example leaves a picture after each of its commits: what is in the database, taken before the
engine could act on the commit, and the state of the outside world at that instant. This is what a
process killed right there would leave. Each picture is then opened by a new engine, and the example is driven to its
end once more. Some pictures of each example are made by a fork that does kill itself, to show that the others are
true.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import os
import pickle
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from freezegun import freeze_time

from perdure import Engine, Execution
from perdure.dsl.context import Context
from perdure.dsl.facts import FactStatus
from perdure.events import Event
from perdure.persistence.records import Batch
from perdure.persistence.store import Store
from perdure.testing.forks import run_in_fork
from tests.patience import PATIENCE

from .albums import Album

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
COMMITS_TO_DIE_AFTER = (2, 4, 5)
MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

# Events that need not come the same number of times: an attempt cut short by the crash begins a second time, and
# whether a signal finds the run waiting at its gate, or the run the signal in its mailbox, is up to whoever sends it;
# whether a run that asks again for a slot or a token finds one at once is up to those before it.
INCIDENTAL = {
    *("step:started", "step:retry", "step:timeout", "step:late", "compensation:started"),
    *("workflow:waiting", "workflow:resumed", "workflow:queued", "step:throttled"),
}


def load(name: str) -> ModuleType:
    """Import an example afresh, so that its fakes are new; always under one name, since stored values name classes."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class World:
    """What the fakes of an example stand for: it goes on when the process dies.

    A call of a fake is one step of the world: it has happened and every later picture shows it, or it has not.
    """

    def __init__(self, services: tuple[object, ...]) -> None:
        self.lock = threading.RLock()
        self._services = services
        for service in services:
            for name, method in inspect.getmembers(service, inspect.ismethod):
                if not name.startswith("_") and not inspect.iscoroutinefunction(method):
                    setattr(service, name, self._one_step(method))

    def _one_step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with self.lock:
                return method(*args)

        return call

    def memories(self) -> list[dict[str, Any]]:
        """Return all that the fakes remember."""
        return [{k: v for k, v in vars(service).items() if not callable(v)} for service in self._services]

    def state(self) -> bytes:
        """Return all that the fakes remember, as bytes."""
        with self.lock:
            return pickle.dumps(self.memories())

    def restore(self, state: bytes) -> None:
        """Bring the world back to an earlier state."""
        for service, memory in zip(self._services, pickle.loads(state), strict=True):  # noqa: S301 - our own bytes
            vars(service).update(memory)


@dataclass(frozen=True)
class Picture:
    """What a process that was killed has left behind.

    Attributes:
        commit: Number of the commit after which it died.
        left: What is in the database; how, is the album's business.
        world: State of the outside world.
        moment: The time.
        recorded: Idempotency keys of everything whose completion is on disk.
    """

    commit: int
    left: Any
    world: bytes
    moment: datetime
    recorded: frozenset[str]


@dataclass
class Life:
    """Everything that can be seen of one engine's life with an example.

    Attributes:
        ends: How each run ended.
        world: What the fakes remember in the end.
        events: Events by run and sequence number.
        began: Idempotency keys of all user code that began, in order.
    """

    ends: dict[str, Any] = field(default_factory=dict)
    world: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, dict[int, tuple[str, Any]]] = field(default_factory=dict)
    began: list[str] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        """Note an event."""
        what = next((getattr(event, name) for name in ("step", "event", "name") if hasattr(event, name)), None)
        self.events.setdefault(event.execution_id, {})[event.sequence] = (event.type, what)

    def milestones(self, run: str, *, before: int = sys.maxsize) -> Counter[tuple[str, Any]]:
        """Count a run's events up to a sequence number; strands may end in any order."""
        events = self.events.get(run, {}).items()
        return Counter(event for number, event in events if number < before and event[0] not in INCIDENTAL)


class Notary:
    """Knows what is on disk: calls a function after each commit, before the engine can act on it."""

    def __init__(self, world: World, after_commit: Callable[[Notary], object]) -> None:
        self.world = world
        self.commits = 0
        self._names: dict[int, str] = {}
        self._recorded: set[str] = set()
        self._after_commit = after_commit

    def record(self, batch: Batch) -> None:
        """Take a batch down that has just been committed."""
        for number, row in batch.executions.items():
            self._names[number] = row.execution_id
        for (number, _), fact in batch.facts.items():
            if fact.status is FactStatus.COMPLETED:
                name = fact.name.replace("__undo:", "undo:")
                turn = f"@{'.'.join(map(str, fact.turn))}" if fact.turn else ""
                self._recorded.add(f"{self._names[number]}:{name}{turn}")
        self.commits += 1
        self._after_commit(self)

    def picture(self, left: Any = None) -> Picture:
        """Return what would be left if the process died now."""
        return Picture(self.commits, left, self.world.state(), datetime.now(UTC), frozenset(self._recorded))


@contextlib.contextmanager
def commits_noted_by(notary: Notary) -> Iterator[None]:
    """Let a notary look over the shoulder of every store."""
    commit = Store.commit

    def noted(self: Store, batch: Batch) -> None:
        commit(self, batch)
        with notary.world.lock:
            notary.record(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "commit", noted)
        yield


@contextlib.contextmanager
def calls_noted_in(began: list[str]) -> Iterator[None]:
    """Write down the key of every handler, selector and other piece of user code that is about to run."""
    make = Context.__init__

    def noted(self: Context[Any], *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        began.append(self.idempotency_key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "__init__", noted)
        yield


def live(example: ModuleType, world: World, location: str, moment: datetime) -> Life:
    """Drive an example to its end on a database, watching everything."""
    life = Life()
    with contextlib.ExitStack() as stack:
        if hasattr(example, "freeze_time"):
            stack.enter_context(freeze_time(moment))
        stack.enter_context(calls_noted_in(life.began))
        engine = stack.enter_context(Engine(location, durability="normal", on_event=life.hear))
        engine.register(*example.workflows)
        example.drive(engine)
        executions = engine.list_executions()[::-1]
        # Ids of children are drawn anew in each life, and stand in keys and results: runs are called by their order.
        names = {execution.id: f"{execution.workflow_name} {number}" for number, execution in enumerate(executions)}
        life.ends = {names[execution.id]: renamed(end_of(execution), names) for execution in executions}
    life.events = {names[execution_id]: events for execution_id, events in life.events.items()}
    life.world = renamed(world.memories(), names)
    return life


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a value with other names for the runs, wherever it speaks of them."""
    match value:
        case str():
            return functools.reduce(lambda text, name: text.replace(*name), names.items(), value)
        case dict():
            return {renamed(key, names): renamed(item, names) for key, item in value.items()}
        case list() | tuple():
            return [renamed(item, names) for item in value]
    return value


def end_of(execution: Execution) -> dict[str, Any]:
    """Return what must be the same whenever the process died: everything but times and attempts."""
    error = execution.error
    return {
        "state": execution.state,
        "input": execution.input,
        "result": execution.result,
        "error": error and (error.type, error.message, error.step, sorted(cause[:3] for cause in error.causes)),
        "rollback": execution.rollback,
        "signals": execution.signals,
        "steps": {name: (step.status, step.result, step.compensation) for name, step in execution.steps.items()},
    }


def undisturbed(example: ModuleType, world: World, album: Album) -> tuple[Life, list[Picture]]:
    """Let an example run without a crash, taking a picture after each commit."""
    location = album.blank("calm")
    pictures: list[Picture] = []
    with contextlib.ExitStack() as stack:
        take = album.camera(location, stack)
        with commits_noted_by(Notary(world, lambda notary: pictures.append(notary.picture(take())))):
            life = live(example, world, location, MORNING)
    return life, pictures


def check_that_nothing_was_lost_or_repeated(calm: Life, picture: Picture, later: Life) -> None:
    """Compare the life after a crash with one that had none."""
    where = f"died after commit {picture.commit}"
    assert later.ends == calm.ends, where
    assert later.world == calm.world, where
    assert picture.recorded.isdisjoint(later.began), f"{where}: recorded as completed, yet begun again"
    for run in calm.ends:
        assert later.milestones(run) <= calm.milestones(run), f"{where}: told twice"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_on_after_a_crash_at_any_commit_as_if_nothing_had_happened(
    name: str, album: Album, as_many: Callable[[int, int], int]
) -> None:
    example = load(name)
    world = World(example.services)

    calm, pictures = undisturbed(example, world, album)

    assert len(pictures) > len(calm.ends)
    for picture in pictures[:: as_many(1, 7)]:
        world.restore(picture.world)
        with album.shown(picture.left, f"crashed-{picture.commit}") as location:
            later = live(example, world, location, picture.moment)
        check_that_nothing_was_lost_or_repeated(calm, picture, later)
        for run in calm.ends:
            first = min(later.events.get(run, {}), default=sys.maxsize)
            told = calm.milestones(run, before=first) + later.milestones(run)
            assert told == calm.milestones(run), picture.commit


@pytest.mark.not_pooled
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_on_after_sigkill(name: str, album: Album, tmp_path: Path) -> None:
    places = [album.blank(f"killed-{commit}") for commit in COMMITS_TO_DIE_AFTER]
    for commit, location in zip(COMMITS_TO_DIE_AFTER, places, strict=True):
        death = run_in_fork(functools.partial(live_until_killed, name, tmp_path, location, commit), timeout=PATIENCE)
        assert death.killed, death.trouble
    example = load(name)
    world = World(example.services)
    calm, _ = undisturbed(example, world, album)

    for commit, location in zip(COMMITS_TO_DIE_AFTER, places, strict=True):
        picture = Picture(*pickle.loads((tmp_path / f"left-{commit}").read_bytes()))  # noqa: S301 - our own bytes
        world.restore(picture.world)
        album.rest(location)
        later = live(example, world, location, picture.moment)
        check_that_nothing_was_lost_or_repeated(calm, picture, later)


def live_until_killed(name: str, folder: Path, location: str, commit: int) -> None:
    """Drive an example in this process and kill the process right after the given commit."""
    example = load(name)

    def kill(notary: Notary) -> None:
        if notary.commits == commit:
            (folder / f"left-{commit}").write_bytes(pickle.dumps(astuple(notary.picture())))
            os.kill(os.getpid(), signal.SIGKILL)

    world = World(example.services)
    with commits_noted_by(Notary(world, kill)):
        live(example, world, location, MORNING)
