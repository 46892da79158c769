"""The box office is killed at every commit, its own and the engine's: its rows and its runs are never apart."""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine
from perdure.testing import kill_at
from perdure.testing.forks import run_in_fork
from tests.patience import PATIENCE

pytestmark = pytest.mark.on_a_file  # its own rows are in the same file
PATH = Path(__file__).parents[2] / "examples" / "applications" / "box_office.py"


@pytest.fixture(name="office")
def office_fixture() -> Any:
    """Import the example afresh."""
    spec = importlib.util.spec_from_file_location("example_box_office", PATH)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def kill_at_callers_commit(office: Any, *, count: int, after: bool) -> Iterator[None]:
    """Have this process killed right before or after a commit of the office's own."""
    commit, calls = office.db.commit, itertools.count(1)

    def deadly() -> None:
        number = next(calls)
        if after:
            commit()
        if number == count:
            os.kill(os.getpid(), signal.SIGKILL)
        if not after:
            commit()

    office.db.commit = deadly
    yield


def live(office: Any, path: str, death: AbstractContextManager[None]) -> None:
    """Sell everything, unless the process dies."""
    office.db.init(path)
    with death, Engine(path, office.tickets) as engine, closing(office.db):
        office.drive(engine)


def check_the_books(office: Any, path: str) -> None:
    """Sell what was not sold, and see that every seat has its run, and every run its one line in the ledger."""
    office.db.init(path)
    with Engine(path, office.tickets) as engine, closing(office.db):
        ends, refused = office.drive(engine)
        sold = {
            f"ticket for {seat.guest}": f"seat {seat.number}, 30 EUR" for seat in office.Seat.select() if seat.guest
        }
        assert sold == {"ticket for Ada": "seat 1, 30 EUR", "ticket for Cleo": "seat 3, 30 EUR"}
        assert {run: end.state for run, end in ends.items()} == dict.fromkeys(sold, "completed")
        assert [line.text for line in office.Posting.select()] == list(sold.values())
        assert [end.steps["post"].result for end in ends.values()] == [1, 2]
        assert refused == ["Bob's card was refused", "Dan came too late for seat 1"]


def die_at_each(office: Any, folder: Path, death: Any) -> int:
    """Kill one process after the other, each a little later, until one lives to its end; return how many died."""
    for deaths in itertools.count():
        path = str(folder / f"{deaths}.db")
        end = run_in_fork(lambda path=path, count=deaths + 1: live(office, path, death(count=count)), timeout=PATIENCE)  # type: ignore[misc]
        assert not end.trouble
        check_the_books(office, path)
        if not end.killed:
            return deaths
    raise AssertionError


@pytest.mark.parametrize("point", ["commit.begun", "commit.written", "commit.after", "handler.after"])
def test_rows_and_runs_stand_or_fall_together_wherever_the_process_dies(
    office: Any, tmp_path: Path, point: str
) -> None:
    assert die_at_each(office, tmp_path, partial(kill_at, point)) >= 4


@pytest.mark.parametrize("after", [False, True])
def test_rows_and_runs_stand_or_fall_together_when_the_process_dies_at_the_callers_commit(
    office: Any, tmp_path: Path, *, after: bool
) -> None:
    # The tables, their rows, and two sales: Bob's and Dan's are rolled back.
    assert die_at_each(office, tmp_path, partial(kill_at_callers_commit, office, after=after)) >= 2
