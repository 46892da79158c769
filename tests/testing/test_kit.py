"""What perdure.testing offers besides time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure import Context, Engine, ErrorRecord, NotStorable, SchemaError, State, UsageError, Workflow, step
from perdure.testing import (
    LeakError,
    assert_events,
    close_cleanly,
    record,
    restart,
    run_step,
    simulate,
    stub,
    with_stubs,
)
from tests.patience import PATIENCE


def buy() -> Workflow[Any, Any]:
    def real(ctx: Context[Any]) -> Any:
        raise AssertionError("the outside world was called")

    return (
        Workflow("buy")
        .step("charge", real, retry=3, compensate=real)
        .branch(lambda: "post", name="how")
        .path("post", lambda w: w.step("ship", real, retry=1))
        .path("fetch", lambda w: w.step("ring", real))
    )


class TestRunStep:
    def test_a_handler_sees_a_real_context(self) -> None:
        def handler(ctx: Context[Any]) -> list[Any]:
            ctx.logger.debug("here")
            return [ctx.input, ctx.steps["a"], ctx.signals["go"], ctx.attempt, ctx.item, ctx.index, ctx.step_name]

        seen = run_step(handler, input=1, steps={"a": {"b": 2}}, signals={"go": 3}, attempt=4, item="i", index=5)

        assert seen == [1, {"b": 2}, 3, 4, "i", 5, "handler:5"]

    def test_a_step_brings_its_schemas(self) -> None:
        @step(input_schema=lambda value: int(value, 10), output_schema=lambda value: f"{value}")
        def double(ctx: Context[Any]) -> Any:
            return ctx.input * 2

        assert run_step(double, input="21") == "42"
        with pytest.raises(SchemaError):
            run_step(double, input="many")

    def test_a_result_that_does_not_fit_its_schema_is_refused_as_by_the_engine(self) -> None:
        @step("count", output_schema=int)
        def count() -> Any:
            return "many"

        with pytest.raises(SchemaError, match="the result of step 'count' does not fit its output_schema"):
            run_step(count)

    def test_what_a_handler_raises_comes_out(self) -> None:
        def fail() -> None:
            raise LookupError("gone")

        with pytest.raises(LookupError, match="gone"):
            run_step(fail)

    def test_a_coroutine_is_awaited(self) -> None:
        async def handler(ctx: Context[Any]) -> int:
            return int(ctx.input) + 1

        assert run_step(handler, input=1) == 2

    def test_a_compensation_sees_why_and_what(self) -> None:
        why = ErrorRecord("OSError", "no")

        seen = run_step(lambda ctx: [ctx.result, ctx.failure.message], result="receipt", failure=why)

        assert seen == ["receipt", "no"]

    def test_what_cannot_be_stored_is_refused(self) -> None:
        with pytest.raises(NotStorable):
            run_step(object)


class TestStubs:
    def test_outcomes_come_one_after_the_other(self, frozen_engine: Engine) -> None:
        flow = with_stubs(buy(), charge=[TimeoutError("busy"), "receipt"], ship="parcel")
        run = frozen_engine.register(flow).start(flow)

        frozen_engine.advance(minutes=1)

        assert run.result(timeout=PATIENCE) == "parcel"
        assert run.wait(timeout=PATIENCE).steps["charge"].attempts == 2

    def test_compensations_and_branches_are_replaced_too(self, frozen_engine: Engine) -> None:
        undone = stub()
        flow = with_stubs(buy(), {"undo:charge": undone}, charge="receipt", how="fetch", ring=ValueError)
        run = frozen_engine.register(flow).start(flow)

        frozen_engine.advance(minutes=5)

        assert run.state is State.FAILED
        assert [context.result for context in undone.calls] == ["receipt"]

    def test_the_definition_stays_the_same(self) -> None:
        flow = buy()

        assert with_stubs(flow, charge=1).definition().fingerprint == flow.definition().fingerprint

    def test_a_name_that_is_not_there_is_told_of(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'charge'"):
            with_stubs(buy(), chrage=1)


class TestEvents:
    def test_a_difference_is_shown_line_by_line(self, frozen_engine: Engine) -> None:
        record(frozen_engine)
        flow = with_stubs(buy(), charge="receipt", ship="parcel")
        run = frozen_engine.register(flow).start(flow)

        assert_events(run, "workflow:started", ..., "step:completed ship", "workflow:completed")
        with pytest.raises(AssertionError) as difference:
            assert_events(run, ..., "step:started charge", "step:retry charge", ..., "workflow:completed")

        assert "- step:retry charge" in str(difference.value)
        assert "+ step:completed charge" in str(difference.value)

    @pytest.mark.parametrize(
        ("expected", "fits"),
        [
            ([...], True),
            (["step:started", ...], False),
            (["workflow:started", ..., ..., "workflow:completed"], True),
            ([..., "step:completed", ..., "step:completed", ..., "step:completed", ...], False),
            ([..., "step:completed", ..., "step:completed", ...], True),
            ([..., "step:completed shi", ...], False),
        ],
    )
    def test_dots_stand_for_any_number(self, frozen_engine: Engine, expected: list[Any], *, fits: bool) -> None:
        record(frozen_engine)
        flow = with_stubs(buy(), charge="receipt", ship="parcel")
        run = frozen_engine.register(flow).start(flow)

        if fits:
            assert_events(run, *expected)
        else:
            with pytest.raises(AssertionError):
                assert_events(run, *expected)

    def test_without_a_recorder_nothing_is_pretended(self, engine: Engine) -> None:
        flow = with_stubs(buy(), charge=1, ship=1)

        with pytest.raises(UsageError, match="record"):
            assert_events(engine.register(flow).start(flow))


class TestRestart:
    def test_what_was_in_flight_runs_again_and_counts_as_interrupted(self, engine: Engine) -> None:
        began, go = threading.Event(), threading.Event()

        def handler(ctx: Context[Any]) -> int:
            began.set()
            if ctx.attempt == 1:
                go.wait(PATIENCE)
            return ctx.attempt

        flow = Workflow("flow").step("step", handler)
        run = engine.register(flow).start(flow)
        assert began.wait(PATIENCE)

        fresh = restart(engine)

        assert fresh.run(run.id).result(timeout=PATIENCE) == 2
        go.set()
        assert fresh.run(run.id).wait(timeout=PATIENCE).steps["step"].interruptions == 1

    def test_a_recorder_goes_along(self, frozen_engine: Engine, tmp_path: Path) -> None:
        recorder = record(frozen_engine)
        flow = Workflow("flow").wait_for("go").step("went", lambda: "gone")
        run = frozen_engine.register(flow).start(flow, id="run")
        frozen_engine.settle()

        fresh = restart(frozen_engine, recorder)
        fresh.signal("run", "go")

        fresh.settle()
        assert recorder.lines(run)[-1] == "workflow:completed"
        assert [event.sequence for event in recorder.events(run)] == list(range(1, len(recorder.lines(run)) + 1))


def test_a_handler_that_never_returns_is_a_leak(location: str) -> None:
    began, go = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        go.wait(PATIENCE)

    flow = Workflow("flow").step("hang", hang)
    engine = Engine(location, flow, queue_name="leaky")
    engine.start(flow)
    began.wait(PATIENCE)

    with pytest.raises(LeakError, match=r"leaky-crew-1 is still alive .* in:"):
        close_cleanly(engine, timeout=0.01)
    go.set()


class TestSimulation:
    def test_figures_follow_from_the_assumptions(self) -> None:
        found = simulate(
            buy(),
            n=2000,
            fail={"charge": 0.5, "ship": 0.25},
            durations={"charge": 2, "ship": (10, 20)},
            branches={"how": {"post": 3, "fetch": 1}},
        )

        completed = found.states[State.COMPLETED] / found.runs
        assert abs(completed - (1 - 0.5**3) * (0.75 * 0.75 + 0.25)) < 0.04
        assert abs(found.retries["charge"] - 0.75) < 0.06
        assert abs(found.compensations["charge"] - (1 - 0.5**3) * 0.75 * 0.25) < 0.04
        assert found.percentile(0).total_seconds() == 2
        assert "completed" in str(found)

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        assert simulate(buy(), n=50, fail={"charge": 0.5}) == simulate(buy(), n=50, fail={"charge": 0.5})
        assert simulate(buy(), n=50, seed=1) != simulate(buy(), n=50, seed=2)

    def test_every_kind_of_node_is_walked(self) -> None:
        child = Workflow("child").step("inner", lambda: 1, compensate=lambda: 1)
        flow = (
            Workflow("flow")
            .parallel(lambda w: w.step("one", lambda: 1).sub_workflow("child").sub_workflow("other"))
            .do_until(lambda: True, lambda w: w.step("poll", lambda: 1), name="until")
            .do_while(lambda: True, lambda w: w.step("work", lambda: 1), name="while")
            .for_each(list, "item", lambda: 1, concurrency=2)
            .map("sum", lambda: 1)
            .sleep("nap", 60)
            .wait_for("paid", timeout=100, on_timeout=lambda w: w.step("remind", lambda: 1))
            .wait_for("shipped")
            .step("end", lambda: 1, retry=1)
        )

        found = simulate(
            flow,
            child,
            n=10,
            loops={"until": 3, "while": 2},
            items={"item": 2},
            signals={"paid": 200, "shipped": 5},
            fail={"end": 1},
        )

        [path] = found.paths
        assert path.count("poll") == 3
        assert path.count("work") == 2
        assert {"item:0", "item:1", "sum", "remind", "sub:child", "sub:other"} <= set(path)
        assert found.durations == (165.0,) * 10
        assert found.compensations == {"inner": 1.0}

    def test_runs_that_wait_for_ever_are_counted(self) -> None:
        found = simulate(Workflow("w").wait_for("x"), n=3)

        assert found.states == {State.WAITING: 3}
        with pytest.raises(UsageError):
            found.percentile(50)

    def test_a_misspelt_name_is_told_of(self) -> None:
        with pytest.raises(UsageError, match="did you mean 'ship'"):
            simulate(buy(), fail={"shpi": 1})


class TestPlugin:
    @pytest.fixture
    def pytest_in(self, tmp_path: Path, checkout: Path) -> Callable[[str], str]:
        """Runs a test file in a process of its own, with the plugin, and returns what pytest said."""

        def run(source: str) -> str:
            (tmp_path / "test_file.py").write_text(source)
            command = [sys.executable, "-m", "pytest", "-q", "-p", "perdure.pytest_plugin", str(tmp_path)]
            environment = {"PYTHONPATH": str(checkout), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
            )
            return done.stdout

        return run

    def test_nothing_is_loaded_or_frozen_unless_it_is_used(self, pytest_in: Callable[[str], str]) -> None:
        source = """
import sys, threading

def test_it(engine_options):
    assert "freezegun" not in sys.modules
    assert not [thread for thread in threading.enumerate() if "perdure" in thread.name]
"""
        assert "1 passed" in pytest_in(source)

    def test_a_leak_fails_the_test_that_made_it(self, pytest_in: Callable[[str], str]) -> None:
        source = """
import threading
from perdure import Workflow

def test_it(engine):
    began, go = threading.Event(), threading.Event()
    def hang():
        began.set()
        go.wait(30)
    flow = Workflow("flow").step("hang", hang)
    engine.register(flow).start(flow)
    began.wait(10)
    engine.close(timeout=0.01)
"""
        said = pytest_in(source)
        assert "LeakError" in said
        assert "1 passed, 1 error" in said
