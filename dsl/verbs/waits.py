"""Saying waits: for signals, and for time to pass."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, overload

from ..policies import Duration
from ..signals import Signal
from .verbs import Blind, Handler, Verbs

if TYPE_CHECKING:
    from ..workflow import Block, Workflow

__all__ = ["WaitVerbs"]

InputT = TypeVar("InputT")
R = TypeVar("R")
R2 = TypeVar("R2")

Moment: TypeAlias = datetime | Awaitable[datetime]


class WaitVerbs(Verbs[InputT]):
    """What a run waits for."""

    @overload
    def wait_for(
        self, event: Signal[R], *, timeout: Duration | None = None, on_timeout: None = None
    ) -> Workflow[InputT, R]: ...
    @overload
    def wait_for(
        self, event: Signal[R], *, timeout: Duration, on_timeout: Block[InputT, R2]
    ) -> Workflow[InputT, R | R2]: ...
    @overload
    def wait_for(
        self, event: str, *, timeout: Duration | None = None, on_timeout: Block[InputT, Any] | None = None
    ) -> Workflow[InputT, Any]: ...
    def wait_for(self, event: Any, *, timeout: Duration | None = None, on_timeout: Any = None) -> Any:
        """Add a gate that opens when a signal of this name comes.

        Args:
            event: Name of the event, or a typed `Signal`.
            timeout: Seconds or `timedelta` from when the wait began; 0 has expired already, None waits for ever.
            on_timeout: Block to run when no signal comes in time, instead of failing the run.

        Raises:
            DefinitionError: the name or timeout cannot be used.
        """
        fragment = None if on_timeout is None else self._fragment(on_timeout, "on_timeout")
        self._draft.add_wait(event, timeout, fragment)
        return self

    def sleep(self, name: str, duration: Duration) -> Workflow[InputT, None]:
        """Add a durable sleep of so many seconds, or a `timedelta`, from when it is reached.

        Raises:
            DefinitionError: the name or duration cannot be used.
        """
        self._draft.add_sleep(name, duration)
        return cast("Workflow[InputT, None]", self)

    @overload
    def sleep_until(self, name: str, moment: datetime | Handler[InputT, Moment]) -> Workflow[InputT, None]: ...
    @overload
    def sleep_until(self, name: str, moment: Blind[Moment]) -> Workflow[InputT, None]: ...
    def sleep_until(self, name: str, moment: Any) -> Any:
        """Add a durable sleep until an aware point in time, or the one the function returns.

        Raises:
            DefinitionError: the name or moment cannot be used.
        """
        self._draft.add_sleep_until(name, moment)
        return self
