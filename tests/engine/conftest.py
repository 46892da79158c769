"""Engines for tests: on frozen time, on a file that survives a restart, gone without a trace afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from perdure import Engine
from perdure.testing import close_cleanly, freeze
from perdure.testing.freezing import START
from perdure.testing.leaks import unique_name

from .drive import prepared


@pytest.fixture(scope="module")
def frozen_time() -> Iterator[Any]:
    """One freeze for a module's tests: to freeze takes longer than most of them."""
    with freeze() as freezer:
        yield freezer


@pytest.fixture
def frozen(frozen_time: Any) -> Any:
    """Frozen time, at its beginning."""
    frozen_time.move_to(START)
    return frozen_time


@pytest.fixture
def lab(frozen: Any, location: str) -> Iterator[Engine]:
    """An engine on frozen time, its database in a file or on a server."""
    engine = Engine(prepared(location), durability="normal", queue_name=unique_name())
    yield engine
    close_cleanly(engine)


@pytest.fixture
def unnoticed(lab: Engine) -> Callable[[], AbstractContextManager[None]]:
    """While this is entered nobody looks at the clock: what becomes due is only noticed afterwards."""
    return lab._machine.lanes.alarm_paused
