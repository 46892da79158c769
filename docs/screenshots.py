"""Take the pictures of the web page that these docs show: ``python docs/screenshots.py [FOLDER]``; needs chromium."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import uvicorn
from playwright.sync_api import sync_playwright

from perdure import Context, Engine, Retry, Signal, Workflow
from perdure.dashboard import create_app

SMALL = 5_000
PICTURES = {
    "dashboard-runs": "runs",
    "dashboard-run": "run/expense-1007",
    "dashboard-inbox": "inbox",
    "dashboard-workflows": "workflows",
    "dashboard-schedules": "schedules",
    "dashboard-figures": "figures",
}


@dataclass(frozen=True)
class Expense:
    """What somebody has paid."""

    employee: str
    purpose: str
    cents: int


@dataclass(frozen=True)
class Decision:
    """What a manager says."""

    approved: bool
    budget: Literal["travel", "equipment", "training"] = "travel"
    note: str | None = None


approval = Signal("approval", Decision)


def charge(ctx: Context[Expense]) -> str:
    """Charge the budget."""
    if ctx.attempt == 1:
        raise ConnectionError("the ledger is busy")
    return f"booking-{ctx.input.cents}"


def pay(ctx: Context[Expense]) -> str:
    """Pay the employee back."""
    if ctx.input.purpose == "yacht":
        raise ValueError("the bank refuses 89,990.00 for a yacht")
    return f"transfer to {ctx.input.employee}"


expense = (
    Workflow("expense", input=Expense)
    .step("reserve", lambda ctx: f"{ctx.input.cents} reserved", compensate=lambda: None)
    .branch(lambda ctx: "large" if ctx.input.cents > SMALL else "small")
    .path("small", lambda path: path.step("note", lambda: "noted"))
    .path("large", lambda path: path.wait_for(approval, timeout=3 * 86_400))
    .step("charge", charge, retry=Retry(initial=0.05, jitter=0), compensate=lambda: None)
    .step("pay", pay, retry=Retry(2, initial=0.1, jitter=0))
)
onboarding = Workflow("onboarding").step("invite", lambda: "invited").wait_for("confirmed")
report = Workflow("report").step("collect", lambda: 12).step("send", lambda: 1 / 0, retry=1, on_exhausted="park")
EXPENSES = [
    ("Ada", "train", 4_200),
    ("Grace", "books", 3_100),
    ("Edsger", "desk", 64_000),
    ("Barbara", "flight", 72_000),
    ("Ada", "conference", 48_000),
    ("Grace", "taxi", 2_300),
    ("Alan", "yacht", 8_999_000),
    ("Barbara", "flight", 72_000),
]


def fill(engine: Engine) -> None:
    """Have something happen."""
    for number, (employee, purpose, cents) in enumerate(EXPENSES, start=1001):
        engine.start(expense, Expense(employee, purpose, cents), id=f"expense-{number}")
    engine.settle()
    for number in (1003, 1007):
        engine.signal(f"expense-{number}", approval, Decision(approved=True, note="well spent"))
    engine.run("expense-1008").cancel(reason="handed in twice")
    engine.start(onboarding, id="onboarding-7")
    engine.start(report, id="report-2026-11").wait(until="waiting")
    engine.schedule("monthly-report", report, every=timedelta(days=30))
    engine.schedule("reminders", onboarding, every=timedelta(hours=6))
    engine.pause_schedule("reminders")
    engine.settle()


@contextmanager
def served(engine: Engine) -> Iterator[str]:
    """Serve the page on a free port; gives its address."""
    app = create_app(engine)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", port=0))
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    yield f"http://localhost:{socket.getsockname()[1]}/"
    app.state.closing = server.should_exit = True
    thread.join()


def main(folder: Path) -> None:
    """Take the pictures."""
    with (
        tempfile.TemporaryDirectory() as home,
        Engine(Path(home, "expenses.db"), expense, onboarding, report, durability="normal") as engine,
        sync_playwright() as playwright,
        served(engine) as address,
    ):
        fill(engine)
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page: Any = browser.new_page(viewport={"width": 1180, "height": 760})
        for name, screen in PICTURES.items():
            page.goto(f"{address}#/{screen}")
            page.locator(f"body[data-drawn='#/{screen}']").wait_for()
            page.get_by_text("live", exact=True).wait_for()
            for image in page.locator("main img").all():
                image.scroll_into_view_if_needed()
                image.evaluate("image => image.decode()")
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=folder / f"{name}.png", full_page=name != "dashboard-workflows")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "_static")
