"""Engines at midnight of a Monday."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from perdure import Engine

from ..drive import Clock
from .almanac import MONDAY, gate, hello


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "runs.db"


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Frozen time: midnight of a Monday."""
    with freeze_time(MONDAY) as frozen:
        yield frozen


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    """An engine on frozen time."""
    with Engine(None, hello, gate) as engine:
        yield engine
