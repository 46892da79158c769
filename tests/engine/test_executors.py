"""A step may run in another process, and is the same step there: what it sees, what becomes of it, what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perdure import DefinitionError, Engine, Retry, UsageError, Workflow, WorkflowFailed, events
from perdure.dsl.policies import Compensation
from perdure.errors import NotSendable, UnknownExecutor
from perdure.extension import Extension, HandlerCall
from perdure.testing import close_cleanly, freeze, stub, with_stubs
from perdure.testing.leaks import unique_name
from tests.engine import heavy
from tests.patience import PATIENCE

AT_ONCE = Retry(attempts=3, initial=0, jitter=0)

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="module", autouse=True)
def bare_workers(checkout: Path) -> Iterator[None]:
    """Worker processes find these handlers, and need not import all of pytest first, which is this program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(checkout))
        patch.setitem(sys.modules, "__main__", ModuleType("__main__"))
        yield


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """One worker process for tests that do it no harm."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def engine(frozen: Any, tmp_path: Path) -> Iterator[MakeEngine]:
    """Make an engine on frozen time, closed without a trace."""
    engines: list[Engine] = []

    def make(*workflows: Workflow[Any, Any], database: str = "runs.db", **options: Any) -> Engine:
        settings = {"durability": "normal", "queue_name": unique_name(), **options}
        engines.append(Engine(tmp_path / database, *workflows, **settings))
        return engines[-1]

    yield make
    for each in engines:
        close_cleanly(each)


class Gate:
    """Where handlers in other processes wait, by two pipes that have names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.mkfifo(folder / "gate")
        os.mkfifo(folder / "news")

    def wait_for_one(self) -> None:
        """Wait until a handler is there."""
        with (self.folder / "news").open() as news:
            assert news.read() == "began\n"

    def open(self) -> None:
        """Let the one handler go on that waits."""
        with (self.folder / "gate").open("w"):
            pass

    def leave_open(self) -> None:
        """Let everybody go on, so that no worker is left to the next test that stands here."""
        for name in ("gate", "news"):
            os.close(os.open(self.folder / name, os.O_RDWR | os.O_NONBLOCK))
            (self.folder / name).unlink()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.leave_open()


# ---- one word


def test_a_step_runs_in_a_process_of_the_engines_own_by_one_word(engine: MakeEngine) -> None:
    here = Workflow("here").step("where", heavy.where)
    there = Workflow("there").step("where", heavy.where, executor="process").step("later", heavy.later)
    lab = engine(here, there)

    pids = {lab.start(each).wait(PATIENCE).steps["where"].result for each in (here, there, there)}

    assert len(pids) == 2, "one process here, and one worker that both used"
    assert os.getpid() in pids


def test_a_step_that_was_decorated_is_found_under_its_name_and_its_values_keep_their_class(
    engine: MakeEngine, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    work = Workflow("work", input=int).map("ledger", lambda ctx: str(ledger)).step(heavy.saw)
    lab = engine(work.step("fail", heavy.raise_for_good))

    run = lab.start(work, 8).wait(PATIENCE)

    assert run.steps["saw"].result == heavy.Plank(4)
    assert ledger.read_text() == "4 perdure.NonRetryable: never"


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(1), lambda: ProcessPoolExecutor(1, get_context("spawn"))])
def test_any_executor_of_concurrent_futures_will_do(engine: MakeEngine, make: Callable[[], Executor]) -> None:
    work = Workflow("work").step("saw", heavy.ten, executor="gpu").step("where", heavy.later, executor="gpu")

    with make() as executor:
        lab = engine(work, executors={"gpu": executor})
        run = lab.start(work).wait(PATIENCE)

    assert run.steps["saw"].result == 10
    assert (run.result == f"later {os.getpid()}") is isinstance(executor, ThreadPoolExecutor)


# ---- what a handler sees


