"""How tests move the time that freezegun has frozen.

freezegun is never imported here: whoever has frozen the time has.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

from .dsl.errors import UsageError

__all__ = ["FrozenTime", "span"]


class FrozenTime:
    """The innermost freeze.

    Raises:
        UsageError: time is not frozen.
    """

    def __init__(self) -> None:
        api: Any = sys.modules.get("freezegun.api")
        if not getattr(api, "freeze_factories", None):
            msg = "advance() moves time that freezegun has frozen; freeze it first, with freezegun.freeze_time(...)"
            raise UsageError(msg)
        self._factory = api.freeze_factories[-1]
        self._offset: dt.timedelta = api.tz_offsets[-1]  # freezegun adds it to the time in UTC too

    @staticmethod
    def now() -> dt.datetime:
        """Return the present."""
        return dt.datetime.now(dt.UTC)

    def move_to(self, moment: dt.datetime) -> None:
        """Make it that time, unless it is later already: time never goes back."""
        if moment > self.now():
            self._factory.move_to(moment - self._offset)


def span(delta: dt.timedelta | None, parts: dict[str, float]) -> dt.timedelta:
    """Return how far time is to be moved.

    Raises:
        UsageError: it would go back, or was said in two ways or in none.
    """
    if delta is not None and parts:
        msg = "give advance() a timedelta or its parts, not both"
        raise UsageError(msg)
    try:
        length = dt.timedelta(**parts) if delta is None else delta
        if length >= dt.timedelta():
            return length
    except (TypeError, OverflowError) as error:
        msg = f"advance() takes a timedelta or its parts, such as days=30: {error}"
        raise UsageError(msg) from None
    msg = f"advance() moves time forward, not by {length}; to move it back, use freezegun's move_to()"
    raise UsageError(msg)
