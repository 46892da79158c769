"""What a step returned comes back after a restart as what it was, or is refused when it is returned."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from perdure import Engine, Workflow, WorkflowFailed
from perdure.persistence import classes
from tests.patience import PATIENCE


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forgets every class that this process knows of, as a restart does."""

    def forget() -> None:
        monkeypatch.setattr(classes, "_registered", {})
        monkeypatch.setattr(classes, "_shapes", {})

    forget()
    return forget


def with_a_class_of_its_own() -> Workflow[Any, Any]:
    @dataclasses.dataclass
    class Parcel:
        weight: int

    return Workflow("parcel").step("weigh", lambda: Parcel(3)).wait_for("go").step("send", send)


def send(ctx: Any) -> str:
    return f"{type(ctx.steps['weigh']).__name__} of {ctx.steps['weigh'].weight}"


def test_an_instance_of_a_class_beside_the_handler_comes_back_after_a_restart(location: str, new_process: Any) -> None:
    with Engine(location, with_a_class_of_its_own(), durability="normal") as engine:
        engine.start("parcel", id="x").wait(PATIENCE, until="waiting")
    new_process()
    with Engine(location, with_a_class_of_its_own(), durability="normal") as engine:
        engine.signal("x", "go")
        assert engine.run("x").result(PATIENCE) == "Parcel of 3"


def test_an_output_schema_tells_which_class_comes_back(location: str, new_process: Any) -> None:
    schema = dataclasses.make_dataclass("Weighed", [("kilos", int)])
    workflow = Workflow("w").step("weigh", lambda: {"kilos": 3}, output_schema=schema).map("kilos", kilos)
    with Engine(location, workflow, durability="normal") as engine:
        assert engine.start("w").result(PATIENCE) == 3


def kilos(ctx: Any) -> int:
    return ctx.steps["weigh"].kilos  # type: ignore[no-any-return]


def test_an_instance_of_a_class_that_nobody_could_find_again_fails_the_step_and_names_it(
    location: str, new_process: Any
) -> None:
    def weigh() -> Any:
        return {"parcels": [dataclasses.make_dataclass("Hidden", ["weight"])(3)]}

    with Engine(location, Workflow("w").step("weigh", weigh)) as engine:
        run = engine.start("w")
        with pytest.raises(WorkflowFailed) as failed:
            run.result(PATIENCE)
        assert failed.value.error is not None
        assert failed.value.error.type == "perdure.NotStorable"
        for part in ("'weigh'", "$.parcels[0]", "Hidden", "perdure.register_type"):
            assert part in failed.value.error.message
        assert run.wait().steps["weigh"].attempts == 1
