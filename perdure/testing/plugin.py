"""The pytest plugin: fixtures, and nothing that happens unless one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ..engine import Engine
from .freezing import freeze
from .leaks import close_cleanly, unique_name

__all__ = ["engine", "engine_options", "freezer", "frozen_engine"]

pytest.register_assert_rewrite("perdure.testing.store_contract")


@pytest.fixture
def engine_options() -> Mapping[str, Any]:
    """Options for `engine` and `frozen_engine`; override it in a module or class that wants others."""
    return {}


@pytest.fixture
def engine(engine_options: Mapping[str, Any]) -> Iterator[Engine]:
    """Give an engine on a temporary database; register workflows with it. Fails the test if a handler never returns."""
    engine = _open(engine_options)
    yield engine
    close_cleanly(engine)


@pytest.fixture
def freezer() -> Iterator[Any]:
    """Freeze time at the start of 2026, UTC; ``freezer.move_to(...)`` and ``freezer.tick(...)`` move it."""
    with freeze() as freezer:
        yield freezer


@pytest.fixture
def frozen_engine(engine_options: Mapping[str, Any], freezer: Any) -> Iterator[Engine]:
    """Give an `engine` on frozen time, with a seed: the same test sees the same events every time."""
    engine = _open({"seed": 0, **engine_options})
    yield engine
    close_cleanly(engine)


def _open(options: Mapping[str, Any]) -> Engine:
    return Engine(None, **{"queue_name": unique_name(), **options})
