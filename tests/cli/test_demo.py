"""The demo keeps its promises, says so in order, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from perdure import Context
from perdure.cli.commands import perdure
from perdure.cli.shop import Order, Shop

ACTS = {
    "1. An order that works": [
        "step:retry              charge, attempt 1 of 3: ConnectionError: the payment service is busy; again in 0.3 s",
        "step:completed          charge -> ledger/order-1:charge",
        "workflow:completed      order-1",
        "=> 1 payment in the ledger",
    ],
    "2. The same order, killed": [
        "step:completed          reserve -> shelf/order-2",
        "-- the money is taken, but charge has not returned",
        "=> its process was killed with SIGKILL",
        "-- a new engine opens the same file",
        "step:started            charge, attempt 2",
        "workflow:completed      order-2",
        "=> reserve ran once",
        "=> charge ran twice, both times with the idempotency key order-2:charge",
        "=> charged exactly once",
    ],
    "3. The same order, and the shipment fails": [
        "step:failed             ship: perdure.NonRetryable: the lorry has broken down",
        "compensation:completed  charge is undone",
        "compensation:completed  reserve is undone",
        "workflow:failed         order-3, rollback complete",
        "=> nothing is left of it",
    ],
    "4. A large order waits": [
        "workflow:waiting        for approval, 72 hours at most",
        "=> still waiting",
        "signal:received         approval: yes, says Grace",
        "workflow:completed      order-4",
        "=> the approval was taken",
    ],
    "All promises were kept": [],
}


def run_demo(temporary: Path) -> subprocess.CompletedProcess[str]:
    # Nothing of the terminal, or of the service these tests run on, may colour what a pipe is given.
    environment = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "TTY_COMPATIBLE"}}
    command = [sys.executable, "-W", "error", "-m", "perdure.cli", "demo"]
    return subprocess.run(
        command, env={**environment, "TMPDIR": str(temporary)}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def demo(temporary: Path) -> subprocess.CompletedProcess[str]:
    return run_demo(temporary)


def test_the_demo_ends_well_and_complains_of_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")


def test_each_act_tells_what_it_promises_in_this_order(demo: subprocess.CompletedProcess[str]) -> None:
    position = 0
    for title, lines in ACTS.items():
        for line in [title, *lines]:
            position = demo.stdout.index(line, position) + len(line)


def test_what_is_not_a_terminal_gets_plain_text_with_whole_lines(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.stdout.isascii()
    assert "\x1b" not in demo.stdout
    assert max(map(len, demo.stdout.splitlines())) > 80


def test_the_temporary_folder_is_gone_afterwards(demo: subprocess.CompletedProcess[str], temporary: Path) -> None:
    assert demo.returncode == 0
    assert list(temporary.iterdir()) == []


def test_what_it_says_to_try_next_is_there(demo: subprocess.CompletedProcess[str], checkout: Path) -> None:
    _, _, advice = demo.stdout.partition("What to try next")
    files = re.findall(r"[\w/]+(?:\.md|\.py|/)(?=\s)", advice)

    assert len(files) > 3
    assert [file for file in files if not (checkout / file).exists()] == []


def charge_without_looking(shop: Shop, ctx: Context[Order]) -> str:
    """Charge as a payment service does that is given no idempotency key."""
    payment = f"ledger/{ctx.idempotency_key}:{ctx.attempt}"
    (shop._folder / payment).write_text("")
    shop._note_call(ctx)
    return payment


def test_an_act_that_does_not_go_as_promised_ends_the_demo_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "charge", charge_without_looking)

    result = CliRunner().invoke(perdure, ["demo"])

    assert result.exit_code == 1
    assert "Error: act 2 did not go as promised: 'charged exactly once" in result.stderr
    assert "expected ['order-2:charge'], found" in result.stderr
    assert "3. " not in result.stdout


def find_nothing(shop: Shop, ctx: Context[Order]) -> str:
    """Reserve what is not there."""
    raise ValueError("the shelf is empty")


def test_a_run_that_ends_otherwise_ends_the_demo_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "reserve", find_nothing)
    monkeypatch.setattr("perdure.dsl.policies.Retry.delay", lambda *_: 0.0)

    result = CliRunner().invoke(perdure, ["demo"])

    assert result.exit_code == 1
    assert "Error: act 1 did not go as promised: order-1 ended with workflow:failed" in result.stderr


def test_a_process_that_ends_before_it_is_killed_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))

    result = CliRunner().invoke(perdure, ["demo"])

    assert result.exit_code == 1
    assert "Error: act 2 did not go as promised: the process to be killed ended before it had paid" in result.stderr
