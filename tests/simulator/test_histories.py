"""The engine keeps its promises in whatever order things happen; a seed is a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perdure.testing.simulator import History, Outcome, PromiseBroken, crash_at_every_turn
from perdure.testing.simulator.__main__ import main


@pytest.mark.timeout(0)
@pytest.mark.on_every_store
def test_every_promise_is_kept_in_every_history(
    figures: Any,
    request: pytest.FixtureRequest,
    new_location: Callable[[], str | None],
    as_many: Callable[[int, int], int],
) -> None:
    first = request.config.getoption("sim_seed")
    seeds = range(first, first + as_many(figures.histories, 12))
    outcomes = [History(seed, location=new_location()).run() for seed in seeds]
    states = {state for outcome in outcomes for state in outcome.states}
    assert "completed" in states
    if len(seeds) == figures.histories:  # of a few, none may have died
        assert {"failed", "cancelled"} <= states
        assert any(outcome.processes > 2 for outcome in outcomes)


@pytest.mark.timeout(0)
def test_every_promise_is_kept_though_the_process_dies_at_any_turn(
    figures: Any, request: pytest.FixtureRequest
) -> None:
    first = request.config.getoption("sim_seed")
    assert sum(map(crash_at_every_turn, range(first, first + figures.crashed))) > figures.crashed


def test_a_seed_is_a_history() -> None:
    def told(seed: int) -> tuple[Outcome, str]:
        history = History(seed)
        return history.run(), history.describe()

    assert told(7) == told(7)
    assert told(7) != told(8)


def test_a_crash_changes_nothing_before_its_turn() -> None:
    calm, crashed = History(5, crash_at=-1), History(5, crash_at=20)
    calm.run()
    crashed.run()
    assert crashed._trace[:20] == calm._trace[:20]
    assert crashed._trace[20] == "crash"


def test_a_broken_promise_says_how_to_see_it_again() -> None:
    history = History(1)
    history._ledger.broken(3, "a cat has walked over the keyboard")
    with pytest.raises(PromiseBroken, match="a cat") as caught:
        history.run()
    assert "python -m perdure.testing.simulator --seed 1" in str(caught.value)


def test_the_command_line_replays_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3"]) == 0
    assert main(["--first", "3", "--histories", "2"]) == 0
    assert main(["--seed", "3", "--crash-at", "5"]) == 0
    out = capsys.readouterr().out
    assert "flow0" in out
    assert "2 histories from seed 3 kept every promise" in out


@pytest.mark.parametrize(
    ("seed", "crash_at"),
    [
        pytest.param(100149, None, id="a start is answered in words, though its engine was taken for dead meanwhile"),
        pytest.param(102096, None, id="a run that is being stopped waits for its child, and for no timer of its own"),
        pytest.param(102606, None, id="an answer is not given on the word of a turn that was dropped"),
        pytest.param(103203, None, id="a signal is not acknowledged under the number of an engine that was taken over"),
        pytest.param(200071, None, id="a late answer wakes no run of another engine"),
        pytest.param(541302, None, id="a run that was set aside while it was being undone still knows why it is"),
        pytest.param(200281, None, id="what was decided before a take-over is not written after it"),
        pytest.param(590002, 21, id="a signal at the deadline wins, though the timer was first in the mail"),
    ],
)
def test_what_a_history_once_found_is_not_found_again(seed: int, crash_at: int | None) -> None:
    assert History(seed, crash_at=crash_at).run().states
