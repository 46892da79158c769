"""What a step costs in commits, statements, messages and reads: counted, never timed.

Each cost is the difference between a long and a short run, divided by the difference in length, so that what a run
costs by itself does not blur it. All counts are of the real store and the real core.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Workflow
from perdure.actors import threads
from perdure.actors.core import Core
from perdure.persistence import spares
from perdure.persistence.store import Store
from tests.patience import PATIENCE

SHORT, LONG = 5, 15
TOGETHER = 12


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what goes through SQLite's connections and through the core's mail."""
    counted: Counter[str] = Counter()
    connect, post = sqlite3.connect, Core.post

    class Counted(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            verb = sql.split(None, 1)[0].upper()
            if verb == "COMMIT":
                counted["commits"] += self.changed
            elif verb == "BEGIN":
                self.changed = False
            elif self.in_transaction:
                counted["statements"] += 1
                self.changed |= verb in {"INSERT", "UPDATE", "DELETE", "REPLACE"}
            else:
                counted["reads"] += 1
            return super().execute(sql, parameters)

        changed = False

    def counted_post(core: Core, actor: Any, envelope: Any) -> None:
        counted["messages"] += 1
        post(core, actor, envelope)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **{"factory": Counted, **options}))
    monkeypatch.setattr(Core, "post", counted_post)
    return counted


@pytest.fixture
def engine(tmp_path: Path, counts: Counter[str]) -> Iterator[Engine]:
    with Engine(tmp_path / "runs.db", durability="normal") as engine:
        yield engine


def noop(ctx: Any) -> Any:
    return {"ok": True}


def straight(steps: int) -> Workflow[Any, Any]:
    workflow = Workflow(f"straight-{steps}")
    for number in range(steps):
        workflow = workflow.step(f"step-{number}", noop)
    return workflow


def looping(turns: int) -> Workflow[Any, Any]:
    return Workflow(f"loop-{turns}").do_until(
        lambda ctx, turn: turn >= turns, lambda body: body.step("work", noop), max_iterations=turns
    )


def for_each(items: int) -> Workflow[Any, Any]:
    return Workflow(f"each-{items}").for_each(lambda ctx: list(range(items)), "work", noop)


def cost(engine: Engine, counts: Counter[str], workflow: Workflow[Any, Any]) -> Counter[str]:
    """Return what one run costs, with everything that follows from it."""
    engine.register(workflow)
    for _ in range(2):  # the first one opens what is opened on demand
        engine.settle()
        counts.clear()
        engine.start(workflow.name, {"order": 42}).result(timeout=PATIENCE)
        engine.settle()
    return counts.copy()


def cost_of_one_more(
    engine: Engine, counts: Counter[str], workflow: Callable[[int], Workflow[Any, Any]]
) -> dict[str, float]:
    """Return what each further step, turn or item costs."""
    short, long = cost(engine, counts, workflow(SHORT)), cost(engine, counts, workflow(LONG))
    return {
        what: (long[what] - short[what]) / (LONG - SHORT) for what in ("commits", "statements", "messages", "reads")
    }


def assert_at_most(found: dict[str, float], **limits: float) -> None:
    """Fail if anything has become dearer; who makes it cheaper lowers the limit."""
    assert {what: count for what, count in found.items() if count > limits[what]} == {}


def test_a_step_costs_one_commit_of_two_statements_and_one_message_and_reads_nothing(
    engine: Engine, counts: Counter[str]
) -> None:
    # The statements are the fence and the facts: the step's result, and the attempt that begins.
    assert_at_most(cost_of_one_more(engine, counts, straight), commits=1, statements=2, messages=1, reads=0)


def test_an_item_costs_what_a_step_costs(engine: Engine, counts: Counter[str]) -> None:
    assert_at_most(cost_of_one_more(engine, counts, for_each), commits=1, statements=2, messages=1, reads=0)


def test_a_turn_costs_a_step_and_an_answer(engine: Engine, counts: Counter[str]) -> None:
    assert_at_most(cost_of_one_more(engine, counts, looping), commits=2, statements=4, messages=2, reads=0)


def test_a_run_of_one_step_costs_two_commits(engine: Engine, counts: Counter[str]) -> None:
    assert cost(engine, counts, straight(1))["commits"] <= 2


def test_a_signal_costs_one_commit(engine: Engine, counts: Counter[str]) -> None:
    engine.register(Workflow("gated").wait_for("go"))
    run = engine.start("gated")
    run.wait(until="waiting", timeout=PATIENCE)
    engine.settle()
    counts.clear()

    run.signal("go")
    run.result(timeout=PATIENCE)

    assert counts["commits"] <= 1


