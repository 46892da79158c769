"""The page in a real browser: every screen, every button, live, by keyboard, and attacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from perdure import Engine
from perdure.dashboard import create_app
from tests.patience import PATIENCE

from .shop import HOSTILE, SECRET, Decision, Order, bank, hostile, orders, parked, shaky

Serve = Callable[[Any], str]


@pytest.fixture
def address(engine: Engine, serving: Serve) -> str:
    return serving(create_app(engine))


def test_a_waiting_approval_is_found_and_answered_in_the_inbox(page: Any, address: str, engine: Engine) -> None:
    page.goto(address)
    page.get_by_role("link", name="Inbox").click()
    form = page.get_by_role("form", name="Signal approval")
    form.get_by_label("approved").check()
    form.get_by_label("level").select_option(label="high")
    form.get_by_label("note").fill("looks good")
    form.get_by_role("button", name="Send approval").click()

    assert engine.run("o-1").result(timeout=PATIENCE) == "shipped, looks good"
    assert engine.get_execution("o-1").signals["approval"] == Decision(approved=True, level="high", note="looks good")  # type: ignore[union-attr]
    page.get_by_text("Nobody waits for a person.").wait_for()


def test_why_a_run_failed_and_what_was_undone_is_on_its_page(page: Any, address: str) -> None:
    page.goto(f"{address}#/runs?state=failed")
    page.get_by_role("link", name="o-2").click()

    page.get_by_role("heading", name="Why it failed").wait_for()
    assert "the bank refused sofa" in page.locator("section", has_text="Why it failed").inner_text()
    assert "[object" not in page.locator("main").inner_text()
    rows = page.get_by_role("table", name="Timeline").get_by_role("row").all_inner_texts()
    assert any("charge · attempt 2" in row and "failed" in row for row in rows)
    assert any("undo reserve" in row and "completed" in row for row in rows)
    graph = page.get_by_role("img", name="Graph of orders with this run painted on")
    graph.scroll_into_view_if_needed()
    graph.evaluate("image => image.decode()")


def test_a_run_that_failed_is_repaired_by_a_button(page: Any, address: str, engine: Engine) -> None:
    bank.broken = True
    engine.start(shaky, id="s-1").wait(timeout=PATIENCE)
    page.goto(f"{address}#/run/s-1")
    page.get_by_role("heading", name="Why it failed").wait_for()
    bank.broken = False
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_label("Reason, optional").fill("the bank is back")
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()

    page.locator("h1").get_by_text("completed").wait_for()
    assert engine.run("s-1").result(timeout=PATIENCE) == "paid"
    assert "the bank is back" in page.get_by_role("table", name="Audit trail").inner_text()


def test_an_incident_is_resolved_in_the_inbox(page: Any, address: str, engine: Engine) -> None:
    bank.broken = True
    engine.start(parked, id="p-1").wait(until="waiting", timeout=PATIENCE)
    page.goto(f"{address}#/inbox")
    bank.broken = False
    page.get_by_role("button", name="Resolve").click()
    page.get_by_role("dialog").get_by_label("How").select_option("retry")
    page.get_by_role("dialog").get_by_role("button", name="Resolve").click()

    assert engine.run("p-1").result(timeout=PATIENCE) == "paid"


def test_a_run_is_held_up_let_go_on_and_ended_by_buttons(page: Any, address: str, engine: Engine) -> None:
    def press(button: str, state: str) -> None:
        page.locator("main").get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
        page.get_by_role("table", name="Audit trail").get_by_role("cell", name=state, exact=True).wait_for()

    page.goto(f"{address}#/run/o-1")
    press("Pause", "pause")
    press("Resume", "resume")
    press("Terminate", "terminate")

    page.locator("h1").get_by_text("cancelled").wait_for()
    assert engine.get_execution("o-1").steps["reserve"].compensation is None  # type: ignore[union-attr]


def test_a_step_that_was_done_elsewhere_is_completed_by_a_button(page: Any, address: str, engine: Engine) -> None:
    bank.broken = True
    engine.start(parked, id="p-1").wait(until="waiting", timeout=PATIENCE)
    page.goto(f"{address}#/run/p-1")
    page.get_by_role("button", name="Complete step").click()
    page.get_by_role("dialog").get_by_label("Result it had").fill('"paid by cheque"')
    page.get_by_role("dialog").get_by_role("button", name="Complete step").click()

    page.locator("h1").get_by_text("completed").wait_for()
    assert engine.run("p-1").result(timeout=PATIENCE) == "paid by cheque"


def test_a_schedule_is_paused_run_and_forgotten_by_buttons(page: Any, address: str, engine: Engine) -> None:
    engine.schedule("hourly", orders, every=3600, input=Order("lamp", 1))
    page.goto(f"{address}#/schedules")
    row = page.get_by_role("row", name="hourly")
    row.get_by_role("button", name="Pause").click()
    row.get_by_text("paused", exact=True).wait_for()
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_role("time")).to_have_count(3)
    row.get_by_role("button", name="Run now").click()
    row.get_by_role("link").wait_for()
    row.get_by_role("button", name="Unschedule").click()
    page.get_by_role("dialog").get_by_role("button", name="Unschedule").click()
    page.get_by_text("There are no schedules.").wait_for()

    assert engine.schedules() == []


def test_what_happens_appears_by_itself(page: Any, address: str, engine: Engine) -> None:
    page.goto(address)
    page.get_by_text("live", exact=True).wait_for()

    engine.start(orders, Order("chair", 5), id="o-3")

    page.get_by_role("link", name="o-3").wait_for()


def test_a_click_counts_though_news_arrives_between_press_and_release(page: Any, address: str, engine: Engine) -> None:
    page.goto(address)
    page.get_by_text("live", exact=True).wait_for()
    page.get_by_role("navigation").get_by_role("link", name="Inbox").hover()
    # Listening from before the press on: the page asks only once more while what it was told waits for the release.
    with page.expect_response(lambda answer: "api/runs" in answer.url) as answer:
        page.mouse.down()
        engine.start(orders, Order("chair", 5), id="o-3")
    answer.value.finished()
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    page.mouse.up()

    page.get_by_role("heading", name="Inbox", exact=True).wait_for()
    page.get_by_role("link", name="o-3").wait_for()


def test_a_run_is_cancelled_by_a_button_after_a_question(page: Any, address: str, engine: Engine) -> None:
    page.goto(f"{address}#/run/o-1")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    assert engine.run("o-1").state == "waiting"

    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Reason, optional").fill("a mistake")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    assert engine.run("o-1").wait(timeout=PATIENCE).state == "cancelled"
    page.locator("h1").get_by_text("cancelled").wait_for()


def test_a_refusal_is_shown_and_loses_nothing_that_was_typed(page: Any, address: str) -> None:
    page.goto(f"{address}#/workflows")
    page.locator("section", has=page.get_by_role("heading", name="orders")).get_by_text("Start a run").click()
    form = page.get_by_role("form", name="Start orders")
    form.get_by_label("sku").fill("lamp")
    form.get_by_label("cents").fill("5")
    form.get_by_label("Id, optional").fill("bad\x7fid" * 200)
    form.get_by_role("button", name="Start").click()

    page.get_by_role("alert").wait_for()
    assert form.get_by_label("sku").input_value() == "lamp"


def test_what_was_said_in_a_dialog_is_not_lost_when_it_is_refused(page: Any, address: str, engine: Engine) -> None:
    page.goto(f"{address}#/run/o-2")
    page.locator("main").get_by_role("button", name="Fork").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Begin at").select_option("charge")  # what stood before it was undone
    dialog.get_by_label("Reason").fill("once more")
    dialog.get_by_role("button", name="Fork").click()

    page.get_by_role("alert").get_by_text("the run has not come to 'charge'").wait_for()
    assert dialog.get_by_label("Reason").input_value() == "once more"
    dialog.get_by_label("Begin at").select_option("")
    dialog.get_by_role("button", name="Fork").click()
    expect(page.locator("h1")).not_to_contain_text("o-2")
    page.locator("h1").get_by_text("failed").wait_for()


def test_a_run_is_started_from_a_form_and_its_page_opens(page: Any, address: str, engine: Engine) -> None:
    page.goto(f"{address}#/workflows")
    page.locator("section", has=page.get_by_role("heading", name="orders")).get_by_text("Start a run").click()
    form = page.get_by_role("form", name="Start orders")
    form.get_by_label("sku").fill("lamp")
    form.get_by_label("cents").fill("5")
    form.get_by_label("Id, optional").fill("o-9")
    form.get_by_role("button", name="Start").click()

    page.get_by_role("heading", name="o-9").wait_for()
    assert engine.get_execution("o-9").input == Order("lamp", 5)  # type: ignore[union-attr]


def test_everything_is_reached_by_keyboard(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="o-1").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="o-1").wait_for()
    page.keyboard.press("i")
    page.get_by_role("heading", name="Inbox").wait_for()
    page.keyboard.press("r")
    page.get_by_role("heading", name="Runs").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("o-2")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-id]")).to_have_count(1)


# Nothing stands out of its card or reaches beyond the screen, but for what scrolls within a frame of its own.
FITS = """() => [...document.querySelectorAll("main *")].every((node) => {
    if (node.parentElement.closest(".scroll, pre")) return true;
    const edge = node.closest(".card")?.getBoundingClientRect().right ?? innerWidth;
    return node.getBoundingClientRect().right <= Math.min(edge, innerWidth) + 1;
})"""


def test_hostile_text_is_shown_as_text_on_every_screen(page: Any, address: str, engine: Engine) -> None:
    engine.start(hostile, {HOSTILE: HOSTILE}, id=HOSTILE, tags={HOSTILE: HOSTILE}).wait(
        until="waiting", timeout=PATIENCE
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.get_by_role("link", name=HOSTILE).click()
    page.get_by_role("heading", name="Timeline").wait_for()
    for screen in ("inbox", "workflows", "schedules", "figures", "runs"):
        page.goto(f"{address}#/{screen}")
        page.locator(f"nav a[aria-current][href='#/{screen}']").wait_for()
        assert "[object" not in page.locator("main").inner_text()
        assert page.locator("main img[onerror], main script").count() == 0
        assert page.evaluate(FITS), screen
    page.goto(f"{address}#/inbox")
    page.locator("textarea").last.fill('{"a": "</script>"}')

    assert page.title() != "owned"
    assert page.evaluate("document.title") != "owned"
    assert all(url.startswith(address) for url in asked)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_drawing_of_hostile_names_runs_nothing_when_it_is_opened_by_itself(page: Any, address: str) -> None:
    page.goto(f"{address}api/definition/graph?name={HOSTILE.replace('<', '%3C').replace('>', '%3E')}")

    assert page.title() != "owned"


def test_with_a_token_the_page_asks_for_it(page: Any, engine: Engine, serving: Serve) -> None:
    page.goto(serving(create_app(engine, token=SECRET)))
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Token").fill(SECRET)
    page.get_by_role("button", name="Open").click()

    page.get_by_role("link", name="o-1").wait_for()
    assert SECRET not in page.url


def test_a_page_that_is_read_only_has_no_buttons_that_change_anything(
    page: Any, engine: Engine, serving: Serve
) -> None:
    page.goto(f"{serving(create_app(engine, read_only=True))}#/run/o-1")

    page.get_by_role("heading", name="Timeline").wait_for()
    assert page.locator("main button, main form").count() == 0


def test_it_fits_a_narrow_screen_and_a_dark_one(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 380, "height": 800}, color_scheme="dark")
    page = context.new_page()
    for screen, heading in {"runs": "Runs", "run/o-1": "o-1", "inbox": "Inbox", "workflows": "Workflows"}.items():
        page.goto(f"{address}#/{screen}")
        page.locator("main h1", has_text=heading).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    context.close()

    assert dark == "rgb(18, 22, 29)"


def test_what_is_being_typed_survives_what_happens_meanwhile(page: Any, address: str, engine: Engine) -> None:
    page.goto(f"{address}#/inbox")
    note = page.get_by_label("note")
    note.fill("half a sen")
    engine.start(orders, Order("chair", 5), id="o-3").wait(until="waiting", timeout=PATIENCE)

    page.locator("nav .count").get_by_text("2").wait_for()
    assert note.input_value() == "half a sen"
