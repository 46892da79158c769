"""An engine with runs of every sort, and the page over it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from perdure import Engine
from perdure.dashboard import create_app
from tests.patience import PATIENCE

from .shop import Order, Visitor, hostile, orders, parked, shaky


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "runs.db", orders, hostile, shaky, parked, durability="normal") as engine:
        engine.start(orders, Order("lamp", 500), id="o-1").wait(until="waiting", timeout=PATIENCE)
        engine.start(orders, Order("sofa", 90_000), id="o-2").wait(timeout=PATIENCE)
        yield engine


@pytest.fixture
def client(engine: Engine) -> Visitor:
    return Visitor(create_app(engine))


@pytest.fixture
def serving() -> Iterator[Callable[[Any], str]]:
    """Serve an application on a free port of this machine; returns its address."""
    stops: list[Callable[[], None]] = []

    def serve(app: Any) -> str:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        socket = server.config.bind_socket()
        socket.listen()
        thread = threading.Thread(target=server.run, args=([socket],), name="page")
        thread.start()

        def stop() -> None:
            app.state.closing = server.should_exit = True
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive()
            socket.close()

        stops.append(stop)
        return f"http://localhost:{socket.getsockname()[1]}/"

    yield serve
    for stop in stops:
        stop()


@pytest.fixture(scope="module")  # and no longer: it keeps an event loop running on this thread
def browser() -> Iterator[Any]:
    """A real browser; `.ci/run` installs Debian's."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no browser: install Debian's package chromium to run these tests")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=path, args=[*quiet, "--disable-sync", "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, serving: Callable[[Any], str]) -> Iterator[Any]:
    """A page that fails the test when a script raises or the policy stops something.

    It is closed before what is served stops: a browser connects ahead of need, and uvicorn waits for such connections.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda told: complaints.append(told.text) if told.type == "error" and "policy" in told.text.lower() else None,
    )
    yield page
    context.close()
    assert complaints == []