def test_runs_that_begin_together_share_a_commit(
    engine: Engine, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.register(Workflow("gated").wait_for("go"))
    engine.settle()
    core_is_held, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        core_is_held.set()
        may_go_on.wait(timeout=PATIENCE)

    all_posted = threading.Semaphore(0)
    post = Core.post

    def seen_post(core: Core, actor: Any, envelope: Any) -> None:
        post(core, actor, envelope)
        all_posted.release()

    with ThreadPoolExecutor(TOGETHER + 1) as callers:
        held = callers.submit(engine._machine.lanes.exclusively, hold)
        assert core_is_held.wait(timeout=PATIENCE)
        counts.clear()
        monkeypatch.setattr(Core, "post", seen_post)
        starts = [callers.submit(engine.start, "gated") for _ in range(TOGETHER)]
        for _ in range(TOGETHER):
            assert all_posted.acquire(timeout=PATIENCE)
        may_go_on.set()
        for start in [*starts, held]:
            start.result(timeout=PATIENCE)

    assert counts["commits"] <= 2, "the first may go off alone, before the others are taken"


class Approval:
    """What a test of an approval does that takes a month: open, start, let thirty days pass, look, close."""

    def __init__(self) -> None:
        self.reminded: list[int] = []
        self.workflow = (
            Workflow("approval")
            .wait_for(
                "approved",
                timeout=timedelta(days=30),
                on_timeout=lambda w: w.step("escalate", lambda: "escalated"),
                remind_every=timedelta(days=14),
                remind=lambda ctx: self.reminded.append(ctx.turn),
            )
            .step("file", lambda: "filed")
        )

    def play(self, seed: int | None) -> None:
        self.reminded.clear()
        with Engine(None, self.workflow, seed=seed) as engine:
            run = engine.start(self.workflow)
            engine.advance(days=30)
            assert (run.result(), self.reminded) == ("filed", [1, 2])


@pytest.fixture
def life(counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count cycles, threads that are started and bodies that run on threads as well; on databases of its own."""
    spares._throw_away()
    cycle, start, run = Core.cycle, threading.Thread.start, threads.Task.run

    def counted_cycle(core: Core) -> bool:
        counts["cycles"] += 1
        return cycle(core)

    def counted_start(thread: threading.Thread) -> None:
        counts["threads_started"] += 1
        start(thread)

    def counted_run(task: threads.Task) -> None:
        counts["threads_used"] += 1
        run(task)

    monkeypatch.setattr(Core, "cycle", counted_cycle)
    monkeypatch.setattr(threading.Thread, "start", counted_start)
    monkeypatch.setattr(threads.Task, "run", counted_run)
    return counts


@pytest.mark.parametrize("seed", [0, None])
def test_a_month_in_a_test_costs_ten_commits_ten_cycles_and_no_new_thread(
    seed: int | None, life: Counter[str], freezer: Any
) -> None:
    approval, lives = Approval(), []
    for _ in range(5):  # on a busy machine a thread may not be back yet when the next one is wanted
        life.clear()
        approval.play(seed)
        lives.append(life.copy())

    # The commits: the engine's own, which looks whether the runs were moved, the start, and two for each reminder, the
    # end of the wait and the last step; and one that empties the database for the next test, by a statement a table,
    # which takes less than to read the schema of a new one. The threads: the bell's, the alarm's, and one for user
    # code; no dispatcher, since whoever brings mail handles it.
    assert_at_most(
        {what: min(one[what] for one in lives) for what in life},
        commits=10,
        statements=43,
        reads=11,
        messages=23,
        cycles=10,
        threads_started=0,
        threads_used=3,
    )


class TestTheGuardItself:
    def test_sees_an_added_commit(self, engine: Engine, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
        commit = Store.commit

        def twice(store: Store, batch: Any) -> None:
            commit(store, batch)
            commit(store, batch)

        monkeypatch.setattr(Store, "commit", twice)

        assert cost_of_one_more(engine, counts, straight)["commits"] == 2

    def test_sees_an_added_statement(
        self, engine: Engine, counts: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = Store._write

        def one_more(store: Store, connection: sqlite3.Connection, batch: Any) -> None:
            connection.execute("SELECT 1")
            write(store, connection, batch)

        monkeypatch.setattr(Store, "_write", one_more)

        assert cost_of_one_more(engine, counts, straight)["statements"] == 3

    def test_sees_an_added_read(self, engine: Engine, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
        commit = Store.commit

        def read_first(store: Store, batch: Any) -> None:
            store.find("nobody")
            commit(store, batch)

        monkeypatch.setattr(Store, "commit", read_first)

        assert cost_of_one_more(engine, counts, straight)["reads"] == 1

    def test_sees_an_added_message(self, engine: Engine, counts: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
        from perdure.actors.core import Letter
        from perdure.actors.supervisor import Tick

        commit, core, supervisor = Store.commit, engine._machine.core, engine._machine.supervisor

        def and_a_letter(store: Store, batch: Any) -> None:
            commit(store, batch)
            core.post(supervisor, Letter(Tick()))

        monkeypatch.setattr(Store, "commit", and_a_letter)

        assert cost_of_one_more(engine, counts, straight)["messages"] == 2
