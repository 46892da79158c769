"""What the page is told, and what its buttons do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Mount

from perdure import Engine, Signal, Workflow
from perdure.dashboard import create_app
from perdure.dashboard.forms import form_of
from tests.patience import PATIENCE

from .shop import HOSTILE, SECRET, Decision, Order, Visitor, hostile, orders


def test_runs_are_listed_newest_first_and_found_by_what_is_known_of_them(client: Visitor) -> None:
    def found(query: str) -> list[str]:
        return [run["id"] for run in client.get(f"/api/runs?{query}").json()["runs"]]

    assert found("") == ["o-2", "o-1"]
    assert found("state=waiting") == ["o-1"]
    assert found("workflow=orders&error=bank") == ["o-2"]
    assert found("id=o-1") == ["o-1"]
    assert found("id=nobody") == []


def test_a_long_list_comes_in_pages(client: Visitor, engine: Engine) -> None:
    for number in range(60):
        engine.start(hostile, number, id=f"h-{number}")

    first = client.get("/api/runs").json()
    second = client.get("/api/runs", params={"after": first["next"]}).json()

    seen = [run["id"] for run in first["runs"] + second["runs"]]
    assert len(seen) == len(set(seen)) == 62
    assert second["next"] is None


def test_a_run_shows_its_input_its_attempts_and_why_it_failed(client: Visitor) -> None:
    run = client.get("/api/run?id=o-2").json()

    assert run["state"] == "failed"
    assert '"sofa"' in run["input"]["text"]
    assert run["error"]["message"] == "the bank refused sofa"
    attempts = [(one["step"], one["kind"], one["attempt"], one["outcome"]) for one in run["history"]]
    assert ("charge", "step", 2, "failed") in attempts
    assert ("reserve", "compensation", 1, "completed") in attempts


def test_the_graph_of_a_run_has_the_run_painted_on(client: Visitor) -> None:
    answer = client.get("/api/run/graph?id=o-1")

    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "ship" in answer.text


def test_the_inbox_has_a_form_made_from_the_signals_type(client: Visitor) -> None:
    [gate] = client.get("/api/inbox").json()["gates"]

    assert (gate["id"], gate["event"]) == ("o-1", "approval")
    kinds = {field["name"]: (field["kind"], field["required"]) for field in gate["form"]["fields"]}
    assert kinds == {"approved": ("boolean", True), "level": ("choice", False), "note": ("text", False)}


def test_a_form_is_that_of_the_version_which_the_run_began_with(client: Visitor, engine: Engine) -> None:
    old = Workflow("versioned", version="1").wait_for(Signal("decision", Decision))
    new = Workflow("versioned", version="2").wait_for(Signal("decision", Order))
    engine.register(old, new).start(old, id="v-1").wait(until="waiting", timeout=PATIENCE)

    gates = {gate["id"]: gate for gate in client.get("/api/inbox").json()["gates"]}

    assert [field["name"] for field in gates["v-1"]["form"]["fields"]] == ["approved", "level", "note"]


def test_a_signal_sent_from_the_page_lets_the_run_go_on(client: Visitor, engine: Engine) -> None:
    answer = client.act(verb="signal", id="o-1", event="approval", payload={"approved": True, "note": "fine"})

    assert answer.status_code == 200
    assert engine.run("o-1").result(timeout=PATIENCE) == "shipped, fine"
    assert isinstance(engine.get_execution("o-1").signals["approval"], Decision)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"verb": "signal", "id": "o-1", "event": "approval", "payload": {"approved": "perhaps"}}, 409, "approved"),
        ({"verb": "signal", "id": "o-1", "event": "approvall"}, 409, "approval"),
        ({"verb": "signal", "id": "o-2", "event": "approval", "payload": {"approved": True}}, 409, "o-2"),
        ({"verb": "cancel", "id": "nobody"}, 404, "nobody"),
        ({"verb": "close", "id": "o-1"}, 409, "no verb"),
        ({"verb": "__class__", "id": "o-1"}, 409, "no verb"),
        ({"verb": "cancel"}, 409, "which run"),
        ({"verb": "start", "workflow": "orderz", "input": None}, 409, "orders"),
        ({"verb": "start", "workflow": "orders", "input": {"sku": "x"}}, 409, "cents"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    client: Visitor, asked: dict[str, Any], status: int, message: str
) -> None:
    answer = client.act(**asked)

    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("sent", ["", "[]", "{", '"text"', "1" * 2_100_000], ids=["none", "list", "cut", "text", "big"])
def test_what_is_no_object_is_refused(client: Visitor, sent: str) -> None:
    csrf = client.get("/api/overview").json()["csrf"]

    answer = client.post("/api/act", content=sent, headers={"content-type": "application/json", "x-perdure-csrf": csrf})

    assert answer.status_code == 409


def test_a_run_is_cancelled_and_undone_from_the_page(client: Visitor, engine: Engine) -> None:
    assert client.act(verb="cancel", id="o-1", reason="a mistake").status_code == 200

    execution = engine.run("o-1").wait(timeout=PATIENCE)
    assert (execution.state, execution.steps["reserve"].compensation) == ("cancelled", "completed")


def test_a_run_is_started_from_the_page(client: Visitor, engine: Engine) -> None:
    started = client.act(verb="start", workflow="orders", input={"sku": "chair", "cents": 5}, id="o-3").json()

    assert started["run"] == "o-3"
    assert engine.get_execution("o-3").input == Order("chair", 5)  # type: ignore[union-attr]


def test_what_must_not_be_seen_is_not_sent_to_the_browser(engine: Engine) -> None:
    seen: list[tuple[str, str]] = []

    def redact(run: str, name: str, value: object) -> object:
        seen.append((run, name))
        return "***" if name == "input" else value

    run = Visitor(create_app(engine, redact=redact)).get("/api/run?id=o-1").json()

    assert run["input"]["text"] == '"***"'
    assert "lamp" not in str(run["input"])
    assert ("o-1", "step:charge") in seen


def test_a_value_that_is_too_long_is_cut_and_says_so(client: Visitor, engine: Engine) -> None:
    engine.start(hostile, "x" * 100_000, id="long").wait(until="waiting", timeout=PATIENCE)

    shown = client.get("/api/run?id=long").json()["input"]

    assert (shown["cut"], shown["length"], len(shown["text"])) == (True, 100_002, 20_000)


def test_names_of_any_sort_reach_their_run(client: Visitor, engine: Engine) -> None:
    for name in ("a/b?c=d&e#f", "../../etc/passwd", "%2e%2e", "ünï 日本", HOSTILE):
        engine.start(hostile, name, id=name)

        assert client.get("/api/run", params={"id": name}).json()["id"] == name
        assert client.get("/api/run/graph", params={"id": name}).status_code == 200


def test_figures_are_there_for_prometheus(client: Visitor) -> None:
    text = client.get("/metrics").text

    assert 'perdure_runs{state="waiting"} 1' in text
    assert 'perdure_step_retries{workflow="orders",step="charge"} 1' in text


def test_a_label_cannot_break_out_of_its_quotes(client: Visitor, engine: Engine) -> None:
    odd = Workflow('a"b\\c').step("step", lambda: 1)
    engine.register(odd).start(odd).result(timeout=PATIENCE)

    assert r'workflow="a\"b\\c"' in client.get("/metrics").text


def test_the_page_is_mounted_below_any_path(engine: Engine) -> None:
    visitor = Visitor(Starlette(routes=[Mount("/admin/runs", create_app(engine, token=SECRET))]))

    assert visitor.get("/admin/runs/").status_code == 200
    assert visitor.get("/admin/runs/static/app.js").status_code == 200
    assert visitor.get("/admin/runs/api/runs").status_code == 401
    visitor.post("/admin/runs/api/login", json={"token": SECRET})
    assert len(visitor.get("/admin/runs/api/runs").json()["runs"]) == 2


def test_workflows_are_shown_with_their_graph_and_a_form_for_their_input(client: Visitor) -> None:
    shown = next(one for one in client.get("/api/definitions").json() if one["name"] == "orders")

    assert (shown["name"], shown["runs"]) == ("orders", 2)
    assert [field["name"] for field in shown["form"]["fields"]] == ["sku", "cents"]
    assert "charge" in client.get("/api/definition/graph?name=orders").text
    assert client.get("/api/definition/graph?name=nobody").status_code == 409


def test_every_registered_version_of_a_workflow_is_shown_and_can_be_started(tmp_path: Path) -> None:
    old = Workflow("quotes", version="1").step("ask", lambda: "one").wait_for("go")
    new = (
        Workflow("quotes", version="2")
        .step("ask twice", lambda: "two")
        .do_until(lambda: False, lambda w: w.wait_for("a"))
    )
    bare = Workflow("quotes").step("ask nobody", lambda: "none")
    with Engine(tmp_path / "versions.db", bare, old, new, durability="normal") as engine:
        client = Visitor(create_app(engine))

        shown = client.get("/api/definitions").json()
        assert [(one["version"], one["latest"]) for one in shown] == [(None, False), ("1", False), ("2", True)]
        assert [bool(one["findings"]) for one in shown] == [False, True, True]
        assert shown[1]["findings"] != shown[2]["findings"]
        graphs = {version: f"/api/definition/graph?name=quotes{version}" for version in ("", "&version=", "&version=1")}
        assert "ask twice" in client.get(graphs[""]).text
        assert "ask nobody" in client.get(graphs["&version="]).text
        assert "ask twice" not in client.get(graphs["&version=1"]).text
        assert "'3'" in client.get("/api/definition/graph?name=quotes&version=3").json()["error"]["message"]

        run = client.act(verb="start", workflow="quotes", version="1").json()["run"]

        assert engine.run(run).wait(timeout=10, until="waiting").version == "1"
        assert client.get(f"/api/run?id={run}").json()["has_graph"]


def test_a_run_whose_version_is_not_registered_has_no_graph(tmp_path: Path) -> None:
    old, new = (Workflow("quotes", version=version).wait_for("go") for version in "12")
    with Engine(tmp_path / "versions.db", old, durability="normal") as engine:
        run = engine.start("quotes").id
    with Engine(tmp_path / "versions.db", new, durability="normal") as engine:
        assert not Visitor(create_app(engine)).get(f"/api/run?id={run}").json()["has_graph"]


def test_schedules_are_shown_and_steered(client: Visitor, engine: Engine) -> None:
    engine.schedule("hourly", orders, every=3600, input=Order("lamp", 1))

    client.act(verb="pause_schedule", name="hourly")
    [shown] = client.get("/api/schedules").json()

    assert (shown["name"], shown["paused"]) == ("hourly", True)
    client.act(verb="resume_schedule", name="hourly")
    [shown] = client.get("/api/schedules").json()
    assert (shown["paused"], len(shown["next"])) == (False, 3)
    triggered = client.act(verb="trigger", name="hourly").json()["run"]
    assert client.get("/api/schedules").json()[0]["last_run"] == triggered
    client.act(verb="unschedule", name="hourly")
    assert client.get("/api/schedules").json() == []
    assert "hourly" in client.act(verb="unschedule", name="hourly").json()["error"]["message"]


class Answer(BaseModel):
    yes: bool
    why: str = "because"


@pytest.mark.parametrize(
    ("annotation", "whole", "kinds"),
    [
        (None, True, ["json"]),
        (bool, True, ["boolean"]),
        (int, True, ["integer"]),
        (list[int], True, ["json"]),
        (Answer, False, ["boolean", "text"]),
        (Order, False, ["text", "integer"]),
        ("no type", True, ["json"]),
    ],
    ids=str,
)
def test_a_form_fits_its_type(annotation: Any, *, whole: bool, kinds: list[str]) -> None:
    form = form_of(annotation)

    assert (form["whole"], [field["kind"] for field in form["fields"]]) == (whole, kinds)
