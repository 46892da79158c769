"""Extensions go around starts and handlers, hear everything, and harm nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from perdure import Client, Context, Engine, UsageError, Workflow
from perdure.events import Event
from perdure.extension import Extension, HandlerCall
from tests.patience import PATIENCE

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Diary(Extension):
    """Writes everything down."""

    def __init__(self, name: str = "one", lines: list[str] | None = None) -> None:
        self.name = name
        self.lines = [] if lines is None else lines
        self.heard_types: list[str] = []

    def opened(self, source: Engine | Client) -> None:
        self.lines.append(f"{self.name} opened")

    @contextmanager
    def starting(self, workflow: str, tags: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        self.lines.append(f"{self.name} before start")
        yield {**tags, self.name: workflow}
        self.lines.append(f"{self.name} after start")

    @contextmanager
    def handling(self, call: HandlerCall) -> Iterator[None]:
        what = f"{'undo ' if call.is_compensation else ''}{call.step} {call.attempt}"
        self.lines.append(f"{self.name} before {what}")
        token = tenant.set(f"{tenant.get()}, {self.name}")
        try:
            yield
        except BaseException as error:
            self.lines.append(f"{self.name} saw {type(error).__name__}")
            raise
        finally:
            tenant.reset(token)
            self.lines.append(f"{self.name} after {what}")

    def heard(self, event: Event) -> None:
        self.heard_types.append(event.type)

    def closed(self) -> None:
        self.lines.append(f"{self.name} closed")


def test_it_goes_around_starts_and_handlers_and_hears_every_event() -> None:
    diary = Diary()
    order = Workflow("order").step("reserve", lambda: diary.lines.append("reserve"), compensate=lambda: None)
    with Engine(None, order.step("fail", lambda: 1 / 0, retry=1), extensions=[diary]) as engine:
        engine.start(order).wait(timeout=PATIENCE)

    assert {"one before start", "one after start"} < set(diary.lines)  # before and after what the run does meanwhile
    told = [line for line in diary.lines if "start" not in line]
    assert told == [
        "one opened",
        "one before reserve 1",
        "reserve",
        "one after reserve 1",
        "one before fail 1",
        "one saw ZeroDivisionError",
        "one after fail 1",
        "one before undo reserve 1",
        "one after undo reserve 1",
        "one closed",
    ]
    assert (diary.heard_types[0], diary.heard_types[-1]) == ("workflow:started", "workflow:failed")


def test_the_first_is_outermost_and_each_may_add_to_the_tags() -> None:
    lines: list[str] = []
    one, two = Diary("one", lines), Diary("two", lines)
    flow = Workflow("flow").step("say", tenant.get)
    with Engine(None, flow, extensions=[one, two]) as engine:
        run = engine.start(flow, tags={"mine": 1})
        assert run.result(timeout=PATIENCE) == "nobody, one, two"
        assert engine.get_execution(run.id).tags == {"mine": 1, "one": "flow", "two": "flow"}  # type: ignore[union-attr]

    handling = [line for line in lines if "say" in line]
    assert handling == ["one before say 1", "two before say 1", "two after say 1", "one after say 1"]
    assert tenant.get() == "nobody"


async def say() -> str:
    await asyncio.sleep(0)
    return await asyncio.create_task(deeper())


async def deeper() -> str:
    await asyncio.sleep(0)
    return tenant.get()


def say_later(ctx: Context[Any]) -> Any:
    return say()


@pytest.mark.parametrize("handler", [say, say_later])
def test_what_it_sets_is_seen_by_whatever_is_awaited_and_by_nothing_else(handler: Any) -> None:
    flow = Workflow("flow").step("say", handler)
    with Engine(None, flow, extensions=[Diary()]) as engine:
        runs = [engine.start(flow) for _ in range(20)]
        assert {run.result(timeout=PATIENCE) for run in runs} == {"nobody, one"}


def test_it_sees_a_coroutine_being_stopped() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    diary = Diary()
    flow = Workflow("flow").step("hang", hang, timeout=0.01, retry=1)
    with Engine(None, flow, extensions=[diary]) as engine:
        assert engine.start(flow).wait(timeout=PATIENCE).state == "failed"

    assert "one saw CancelledError" in diary.lines


def test_a_client_has_extensions_around_its_starts(tmp_path: Path) -> None:
    diary = Diary()
    flow = Workflow("flow").step("say", lambda: 1)
    with Engine(tmp_path / "runs.db", flow) as engine, Client(engine.path, extensions=[diary]) as client:
        run = client.start("flow")
        assert run.wait(timeout=PATIENCE).tags == {"one": "flow"}

    assert diary.lines == ["one opened", "one before start", "one after start", "one closed"]


class Broken(Extension):
    """Raises wherever it is asked."""

    def starting(self, workflow: str, tags: Mapping[str, Any]) -> Any:
        raise RuntimeError("no start")

    def handling(self, call: HandlerCall) -> Any:
        raise RuntimeError("no call")

    def heard(self, event: Event) -> None:
        raise RuntimeError("no event")

    def closed(self) -> None:
        raise RuntimeError("no close")


class BrokenAfterwards(Extension):
    """Raises on the way out."""

    @contextmanager
    def starting(self, workflow: str, tags: Mapping[str, Any]) -> Iterator[None]:
        yield
        raise RuntimeError("after start")

    @contextmanager
    def handling(self, call: HandlerCall) -> Iterator[None]:
        yield
        raise RuntimeError("after call")


def test_what_it_raises_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def charge(ctx: Context[Any]) -> str:
        if ctx.attempt == 1:
            raise ConnectionError
        return "charged"

    diary = Diary()
    flow = Workflow("flow").step("charge", charge).step("ship", say)
    with (
        caplog.at_level(logging.ERROR, "perdure"),
        Engine(None, flow, extensions=[Broken(), BrokenAfterwards(), diary]) as engine,
    ):
        run = engine.start(flow, tags={"mine": 1})
        assert run.result(timeout=PATIENCE) == "nobody, one"
        assert engine.get_execution(run.id).tags == {"mine": 1, "one": "flow"}  # type: ignore[union-attr]

    said = {str(record.exc_info[1]) for record in caplog.records if record.exc_info}
    assert said == {"no start", "after start", "no call", "after call", "no event", "no close"}
    assert diary.lines[-1] == "one closed"


def test_an_error_of_the_caller_is_raised_to_the_caller() -> None:
    flow = Workflow("flow", input=int).step("say", lambda: 1)
    with Engine(None, flow, extensions=[Diary()]) as engine, pytest.raises(UsageError):
        engine.start("flow", "no number")


def test_what_is_no_extension_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Extension objects"):
        Engine(tmp_path / "runs.db", extensions=[object()])  # type: ignore[list-item]

    assert list(tmp_path.iterdir()) == []


def test_one_that_cannot_begin_stops_the_opening(tmp_path: Path) -> None:
    class Late(Extension):
        def opened(self, source: Engine | Client) -> None:
            raise LookupError("no collector")

    with pytest.raises(LookupError):
        Engine(tmp_path / "runs.db", extensions=[Late()])
    with Engine(tmp_path / "runs.db") as engine:
        assert engine.list_executions() == []