def test_a_handler_sees_there_what_it_would_see_here(engine: MakeEngine, pool: Executor) -> None:
    def seen(executor: str | None) -> Workflow[Any, Any]:
        return (
            Workflow("see")
            .step("plank", lambda: heavy.Plank(3))
            .wait_for("go")
            .parallel(
                lambda w: w.step("good", lambda: 1).step("bad", heavy.raise_for_good, retry=1), tolerated_failures=1
            )
            .do_until(
                lambda ctx, turn: turn == 2,
                lambda w: w.for_each(lambda ctx: [heavy.Plank(1), "b"], "see", heavy.everything, executor=executor),
            )
        )

    found = []
    for executor in (None, "gpu"):
        lab = engine(seen(executor), executors={"gpu": pool}, database=f"{executor}.db")
        run = lab.start("see", {"order": 7}, id="see")
        run.signal("go", heavy.Plank(9))
        found.append({name: step.result for name, step in run.wait(PATIENCE).steps.items() if name.startswith("see:")})

    here, there = found
    assert there == here
    assert set(here) == {"see:0", "see:1"}
    assert here["see:0"]["steps"]["plank"] == heavy.Plank(3)
    assert here["see:0"]["item"] == heavy.Plank(1)
    assert here["see:1"]["index"] == 1
    assert here["see:0"]["errors"]


@pytest.mark.parametrize("what", ["transaction", "cancelled", "progress", "checkpoint", "checkpointed"])
def test_what_does_not_reach_another_process_says_so(engine: MakeEngine, pool: Executor, what: str) -> None:
    work = Workflow("work", input=str).step("reach", heavy.reach_for, executor="gpu", retry=1)
    lab = engine(work, executors={"gpu": pool})

    run = lab.start(work, what).wait(PATIENCE)

    assert run.error is not None
    assert run.error.type == "perdure.OutOfReach"
    assert "does not reach executor 'gpu', where 'reach' runs" in run.error.message


def test_schemas_are_applied_where_the_handler_runs(engine: MakeEngine, pool: Executor) -> None:
    good = Workflow("good").step(
        "see", heavy.everything, executor="gpu", input_schema=heavy.double, output_schema=dict[str, Any]
    )
    bad = Workflow("bad").step("see", heavy.everything, executor="gpu", input_schema=heavy.refuse)
    worse = Workflow("worse").step("ten", heavy.ten, executor="gpu", output_schema=heavy.refuse, retry=AT_ONCE)
    lab = engine(good, bad, worse, executors={"gpu": pool})

    assert lab.start(good, 4).wait(PATIENCE).steps["see"].result["input"] == 8
    for name, attempts in (("bad", 1), ("worse", 3)):
        run = lab.start(name, 4)
        lab.settle()
        [step] = run.wait(PATIENCE).steps.values()
        assert step.error is not None
        assert (step.error.type, step.attempts) == ("perdure.SchemaError", attempts)


def test_a_compensation_runs_where_it_is_told_to(engine: MakeEngine, pool: Executor) -> None:
    undo = Compensation(heavy.undo, executor="gpu")
    work = Workflow("work").step("ten", heavy.ten, compensate=undo).step("fail", heavy.raise_for_good)
    lab = engine(work, executors={"gpu": pool})

    run = lab.start(work, id="w").wait(PATIENCE)

    assert run.rollback == "complete"
    assert run.steps["ten"].compensation == "completed"


# ---- what becomes of it


@pytest.mark.parametrize(
    ("handler", "kind", "attempts"),
    [
        (heavy.raise_awkward, "tests.engine.heavy.Awkward", 3),
        (heavy.raise_for_good, "perdure.NonRetryable", 1),
        (heavy.unstorable, "perdure.NotStorable", 1),
    ],
)
def test_whatever_a_handler_raises_or_returns_there_is_told_here(
    engine: MakeEngine, pool: Executor, handler: Callable[..., Any], kind: str, attempts: int
) -> None:
    work = Workflow("work").step("go", handler, executor="gpu", retry=AT_ONCE)
    lab = engine(work, executors={"gpu": pool})

    run = lab.start(work)
    lab.settle()

    step = run.wait(PATIENCE).steps["go"]
    assert step.error is not None
    assert (step.error.type, step.attempts) == (kind, attempts)
    assert step.error.step == "go"
    assert kind.startswith("perdure.NotS") or handler.__name__ in step.error.traceback


