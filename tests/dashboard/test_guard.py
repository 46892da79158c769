"""Who may see and steer."""

from __future__ import annotations

import re

import pytest
import uvicorn

from perdure import Engine
from perdure.dashboard import create_app, serve
from perdure.errors import UsageError

from .shop import SECRET, Visitor


def test_a_host_that_is_not_ours_is_refused(client: Visitor) -> None:
    answer = client.get("/api/runs", headers={"host": "evil.example"})

    assert answer.status_code == 400
    assert "allowed_hosts" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost:8420", "127.0.0.1", "[::1]:1", "LOCALHOST"])
def test_every_name_of_this_machine_is_ours(client: Visitor, host: str) -> None:
    assert client.get("/api/overview", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
        {"x-perdure-csrf": "guessed"},
        {"x-perdure-csrf": ""},
    ],
    ids=str,
)
def test_what_another_site_sends_changes_nothing(client: Visitor, engine: Engine, headers: dict[str, str]) -> None:
    csrf = client.get("/api/overview").json()["csrf"]
    sent = {"content-type": "application/json", "x-perdure-csrf": csrf, **headers}

    answer = client.post("/api/act", content='{"verb": "cancel", "id": "o-1"}', headers=sent)

    assert answer.status_code == 403
    assert engine.run("o-1").state == "waiting"


def test_a_page_that_is_read_only_changes_nothing(engine: Engine) -> None:
    visitor = Visitor(create_app(engine, read_only=True))

    assert visitor.act(verb="cancel", id="o-1").status_code == 403
    assert visitor.get("/api/overview").json()["read_only"] is True
    assert engine.run("o-1").state == "waiting"


@pytest.mark.parametrize(
    "path",
    [
        "/api/overview",
        "/api/runs",
        "/api/run?id=o-1",
        "/api/run/graph?id=o-1",
        "/api/inbox",
        "/api/definitions",
        "/api/definition/graph?name=orders",
        "/api/schedules",
        "/api/figures",
        "/api/live",
        "/metrics",
    ],
)
def test_with_a_token_nothing_is_seen_without_it(engine: Engine, path: str) -> None:
    visitor = Visitor(create_app(engine, token=SECRET))

    assert visitor.get(path).status_code == 401
    if path != "/api/live":
        assert visitor.get(path, headers={"authorization": f"Bearer {SECRET}"}).status_code == 200
    assert visitor.get(path, headers={"authorization": "Bearer another"}).status_code == 401


def test_a_login_gives_a_cookie_that_scripts_cannot_read(engine: Engine) -> None:
    visitor = Visitor(create_app(engine, token=SECRET))

    assert visitor.post("/api/login", json={"token": "wrong"}).status_code == 401
    answer = visitor.post("/api/login", json={"token": SECRET})

    assert {"HttpOnly", "SameSite=Strict"} <= set(answer.headers["set-cookie"].split("; "))
    assert SECRET not in answer.headers["set-cookie"]
    assert visitor.get("/api/runs").status_code == 200


def test_a_token_in_the_address_leaves_it_at_once(engine: Engine) -> None:
    visitor = Visitor(create_app(engine, token=SECRET), follow_redirects=False)

    answer = visitor.get(f"/?token={SECRET}")

    assert (answer.status_code, answer.headers["location"]) == (303, "http://localhost/")
    assert visitor.get("/api/runs").status_code == 200
    assert "set-cookie" not in visitor.get("/?token=wrong").headers


def test_no_answer_may_be_framed_sniffed_kept_or_load_anything_from_elsewhere(client: Visitor) -> None:
    for path in ("/", "/static/app.js", "/api/runs", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_a_drawing_that_is_opened_by_itself_can_do_nothing(client: Visitor) -> None:
    policy = client.get("/api/run/graph?id=o-1").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "sandbox" in policy


def test_an_address_that_is_not_ours_to_listen_on_is_one_clear_error(engine: Engine) -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.1:1"):
        serve(engine, host="203.0.113.1", port=1)


def test_a_token_that_was_made_is_told_with_the_address(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)

    serve(engine, host="0.0.0.0", port=0)  # noqa: S104 - any address but the loopback's gets a token

    assert re.fullmatch(r"http://0\.0\.0\.0:\d+/\?token=\S{32}\n", capsys.readouterr().out)
