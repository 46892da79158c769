"""Wrong calls, and what must be said of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from perdure import (
    EngineError,
    Workflow,
)

__all__ = ["PAST_A_YEAR", "Wrong", "act", "check", "flow", "wrong"]


PAST_A_YEAR = 86_400_000


def act() -> int:
    return 1


def flow() -> Any:
    return Workflow("w")


class Wrong(NamedTuple):
    """A wrong call, the error it must get, and what the message must say."""

    call: Callable[[Any], Any]
    error: type[BaseException]
    says: tuple[str, ...]


def wrong(call: Callable[[Any], Any], error: type[BaseException], *says: str) -> Wrong:
    return Wrong(call, error, says)


def check(case: Wrong, given: Any = None) -> None:
    """Make the wrong call, and see that it is refused with what it must say."""
    with pytest.raises(case.error) as error:
        case.call(given)

    assert isinstance(error.value, EngineError)
    for phrase in case.says:
        assert phrase in str(error.value)
    assert re.search(r"<.* at 0x", str(error.value)) is None, "an address tells nobody anything"
