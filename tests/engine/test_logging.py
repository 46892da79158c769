"""Every log record made in a handler says which run, step and attempt it belongs to."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from perdure import Context, Engine, Retry, Workflow, step
from perdure.logging import JsonFormatter, RunFilter
from perdure.testing import run_step

shop = logging.getLogger("shop")


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What is written by a handler with the filter and the formatter."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(RunFilter())
    handler.setFormatter(JsonFormatter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


def records(output: io.StringIO, logger: str = "shop") -> list[dict[str, Any]]:
    return [record for line in output.getvalue().splitlines() if (record := json.loads(line))["logger"] == logger]


def test_a_record_of_any_logger_carries_run_workflow_step_and_attempt(lab: Engine, output: io.StringIO) -> None:
    def charge(ctx: Context[Any]) -> None:
        shop.info("asking")
        if ctx.attempt == 1:
            raise ConnectionError

    lab.register(Workflow("order").step("charge", charge, retry=Retry(initial=1)))
    lab.start("order", id="o-1")
    lab.advance(minutes=1)

    assert [
        (record["execution_id"], record["workflow"], record["step"], record["attempt"]) for record in records(output)
    ] == [("o-1", "order", "charge", 1), ("o-1", "order", "charge", 2)]


def test_records_of_coroutines_and_items_are_told_apart(lab: Engine, output: io.StringIO) -> None:
    async def work(ctx: Context[Any]) -> None:
        await asyncio.sleep(0)
        shop.info("at work")

    lab.register(Workflow("w").for_each(lambda: [1, 2, 3], "item", work, concurrency=3))
    lab.start("w")
    lab.settle()

    assert sorted(record["step"] for record in records(output)) == ["item:0", "item:1", "item:2"]


def test_the_contexts_logger_keeps_what_the_caller_adds(lab: Engine, output: io.StringIO) -> None:
    lab.register(Workflow("w").step("s", lambda ctx: ctx.logger.info("sold", extra={"cents": 7, "step": "mine"})))
    lab.start("w", id="r")
    lab.settle()

    (record,) = records(output, "perdure.run")
    assert (record["cents"], record["step"], record["execution_id"], record["attempt"]) == (7, "s", "r", 1)


def test_a_handler_by_itself_logs_like_one_in_an_engine(output: io.StringIO) -> None:
    @step
    def sell(ctx: Context[Any]) -> None:
        ctx.logger.info("sold")

    run_step(sell, attempt=3)

    (record,) = records(output, "perdure.run")
    assert (record["step"], record["attempt"]) == ("sell", 3)


def test_outside_of_a_run_the_fields_are_left_out(output: io.StringIO) -> None:
    shop.info("open")

    (record,) = records(output)
    assert set(record) == {"time", "level", "logger", "message"}


def test_an_exception_and_what_json_cannot_hold_are_written_as_text(output: io.StringIO) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        shop.exception("broken\n", extra={"what": {1, 2}.__class__})

    (record,) = records(output)
    assert record["message"] == "broken\n"
    assert record["exception"].endswith("ZeroDivisionError: division by zero")
    assert record["what"] == "<class 'set'>"
    assert output.getvalue().count("\n") == 1


def test_a_message_that_cannot_be_encoded_is_written_all_the_same() -> None:
    record = logging.makeLogRecord({"msg": "half a pair: \ud83d"})

    assert json.loads(JsonFormatter().format(record).encode())["message"] == "half a pair: \ud83d"


def test_what_the_engine_says_of_a_run_carries_its_id(lab: Engine, output: io.StringIO) -> None:
    def listen(event: object) -> None:
        raise RuntimeError

    lab.on("workflow:completed", listen)
    lab.register(Workflow("w").step("s", lambda: 1))
    lab.start("w", id="r")
    lab.settle()

    assert [(record["execution_id"], record["workflow"]) for record in records(output, "perdure")] == [("r", "w")]


def test_filter_and_formatter_can_be_named_in_a_configuration() -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "incremental": False,
            "disable_existing_loggers": False,
            "filters": {"run": {"()": "perdure.logging.RunFilter"}},
            "formatters": {"json": {"()": "perdure.logging.JsonFormatter"}},
            "handlers": {"output": {"class": "logging.StreamHandler", "filters": ["run"], "formatter": "json"}},
            "loggers": {"shop.till": {"handlers": ["output"]}},
        }
    )
    (handler,) = logging.getLogger("shop.till").handlers
    logging.getLogger("shop.till").removeHandler(handler)

    assert isinstance(handler.formatter, JsonFormatter)
    assert isinstance(handler.filters[0], RunFilter)
