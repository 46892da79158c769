"""The walk-through on the docs' page is true: all that it names is clicked or seen, in its order, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from perdure import Engine
from perdure.dashboard import create_app
from tests.patience import PATIENCE

from .shop import bank, shaky

NAMED = re.compile(r"(?<!\*)\*([^*\n]+)\*(?!\*)")


class Walk:
    """Goes about on the page by what the docs name, and notes what was named."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.named: list[str] = []

    def note(self, name: str) -> str:
        """Note that this was found."""
        if name not in self.named:
            self.named.append(name)
        return name

    def go(self, screen: str) -> None:
        """Choose a screen at the top."""
        self.page.get_by_role("navigation").get_by_role("link", name=self.note(screen)).click()
        self.see(screen)

    def press(self, button: str) -> None:
        """Press a button on the page."""
        self.page.locator("main").get_by_role("button", name=self.note(button), exact=True).click()

    def confirm(self, button: str, **fields: str) -> None:
        """Fill in what a button asks for, and confirm."""
        dialog = self.page.get_by_role("dialog")
        for label, text in fields.items():
            dialog.get_by_label(label).fill(text)
        dialog.get_by_role("button", name=button, exact=True).click()

    def see(self, heading: str) -> Any:
        """Wait for a card, or for the screen, of this title."""
        self.page.locator("main").get_by_role("heading", name=self.note(heading), exact=True).wait_for()
        return self.page.locator("section", has=self.page.get_by_role("heading", name=heading, exact=True))

    def open(self, run: str) -> None:
        """Open the page of a run from the list."""
        self.go("Runs")
        self.page.get_by_role("link", name=run, exact=True).click()
        self.page.get_by_role("heading", name=run).wait_for()

    def expect_state(self, state: str) -> None:
        """Wait until the run on the page is in a state."""
        self.page.locator("h1").get_by_text(state, exact=True).wait_for()


def named_in_the_docs(checkout: Path) -> list[str]:
    section = (checkout / "docs/dashboard.md").read_text().partition("## A walk-through")[2].partition("\n## ")[0]
    return list(dict.fromkeys(NAMED.findall(section)))


def test_the_walk_through_goes_as_it_says(
    page: Any, engine: Engine, serving: Callable[[Any], str], checkout: Path
) -> None:
    bank.broken = True
    for run in ("s-1", "s-2"):
        engine.start(shaky, id=run).wait(timeout=PATIENCE)
    page.goto(serving(create_app(engine)))
    walk = Walk(page)

    something_waits_for_me(walk)
    why_did_this_run_fail(walk)
    repair_it(walk)
    stop_it(walk)

    assert walk.named == named_in_the_docs(checkout)


def something_waits_for_me(walk: Walk) -> None:
    walk.go("Inbox")
    form = walk.page.get_by_role("form", name="Signal approval")
    form.get_by_label(walk.note("approved")).check()
    form.get_by_label("note").fill("looks good")
    walk.press("Send approval")
    walk.page.get_by_text("Nobody waits for a person.").wait_for()


def why_did_this_run_fail(walk: Walk) -> None:
    walk.go("Runs")
    walk.page.get_by_role("link", name=re.compile(rf"\d {walk.note('failed')}")).click()
    walk.page.get_by_role("link", name="o-2").click()
    why = walk.see("Why it failed")
    expect(why).to_contain_text("charge: ConnectionError: the bank refused sofa")
    why.get_by_text("Traceback").click()
    expect(why).to_contain_text("raise ConnectionError")
    timeline = walk.see("Timeline")
    expect(timeline.get_by_role("row", name="charge · attempt 2")).to_contain_text("failed")
    expect(timeline.get_by_role("row", name=f"{walk.note('undo')} reserve")).to_contain_text("completed")


def repair_it(walk: Walk) -> None:
    walk.open("s-1")
    bank.broken = False
    walk.press("Retry")
    walk.confirm("Retry", Reason="the bank is back")
    walk.expect_state("completed")
    did = walk.page.get_by_role("table", name="Audit trail")

    walk.open("s-2")
    walk.press("Skip step")
    walk.confirm("Skip step", Result='"paid by hand"')
    walk.expect_state("completed")
    expect(walk.page.locator("section", has_text="Result")).to_contain_text("paid by hand")

    walk.open("o-2")
    walk.press("Fork")
    dialog = walk.page.get_by_role("dialog")
    assert '"sofa"' in dialog.get_by_label("Input (JSON)").input_value()
    walk.confirm("Fork", **{"Input (JSON)": '{"sku": "sofa", "cents": 900}', "Reason": "half price"})
    walk.expect_state("waiting")

    walk.open("s-1")
    walk.see("What operators did")
    expect(did).to_contain_text("the bank is back")


def stop_it(walk: Walk) -> None:
    walk.go("Runs")
    walk.page.get_by_role("link", name=re.compile(r"\d waiting")).click()
    expect(walk.page.locator("tr[data-id]")).to_have_count(1)
    walk.page.locator("tr[data-id] a").click()
    walk.press("Cancel")
    walk.confirm("Cancel", Reason="not needed")
    walk.expect_state("cancelled")
    expect(walk.page.get_by_role("table", name="Timeline").get_by_role("row", name="undo reserve")).to_be_visible()
