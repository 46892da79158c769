"""A database is data: nothing in it is run, imported or unpickled; and whatever text goes in comes out the same."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import DefinitionError, Engine, InvalidPayload, UsageError, Workflow
from perdure.testing.leaks import close_cleanly, unique_name
from tests.patience import PATIENCE

FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
TO_EXECUTORS = {"sending.py", "elsewhere.py"}
"""What executors' workers are sent is pickled, as `concurrent.futures` has it: by the engine that waits for them,
and never from a database."""

CALLS = {"eval", "exec", "compile", "__import__"}
NASTY = (
    "\N{SNOWMAN}",
    "a b",
    "x'; DROP TABLE workflow_executions; --",
    '<script>alert("x")</script>',
    "__proto__",
    "../../etc/passwd",
    "C:\\windows",
    "{0.__class__}",
    "%s%n",
    "e\u0301",
    "\U0001f600" * 40,
)


def sources(checkout: Path) -> Iterator[tuple[Path, ast.AST]]:
    for room in ("actors", "dsl", "persistence", "perdure"):
        for file in sorted((checkout / room).rglob("*.py")):
            if not any(part.is_symlink() for part in file.parents):
                yield file, ast.parse(file.read_text())


def test_nothing_in_the_package_pickles_or_runs_text(checkout: Path) -> None:
    found = []
    for file, tree in sources(checkout):
        for node in ast.walk(tree):
            names: list[str | None] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            forbidden = FORBIDDEN - {"pickle"} if file.name in TO_EXECUTORS else FORBIDDEN
            if any(name and name.partition(".")[0] in forbidden for name in names):
                found.append((file.name, node.lineno))  # type: ignore[attr-defined]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append((file.name, node.lineno))
    assert found == []


def test_a_hostile_database_is_read_as_data(open_engine: Any, tables: Any) -> None:
    workflow = Workflow("w").step("a", lambda: {"x": 1}).wait_for("go").step("b", lambda ctx: ctx.steps["a"])
    engine = open_engine(workflow)
    engine.start("w", {"y": 2}, id="x", tags={"t": 1}).wait(PATIENCE, until="waiting")
    engine.close()
    hostile = '{"$object":["os:system",{"command":"exit 3"}]}'
    tables.execute(
        f"UPDATE workflow_steps SET value = '{hostile}' WHERE key = 'a'",  # noqa: S608
        f"""UPDATE workflow_executions SET input = '{hostile}', tags = '{{"t":{hostile}}}'""",  # noqa: S608
    )
    modules = set(sys.modules)
    engine = open_engine(workflow)
    shown = engine.get_execution("x")
    assert shown.input == shown.steps["a"].result == shown.tags["t"] == {"command": "exit 3"}
    engine.signal("x", "go")
    assert engine.run("x").result(PATIENCE) == {"command": "exit 3"}
    assert not {"antigravity", "pickle"} & (set(sys.modules) - modules)


@pytest.fixture
def shared(location: str) -> Iterator[Engine]:
    """One engine for all examples: to open one takes longer than to run one."""
    engine = Engine(location, echo(), durability="normal", queue_name=unique_name())
    yield engine
    close_cleanly(engine)


def echo() -> Workflow[Any, Any]:
    return (
        Workflow("echo").step("first", lambda ctx: ctx.input).wait_for("go").step("last", lambda ctx: ctx.signals["go"])
    )


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Lu"]))
    | st.binary()
    | st.datetimes()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text() | st.integers() | st.sampled_from(["$decimal", "$map", "__proto__"]), inner, max_size=3
        )
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


def test_any_payload_comes_back_through_every_call(shared: Engine, as_many: Callable[[int, int], int]) -> None:
    for_all(as_many(60, 10), comes_back, st.just(shared), values, values, values)


def for_all(examples: int, promise: Callable[..., None], *drawn: st.SearchStrategy[Any]) -> None:
    """Have hypothesis look for so many examples of what breaks a promise."""
    settings(max_examples=examples, deadline=None)(given(*drawn)(promise))()


def comes_back(shared: Engine, input: Any, payload: Any, tag: Any) -> None:
    run = shared.start("echo", input, tags={"tag": tag})
    run.signal("go", payload)
    shown = run.wait(PATIENCE)
    assert_same(shown.input, input)
    assert_same(shown.steps["first"].result, input)
    assert_same(shown.tags["tag"], tag)
    assert_same(shown.signals["go"], payload)
    assert_same(run.result(), payload)


def assert_same(back: Any, sent: Any) -> None:
    assert back == sent
    assert type(back) is type(sent)
    if isinstance(sent, Decimal):
        assert str(back) == str(sent)


names = st.sampled_from(NASTY) | st.text(min_size=1, max_size=60)


def test_any_name_comes_back_through_every_call_or_is_refused_where_it_is_given(
    shared: Engine, as_many: Callable[[int, int], int]
) -> None:
    six = st.lists(names, min_size=6, max_size=6, unique=True)
    for_all(as_many(60, 10), comes_back_or_is_refused, st.just(shared), six)


def comes_back_or_is_refused(shared: Engine, names: list[str]) -> None:
    flow, step, event, run_id, key, workflow_key = names
    try:
        workflow = Workflow(flow).step(step, lambda: 1).wait_for(event)
        shared.register(workflow)
    except DefinitionError:
        return
    try:
        run = shared.start(flow, id=run_id, key=workflow_key)
        run.signal(event, key, key=key)
    except (UsageError, InvalidPayload):
        return
    shown = run.wait(PATIENCE)
    assert (shown.id, shown.workflow_name, shown.signals) == (run_id, flow, {event: key})
    assert shown.steps[step].result == 1
    assert shared.get_execution(run_id) is not None
    assert [found.id for found in shared.list_executions(flow)] == [run_id]
    assert shared.start(flow, key=workflow_key).id == run_id
    assert shared.cleanup() >= 1
    assert shared.get_execution(run_id) is None


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_is_a_name_like_any_other(name: str, shared: Engine) -> None:
    shared.register(Workflow(f"nasty {name}").step(name, lambda: name))
    run = shared.start(f"nasty {name}", id=name)
    assert run.result(PATIENCE) == name
    assert [*run.wait().steps] == [name]
    shared.cleanup()


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 10_000], ids=["empty", "NUL", "newline", "10 kB"])
def test_a_name_that_cannot_be_shown_is_refused_where_it_is_given(name: str, shared: Engine) -> None:
    for call in (
        lambda: Workflow(name).step("a", lambda: 1).definition(),
        lambda: Workflow("w").step(name, lambda: 1),
        lambda: Workflow("w").wait_for(name),
        lambda: shared.start("echo", id=name),
    ):
        with pytest.raises((DefinitionError, UsageError)):
            call()


def test_a_payload_of_twenty_megabytes_comes_back_whole(shared: Engine) -> None:
    big = {"text": "\N{SNOWMAN}x" * 4_500_000, "bytes": bytes(2_000_000)}
    run = shared.start("echo")
    run.signal("go", big)
    assert run.result(PATIENCE) == big
    shared.cleanup()
