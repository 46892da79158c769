"""Every kind of node inside every other: runs, restarts at every commit, and is undone in exactly the reverse order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from perdure import Engine, Run, State, WorkflowFailed
from tests.patience import PATIENCE

from .drive import Clock, completed_keys, drive, files_of, photographs_of, prepared
from .pairs import KINDS, Ledger, Scene

PAIRS = [(outer, inner) for outer in KINDS for inner in KINDS]
STRIDE = int(os.environ.get("PERDURE_CRASH_STRIDE", "8"))
"""Of the commits after which a pair's process may die, one in so many is tried, others for each pair; 1 tries all."""

CONCURRENT = {"parallel", "for_each, concurrent"}

every_pair = pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=[f"{inner} in {outer}" for outer, inner in PAIRS])


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """One frozen clock for all pairs: to freeze the time takes longer than to play most of them."""
    with freeze_time("2026-03-02 09:00:00") as frozen:
        yield frozen


def begin(engine: Engine, *, fail: bool) -> Run[object]:
    return engine.start("parent", {"lineage": ["parent"], "fail": fail}, id="run")


def check_forward(scene: Scene) -> None:
    happened = scene.ledger.entries("did", "mapped")
    expected = [entry for entry in scene.happens() if entry.verb != "passed"]
    if CONCURRENT & {scene.outer, scene.inner}:
        assert sorted(happened, key=repr) == sorted(expected, key=repr)
    else:
        assert happened == expected


@every_pair
def test_a_pair_of_nodes_completes_though_the_engine_restarts_at_each_rest(
    outer: str, inner: str, clock: Clock, location: str
) -> None:
    scene = Scene(outer, inner)
    flows = scene.workflows()
    engine = Engine(prepared(location), *flows, durability="normal")

    def restart() -> Engine:
        nonlocal engine
        engine.close()
        engine = Engine(location, *flows, durability="normal")
        return engine

    begin(engine, fail=False)
    drive(engine, clock, at_rest=restart)
    run = engine.run("run")
    shown = engine.get_execution("run")
    engine.close()

    assert shown is not None
    assert (shown.state, shown.result) == (State.COMPLETED, "done"), run
    check_forward(scene)
    assert Counter(scene.ledger).most_common(1)[0][1] == 1, "nothing is done twice"
    own = [entry for entry in scene.happens() if entry.verb in ("did", "mapped") and entry.lineage == ("parent",)]
    assert {entry.name: entry.result for entry in own}.items() <= {
        name: step.result for name, step in shown.steps.items()
    }.items()


@every_pair
def test_a_pair_of_nodes_is_undone_in_reverse_order_though_the_process_dies_at_any_commit(
    outer: str, inner: str, clock: Clock, tmp_path: Path
) -> None:
    scene = Scene(outer, inner)
    flows = scene.workflows()
    path = tmp_path / "calm.db"

    with (
        photographs_of(path, lambda: Ledger(scene.ledger)) as photographs,
        Engine(prepared(str(path)), *flows, durability="normal") as engine,
    ):
        run = begin(engine, fail=True)
        drive(engine, clock)
        check_undone(scene, run)
    assert len(scene.ledger) == len(set(scene.ledger)), "nothing is done twice"

    for number in range(PAIRS.index((outer, inner)) % STRIDE, len(photographs), STRIDE):
        files, world, moment = photographs[number]
        clock.move_to(moment)
        path = tmp_path / f"killed-{number}.db"
        for file, content in zip(files_of(path), files, strict=True):
            file.write_bytes(content)
        scene.ledger[:] = world
        recorded = completed_keys(path)
        with Engine(path, *flows, durability="normal") as engine:
            drive(engine, clock)
            check_undone(scene, engine.run("run"))
        again = {key for key, _ in scene.ledger[len(world) :]}
        assert recorded.isdisjoint(again), f"killed after commit {number}: done again though recorded"


def check_undone(scene: Scene, run: Run[object]) -> None:
    with pytest.raises(WorkflowFailed) as failure:
        run.result(timeout=PATIENCE)
    assert failure.value.step == "last"
    owed = scene.is_undone()
    assert failure.value.rollback == ("complete" if owed else "none")
    check_forward(scene)
    assert scene.ledger.entries("undid") == owed