def test_a_handler_chooses_its_next_attempt_from_there(engine: MakeEngine, pool: Executor) -> None:
    work = Workflow("work").step("go", heavy.raise_for_later, executor="gpu")
    lab = engine(work, executors={"gpu": pool})

    run = lab.start(work)
    lab.settle()
    assert lab.next_deadline() is not None
    lab.advance(seconds=60)

    assert run.wait(PATIENCE).result == 2


def test_an_extension_goes_around_the_call_here_and_sees_that_it_failed(engine: MakeEngine, pool: Executor) -> None:
    told: list[str] = []

    class Diary(Extension):
        @contextmanager
        def handling(self, call: HandlerCall) -> Iterator[None]:
            try:
                yield
            except Exception as error:
                told.append(f"{call.step} {error}")
                raise
            told.append(call.step)

    work = Workflow("work").step("good", heavy.ten, executor="gpu")
    lab = engine(work.step("bad", heavy.raise_for_good, executor="gpu"), executors={"gpu": pool}, extensions=(Diary(),))

    assert lab.start(work).wait(PATIENCE).state == "failed"
    assert told == ["good", "bad perdure.NonRetryable: never"]


def test_the_exit_of_a_handler_there_leaves_its_attempt_as_interrupted(engine: MakeEngine, pool: Executor) -> None:
    work = Workflow("work").step("go", heavy.leave, executor="gpu", retry=1)
    first = engine(work, executors={"gpu": pool})
    run = first.start(work)
    first.settle()
    first.close()

    again = engine(work, executors={"gpu": pool})

    assert again.run(run.id).wait(PATIENCE).steps["go"].interruptions == 1


# ---- workers that die


def test_the_death_of_a_worker_is_a_failed_attempt_and_the_next_has_a_new_worker(engine: MakeEngine) -> None:
    work = Workflow("work").step("go", heavy.die_once, executor="process", retry=AT_ONCE)
    lab = engine(work)
    failures: list[events.StepRetry] = []
    lab.on("step:retry", failures.append)

    run = lab.start(work)
    lab.settle()

    assert run.result(PATIENCE) == 2
    [failure] = failures
    assert failure.error is not None
    assert failure.error.type == "perdure.WorkerLost"
    assert "executor 'process' has lost step 'go': BrokenProcessPool" in failure.error.message


def test_a_pool_that_the_engine_was_given_and_that_broke_is_said_to_be_broken(engine: MakeEngine) -> None:
    work = Workflow("work").step("go", heavy.die, executor="gpu", retry=1)
    with ProcessPoolExecutor(1, get_context("spawn")) as broken:
        lab = engine(work, executors={"gpu": broken})
        runs = [lab.start(work).wait(PATIENCE) for _ in range(2)]

    for run in runs:
        assert run.error is not None
        assert run.error.type == "perdure.WorkerLost"
        assert "which cannot mend it; a function that makes one can be called again" in run.error.message


def test_a_function_that_makes_a_pool_is_called_again_when_the_pool_broke(engine: MakeEngine) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(ProcessPoolExecutor(1, get_context("spawn")))
        return made[-1]

    work = Workflow("work").step("go", heavy.die_once, executor="gpu", retry=AT_ONCE)
    lab = engine(work, executors={"gpu": make})
    assert not made, "it is made when it is needed"

    run = lab.start(work)
    lab.settle()

    assert run.result(PATIENCE) == 2
    assert len(made) == 2
    lab.close()
    with pytest.raises(RuntimeError):
        made[-1].submit(heavy.ten)


@pytest.mark.parametrize("option", ["fail", "park"])
def test_what_must_not_be_repeated_after_a_crash_is_not_repeated_when_its_worker_dies(
    engine: MakeEngine, option: Any
) -> None:
    work = Workflow("work").step("go", heavy.die_once, executor="process", retry=AT_ONCE, on_interrupted=option)
    lab = engine(work)

    run = lab.start(work)
    lab.settle()

    seen = lab.get_execution(run.id)
    assert seen is not None
    assert (seen.state, seen.steps["go"].attempts) == ("failed" if option == "fail" else "waiting", 1)
    assert [incident.step for incident in lab.incidents()] == (["go"] if option == "park" else [])


