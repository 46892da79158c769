"""What the engine logs in a history: an error that nobody has caused is a broken promise too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["listening"]

_EXPECTED = "another engine has taken over"


class _Ear(logging.Handler):
    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(_EXPECTED):
            self._heard(f"{record.getMessage()} {record.exc_info[1]!r}" if record.exc_info else record.getMessage())


@contextmanager
def listening(heard: Callable[[str], None]) -> Iterator[None]:
    """Have the engine's log heard, and keep it from everybody else."""
    logger = logging.getLogger("perdure")
    ear, propagate = _Ear(heard), logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagate
