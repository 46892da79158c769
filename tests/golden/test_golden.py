"""Every recorded scenario of the reference engine, played on ours and compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from .comparison import differences
from .differences import expected
from .performance import perform
from .stage import Clock


class Theatre:
    """One frozen clock for all scenarios: to freeze the time takes longer than to play most of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def play(self, spec: dict[str, Any], folder: Path, location: str) -> dict[str, Any]:
        self._now += timedelta(hours=1)
        outcome, self._now = perform(spec, folder, self._clock, self._now, place=location)
        return outcome


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with freeze_time("2026-01-05 09:00:00") as clock:
        yield Theatre(clock)


@pytest.mark.on_every_store
def test_a_recorded_scenario_ends_as_it_should(
    scenario: dict[str, Any], theatre: Theatre, tmp_path: Path, location: str
) -> None:
    if scenario["name"].startswith("kill9") and "pooled=true" in location:
        pytest.skip("a pooled engine that was killed is taken for alive for three seconds")

    ours = theatre.play(scenario["spec"], tmp_path, location)

    found = [differences(scenario["spec"], outcome, ours) for outcome in expected(scenario)]

    assert not all(found), report(scenario, min(found, key=len))


def report(scenario: dict[str, Any], lines: list[str]) -> str:
    return "\n".join([f"{scenario['what']} ({scenario['judgement']})", *lines])