# ---- time limits, and ends before the end


def test_a_handler_there_times_out_and_its_late_result_is_told_of(
    engine: MakeEngine, pool: Executor, gate: Gate
) -> None:
    work = Workflow("work", input=str).step("wait", heavy.wait, executor="gpu", timeout=5, retry=1)
    lab = engine(work, executors={"gpu": pool})
    late = threading.Event()
    lab.on("step:late", lambda _: late.set())

    run = lab.start(work, str(gate.folder))
    gate.wait_for_one()
    lab.advance(timedelta(seconds=6), patience=0.05)

    with pytest.raises(WorkflowFailed, match="step 'wait' timed out after 5 s"):
        run.result(PATIENCE)
    assert not late.is_set()
    gate.open()
    assert late.wait(PATIENCE)


@pytest.mark.parametrize("executor", ["process", "threads"])
def test_cancelling_waits_for_the_handler_that_runs_and_drops_the_one_that_has_not_begun(
    engine: MakeEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    work = Workflow("work", input=str).parallel(
        lambda w: w.step("first", heavy.wait, executor=executor).step("second", heavy.wait, executor=executor)
    )
    with ThreadPoolExecutor(1) as threads:
        lab = engine(work, executors={"threads": threads})

        run = lab.start(work, str(gate.folder))
        gate.wait_for_one()
        run.cancel()
        gate.open()

        ended = run.wait(PATIENCE)
    assert ended.state == "cancelled"
    [begun] = [name for name, step in ended.steps.items() if step.status == "completed"]
    assert [path.name for path in gate.folder.glob("began-*")] == [f"began-{begun}"]


def test_its_run_holds_a_slot_and_no_thread_that_others_need(engine: MakeEngine, pool: Executor, gate: Gate) -> None:
    remote = Workflow("remote", input=str).step("wait", heavy.wait, executor="gpu")
    local = Workflow("local").step("where", heavy.where)
    lab = engine(remote, local, executors={"gpu": pool}, concurrency=2, threads=1)

    waiting = lab.start(remote, str(gate.folder))
    gate.wait_for_one()
    assert lab.start(local).result(PATIENCE) == os.getpid(), "the one thread is free"
    assert lab._machine.load().busy == 1

    gate.open()
    assert waiting.result(PATIENCE) != os.getpid()


def test_a_run_that_waits_for_a_slot_does_not_begin_there(engine: MakeEngine, pool: Executor, gate: Gate) -> None:
    remote = Workflow("remote", input=str).step("wait", heavy.wait, executor="gpu")
    lab = engine(remote, executors={"gpu": pool}, concurrency=1)

    first = lab.start(remote, str(gate.folder))
    gate.wait_for_one()
    second = lab.start(remote, str(gate.folder))
    assert lab._machine.load().queued == 1

    gate.open()
    gate.wait_for_one()
    gate.open()
    assert first.result(PATIENCE) == second.result(PATIENCE)


def test_closing_by_force_ends_the_engines_own_workers_whatever_they_do(engine: MakeEngine, gate: Gate) -> None:
    work = Workflow("work", input=str).step("wait", heavy.wait, executor="process")
    lab = engine(work)
    lab.start(work, str(gate.folder), id="w")
    gate.wait_for_one()
    worker = int((gate.folder / "began-wait").read_text())

    lab.close(force=True)

    assert is_gone(worker)
    again = engine(work)
    gate.wait_for_one()
    gate.open()
    assert again.run("w").wait(PATIENCE).steps["wait"].interruptions == 1


PROGRAM = """
import sys
from perdure import Engine, Workflow
from tests.engine import heavy

if __name__ == "__main__":
    folder = sys.argv[1]
    work = Workflow("work", input=str).step("wait", heavy.wait, executor="process")
    Engine(None, work).start(work, folder).result()
"""


def test_no_worker_outlives_an_engine_that_was_killed(gate: Gate, checkout: Path) -> None:
    program = gate.folder / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen([sys.executable, program, gate.folder], env=environment)
    gate.wait_for_one()
    worker = int((gate.folder / "began-wait").read_text())

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert is_gone(worker)


def is_gone(pid: int) -> bool:
    """Wait until a process has ended, which may not be a child of this one."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    gone, _, _ = select.select([watch], [], [], 10)
    os.close(watch)
    return bool(gone)


# ---- the same again


def test_a_seeded_engine_tells_the_same_events_each_time(tmp_path: Path, pool: Executor) -> None:
    work = Workflow("work").parallel(
        lambda w: (
            w.step("a", heavy.raise_for_later, executor="gpu").step("b", heavy.ten).step("c", heavy.ten, executor="gpu")
        )
    )
    told: list[list[Any]] = []
    for number in range(2):
        told.append([])
        with (
            freeze(),
            Engine(tmp_path / f"{number}.db", work, seed=7, executors={"gpu": pool}, on_event=told[-1].append) as lab,
        ):
            lab.start(work)
            lab.settle()
            lab.advance(minutes=2)

    assert told[0] == told[1]
    assert told[0][-1].type == "workflow:completed"


# ---- refusals


def test_where_a_step_runs_is_no_part_of_the_fingerprint() -> None:
    def work(executor: str | None) -> Workflow[Any, Any]:
        return Workflow("work").step("ten", heavy.ten, executor=executor)

    assert work(None).definition().fingerprint == work("gpu").definition().fingerprint


def test_an_executor_that_the_engine_has_not_is_refused_with_those_it_has(engine: MakeEngine, pool: Executor) -> None:
    lab = engine(executors={"gpu": pool})

    with pytest.raises(UnknownExecutor, match=r"step 'ten' of workflow 'work'.*no executor 'gpuu'; did you mean 'gpu'"):
        lab.register(Workflow("work").step("ten", heavy.ten, executor="gpuu"))


def test_a_handler_without_a_name_of_its_own_is_refused_where_it_is_written() -> None:
    def inner(ctx: Any) -> None:
        pass

    for handler in (lambda ctx: 1, inner):
        with pytest.raises(NotSendable, match="step 'go' cannot be sent to executor 'process'"):
            Workflow("work").step("go", handler, executor="process")
    with pytest.raises(NotSendable, match="step 'go': compensation cannot be sent"):
        Workflow("work").step("go", heavy.ten, compensate=Compensation(inner, executor="process"))


def test_what_cannot_be_found_again_is_refused_when_the_workflow_is_registered(engine: MakeEngine) -> None:
    class Local:
        pass

    lock = threading.Lock()
    lab = engine()
    for work, what in (
        (Workflow("a").step("go", heavy.ten, executor="process", input_schema=lambda value: value), "step 'go'"),
        (Workflow("b").step("go", lock.acquire, executor="process"), "step 'go'"),
        (Workflow("c", input=Local).step("go", heavy.ten, executor="process"), "type .*Local.*"),
    ):
        with pytest.raises(NotSendable, match=f"{what} of workflow '.' cannot be sent to executor 'process'"):
            lab.register(work)


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DefinitionError, match="executor must be the name of one"):
        Workflow("work").step("go", heavy.ten, executor="")
    with pytest.raises(DefinitionError, match="a transactional step can have no executor"):
        Workflow("work").step("go", heavy.ten, executor="process", transactional=True)
    with pytest.raises(UsageError, match="executor 'gpu' must be an executor"):
        Engine(None, executors={"gpu": 4})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="executors must be a mapping"):
        Engine(None, executors=[heavy.ten])  # type: ignore[arg-type]


def test_a_stub_of_a_step_runs_here(engine: MakeEngine) -> None:
    work = Workflow("work").step("ten", heavy.ten, executor="gpu")
    told = stub(11)
    lab = engine(with_stubs(work, ten=told))

    assert lab.start("work").result(PATIENCE) == 11
    assert len(told.calls) == 1
