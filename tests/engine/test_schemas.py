"""Schemas: what is checked, by whatever checks it, and what a misfit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import attrs
import jsonschema  # type: ignore[import-untyped]
import marshmallow
import msgspec
import pydantic
import pytest

from perdure import Context, Engine, Workflow
from tests.patience import PATIENCE

from .flaky import NO_JITTER, failed


@dataclass
class Price:
    amount: int


class Parser:
    @staticmethod
    def parse(value: Any) -> int:
        return int(value)


class Model(pydantic.BaseModel):
    number: int


class Struct(msgspec.Struct):
    number: int


@attrs.define
class Attrs:
    number: int


class Marshmallow(marshmallow.Schema):
    number = marshmallow.fields.Integer(required=True)


def positive(value: int) -> int | None:
    if value < 0:
        msg = f"{value} is negative"
        raise ValueError(msg)
    return None


NUMBER = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}

SCHEMAS: dict[str, tuple[Any, Any, Any, Any]] = {
    "an object with parse": (Parser(), "7", 7, "seven"),
    "a pydantic model": (Model, {"number": "7"}, Model(number=7), {"number": "x"}),
    "a pydantic adapter": (pydantic.TypeAdapter(list[int]), ["1"], [1], ["x"]),
    "a msgspec type": (Struct, {"number": 7}, Struct(7), {"number": "x"}),
    "a dataclass": (Price, {"amount": 7}, Price(7), {"amount": "x"}),
    "an attrs class": (Attrs, {"number": 7}, Attrs(7), {"number": "x"}),
    "a generic type": (dict[str, int], {"a": 1}, {"a": 1}, {"a": "x"}),
    "a plain type": (int, 7, 7, "x"),
    "a marshmallow schema": (Marshmallow(), {"number": "7"}, {"number": 7}, {"number": "x"}),
    "a jsonschema validator": (jsonschema.Draft202012Validator(NUMBER), {"number": 7}, {"number": 7}, {"number": "x"}),
    "a callable that only asserts": (positive, 7, 7, -7),
    "a callable that changes": (lambda value: value * 2, 7, 14, None),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_input_schema_decides_what_the_handler_sees(kind: str, lab: Engine) -> None:
    schema, given, seen, wrong = SCHEMAS[kind]
    inputs = []
    calls = []

    def look(ctx: Context[Any]) -> None:
        calls.append(1)
        inputs.append(ctx.input)

    workflow = Workflow("w").step("look", look, input_schema=schema, retry=5)

    lab.register(workflow).start("w", given).result(PATIENCE)
    failure = failed(lab, workflow, wrong)

    assert inputs == [seen]
    assert failure.error is not None
    assert failure.error.type == "perdure.SchemaError"
    assert "the input of step 'look' does not fit its input_schema" in failure.error.message
    assert len(calls) == 1, "an input that does not fit never reaches the handler, and is not tried again"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_output_schema_decides_what_is_stored_and_a_misfit_is_a_failed_attempt(kind: str, lab: Engine) -> None:
    schema, given, seen, wrong = SCHEMAS[kind]
    answers = [wrong, given]

    def answer() -> Any:
        return answers.pop(0)

    workflow = (
        Workflow("w")
        .step("answer", answer, output_schema=schema, retry=NO_JITTER)
        .step("look", lambda ctx: repr(ctx.steps))
    )
    run = lab.register(workflow).start("w")
    lab.advance(seconds=5)

    execution = run.wait(PATIENCE)
    assert execution.error is None
    assert execution.steps["answer"].attempts == 2
    assert execution.steps["answer"].result == seen
    assert execution.result == repr({"answer": seen})
