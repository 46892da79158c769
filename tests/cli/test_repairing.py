"""Operators' commands mend a run, whether an engine drives it at the moment or not, and leave word of who did."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from perdure import Client, Context, Engine, IllegalTransition, StepNotOpen, UsageError, Workflow
from tests.patience import PATIENCE

Perdure = Callable[..., Result]
Ask = Callable[..., Any]


class Carrier:
    """A carrier that is down until it is mended."""

    def __init__(self) -> None:
        self.is_down = True

    def ship(self, ctx: Context[Any]) -> str:
        """Ship, if that is possible."""
        if self.is_down:
            msg = "the carrier is down"
            raise ConnectionError(msg)
        return f"{ctx.input} shipped"


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


def order(carrier: Carrier, **options: Any) -> Workflow[Any, Any]:
    return (
        Workflow("order")
        .step("reserve", lambda: "shelf 7")
        .step("ship", carrier.ship, retry=1, **options)
        .step("mail", lambda ctx: f"mail: {ctx.steps['ship']}")
    )


@pytest.fixture
def engine(folder: Path, carrier: Carrier) -> Iterator[Engine]:
    """An engine with a run that has an incident."""
    with Engine(folder / "perdure.db", order(carrier, on_exhausted="park")) as engine:
        engine.start("order", "lamp", id="o-1").wait(until="waiting")
        yield engine


def test_an_incident_is_found_and_the_run_mended(run: Perdure, engine: Engine, carrier: Carrier) -> None:
    listed = run("incidents").stdout.splitlines()[1].split()
    carrier.is_down = False
    mended = run("retry", "o-1", "--reason", "the carrier is back", "--wait")

    assert listed[:3] == ["o-1", "order", "ship"]
    assert (mended.exit_code, mended.stdout) == (0, "retrying o-1, which is completed\n")
    assert run("incidents").stdout == "there are no incidents\n"
    assert f"retry by {getpass.getuser()}: the carrier is back" in run("show", "o-1").stdout


def test_a_run_that_has_failed_is_tried_again(run: Perdure, folder: Path, carrier: Carrier) -> None:
    with Engine(folder / "perdure.db", order(carrier)) as engine:
        engine.start("order", "lamp", id="o-1").wait()
        assert run("retry", "o-1", "--wait").exit_code == 1
        carrier.is_down = False
        assert run("retry", "o-1", "--wait").exit_code == 0


def test_what_is_asked_without_an_engine_is_done_by_the_next_one(run: Perdure, folder: Path, carrier: Carrier) -> None:
    with Engine(folder / "perdure.db", order(carrier)) as engine:
        engine.start("order", "lamp", id="o-1").wait()
    carrier.is_down = False

    asked = run("retry", "o-1")
    told = "asked to retry o-1; it is taken, or refused, when an engine opens the database\n"
    assert (asked.exit_code, asked.stdout) == (0, told)
    assert run("fork", "o-1", "--id", "o-2").stdout.startswith("asked to fork o-1 as o-2; it is taken, or")
    with Engine(folder / "perdure.db", order(carrier)) as engine, Client(engine.path) as client:
        assert client.run("o-1").wait(PATIENCE, until="completed").result == "mail: lamp shipped"


def test_a_step_is_skipped_with_a_result_in_its_place(run: Perdure, ask: Ask, engine: Engine) -> None:
    answer = ask("skip", "o-1", "ship", '"by hand"', "--wait")

    assert (answer["state"], answer["result"]) == ("completed", "mail: by hand")
    assert "cannot skip" in run("skip", "o-1", "ship").stderr


def test_incidents_are_resolved_one_way_or_another(run: Perdure, ask: Ask, engine: Engine) -> None:
    assert [one["step"] for one in ask("incidents")["incidents"]] == ["ship"]
    assert ask("resolve", "o-1", "complete", '"done elsewhere"', "--wait")["result"] == "mail: done elsewhere"
    assert run("resolve", "o-1", "retry").exit_code == 1


def test_a_run_is_forked_with_another_input(run: Perdure, ask: Ask, engine: Engine, carrier: Carrier) -> None:
    carrier.is_down = False

    forked = run("fork", "o-1", "--id", "o-2", "--input", '"chair"', "--wait")

    assert forked.stdout == "forked o-1 as o-2, which is completed\n"
    assert ask("show", "o-2")["result"] == "mail: chair shipped"


def test_a_run_is_paused_and_resumed(run: Perdure, ask: Ask, folder: Path) -> None:
    with Engine(folder / "perdure.db", Workflow("w").wait_for("go").step("last", lambda: "done")) as engine:
        engine.start("w", id="r-1").wait(until="waiting")

        assert run("pause", "r-1", "--reason", "stocktaking").exit_code == 0
        engine.signal("r-1", "go")
        assert "paused" in run("show", "r-1").stdout
        assert run("pause", "r-1").exit_code == 1
        assert ask("resume", "r-1", "--wait")["result"] == "done"


def test_a_verb_that_makes_no_sense_is_refused_on_one_line(run: Perdure, folder: Path, carrier: Carrier) -> None:
    carrier.is_down = False
    with Engine(folder / "perdure.db", order(carrier)) as engine:
        engine.start("order", "lamp", id="o-1").wait()

    for verb in ("pause", "resume", "retry"):
        refused = run(verb, "o-1")
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
        assert f"cannot {verb} execution 'o-1': it is completed" in refused.stderr
    assert "no execution 'o-9'" in run("retry", "o-9").stderr


def test_what_the_next_engine_would_refuse_is_refused_at_once_where_that_can_be_told(
    run: Perdure, folder: Path
) -> None:
    with Engine(folder / "perdure.db", Workflow("w").wait_for("go")) as engine:
        for name in ("o-1", "o-2"):
            engine.start("w", id=name).wait(until="waiting")
        engine.pause("o-1")

    refused = {verb: run(verb, "o-1") for verb in ("pause", "retry")}
    refused["resume"] = run("resume", "o-2")
    for verb, result in refused.items():
        assert result.exit_code == 1, verb
        assert f"cannot {verb} execution" in result.stderr
    assert run("resume", "o-1").stdout.startswith("asked to resume o-1; it is taken, or refused")
    assert run("pause", "o-1").exit_code == 0  # since it is resumed by then


# ---- the client's own verbs


def test_a_client_refuses_what_its_engine_refuses(engine: Engine) -> None:
    with Client(engine.path) as client:
        with pytest.raises(StepNotOpen):
            client.skip("o-1", "mail")
        with pytest.raises(IllegalTransition):
            client.resume("o-1")
        with pytest.raises(UsageError, match="an incident ends by one of"):
            client.resolve("o-1", "ignore")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="steps must be a mapping"):
            client.fork("o-1", steps=["ship"])  # type: ignore[arg-type]


def test_a_client_sees_incidents_and_who_asked_for_what(engine: Engine) -> None:
    with Client(engine.path) as client:
        (incident,) = client.incidents("order")
        assert client.resolve(incident, "skip", result="by hand", by="Ada") == 1
        assert client.run("o-1").wait().result == "mail: by hand"
        assert [(entry.verb, entry.by) for entry in client.audit("o-1")] == [("resolve", "Ada")]


def test_a_client_completes_a_step_and_terminates_a_run(engine: Engine) -> None:
    with Client(engine.path) as client:
        client.complete_step("o-1", "ship", result="by hand")
        assert client.run("o-1").wait().result == "mail: by hand"
        engine.start("order", "chair", id="o-2").wait(until="waiting")
        client.terminate("o-2", reason="enough")
        assert client.run("o-2").wait().state == "cancelled"
