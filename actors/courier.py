"""The courier: brings word of a message in the inbox to the engine that can act on it, and its answer back.

The message is on disk before the courier sets out. So whatever happens on the way, nothing is lost: at worst the caller
hears no answer, and the message is acted on later.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ..dsl.errors import EngineClosed, StoreError
from ..persistence.inbox import Inbox
from . import clock, wire
from .exchange import Exchange
from .tray import LEFT

__all__ = ["Courier"]

_PATIENCE = 5.0
"""Real seconds that an engine is given for an answer: one that is stopped would never give any."""

_ROUNDS = 3
_SILENCE = object()


class Courier:
    """Runs errands on the threads of callers."""

    def __init__(self, exchange: Exchange, inbox: Inbox, *, take_here: Callable[[int], Any] | None = None) -> None:
        """Make one.

        Args:
            exchange: How engines are called.
            inbox: Its inbox, for reading.
            take_here: Has this process's own engine take a message, and returns the answer.
        """
        self._exchange = exchange
        self._inbox = inbox
        self._take_here = take_here

    def deliver(self, row: int, execution_id: str | None = None, *, here: int = 0, silence: Any = None) -> Any:
        """Have a message acted on; return the answer, if somebody could give one: otherwise it waits on disk.

        Args:
            row: The message's number.
            execution_id: The run it is for; None for a start, which any engine may take.
            here: Number of this process's own engine.
            silence: What is returned when nobody has given an answer; an answer may be None.

        Raises:
            EngineError: The message was refused; the error is the engine's own.
        """
        asked: set[int] = set()
        for _ in range(_ROUNDS):  # a run may change hands meanwhile
            fresh = [engine for engine in self._addressees(execution_id) if engine not in asked]
            if not fresh:
                break
            for engine in fresh:
                asked.add(engine)
                answer = self._ask(engine, row, here)
                if answer is not LEFT:
                    return silence if answer is _SILENCE else answer
        return silence

    def _addressees(self, execution_id: str | None) -> list[int]:
        """Return the engine that drives the run; any that lives, if the run has yet to be started."""
        try:
            for found in self._inbox.whereabouts([execution_id]) if execution_id is not None else ():
                return [] if found.driver is None else [found.driver]
            engines = self._inbox.living()
        except StoreError:  # the database went away since the message was written: whoever finds it there acts on it
            return []
        random.shuffle(engines)
        return engines

    def _ask(self, engine: int, row: int, here: int) -> Any:
        if engine == here and self._take_here is not None:
            return self._take_here(row)
        line = self._exchange.connect(engine)
        if line is None:
            return LEFT
        try:
            return self._await_answer(line, row) if line.say(wire.Take(row)) else LEFT
        finally:
            line.hang_up()

    def _await_answer(self, line: wire.Line, row: int) -> Any:
        deadline = clock.monotonic() + _PATIENCE
        while line.wait(deadline - clock.monotonic()):
            heard = line.hear()
            if heard is None:  # it died, or was closed
                return LEFT
            for message in heard:
                match message:
                    case wire.Answer() if message.row == row:
                        return message.value
                    case wire.Left() if message.row == row:
                        return LEFT
                    case wire.Failure() if message.row == row:
                        error = wire.error_of(message)
                        if isinstance(error, EngineClosed):
                            return LEFT
                        raise error
        return _SILENCE
