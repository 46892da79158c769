"""The pytest plugin: fixtures, and nothing that happens unless one is asked for.

Every session of pytest loads this where perdure is installed, so it loads the engine only for a test that wants one;
and where the tests have loaded both the engine and freezegun, it sees to it that freezing is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["engine", "engine_options", "freezer", "frozen_engine"]

pytest.register_assert_rewrite("perdure.testing.store_contract")


def pytest_collection_finish() -> None:
    """Make bare ``freeze_time`` as quick as `freeze`, where tests of workflows may use it."""
    if "freezegun.api" in sys.modules and "perdure.engine" in sys.modules:
        from .testing.freezing import quicken

        quicken()


@pytest.fixture
def engine_options() -> Mapping[str, Any]:
    """Options for `engine` and `frozen_engine`; override it in a module or class that wants others."""
    return {}


@pytest.fixture
def engine(engine_options: Mapping[str, Any]) -> Iterator[Engine]:
    """Give an engine on a temporary database; register workflows with it. Fails the test if a handler never returns."""
    yield from _open(engine_options)


@pytest.fixture
def freezer() -> Iterator[Any]:
    """Freeze time at the start of 2026, UTC; ``freezer.move_to(...)`` and ``freezer.tick(...)`` move it."""
    from .testing import freeze

    with freeze() as freezer:
        yield freezer


@pytest.fixture
def frozen_engine(engine_options: Mapping[str, Any], freezer: Any) -> Iterator[Engine]:
    """Give an `engine` on frozen time, with a seed: the same test sees the same events every time."""
    yield from _open({"seed": 0, **engine_options})


def _open(options: Mapping[str, Any]) -> Iterator[Engine]:
    from .engine import Engine
    from .testing.leaks import close_cleanly, unique_name

    engine = Engine(None, **{"queue_name": unique_name(), **options})
    yield engine
    close_cleanly(engine)
