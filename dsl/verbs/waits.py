"""Saying waits: for signals, and for time to pass."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, cast, overload

from ..demands import AllOf, AnyOf, Demand, Quorum
from ..gate import GateNode
from ..nodes.wait_all import WaitAllNode
from ..nodes.wait_any import WaitAnyNode
from ..nodes.wait_for import WaitForNode
from ..options import Reminding
from ..policies import Duration, check_count
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
        self,
        event: Signal[R],
        *,
        timeout: Duration | None = None,
        on_timeout: str | None = None,
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, R]: ...
    @overload
    def wait_for(
        self,
        event: Signal[R],
        *,
        timeout: Duration,
        on_timeout: Block[InputT, R2],
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, R | R2]: ...
    @overload
    def wait_for(
        self,
        event: Signal[R],
        *,
        count: int,
        timeout: Duration | None = None,
        on_timeout: str | None = None,
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, list[R]]: ...
    @overload
    def wait_for(
        self,
        event: Signal[R],
        *,
        count: int,
        timeout: Duration,
        on_timeout: Block[InputT, R2],
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, list[R] | R2]: ...
    @overload
    def wait_for(
        self,
        event: str,
        *,
        count: int = 1,
        timeout: Duration | None = None,
        on_timeout: Block[InputT, Any] | str | None = None,
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, Any]: ...
    def wait_for(
        self,
        event: Any,
        *,
        count: int = 1,
        timeout: Duration | None = None,
        on_timeout: Any = None,
        remind_every: Duration | None = None,
        remind: Any = None,
    ) -> Any:
        """Add a gate that opens when a signal of this name comes, or when so many have come.

        Args:
            event: Name of the event, or a typed `Signal`.
            count: How many signals open the gate; ``ctx.received`` has all their payloads.
            timeout: Seconds or `timedelta` from when the wait began; 0 has expired already, None waits for ever.
            on_timeout: Block to run when the gate does not open in time, instead of failing the run; or the label of a
                path to take of the branch right after the gate, whose selector is not asked then.
            remind_every: Seconds or `timedelta` between two reminders, the first so long after the wait began: each is
                the event ``signal:reminder``, and a call of ``remind``.
            remind: Handler of the reminders, tried like a step; ``ctx.turn`` is the reminder's number.

        Raises:
            DefinitionError: the name or an option cannot be used.
        """
        demand = Quorum((_signal(event),), check_count(count, f"wait_for {event!r}: count"))
        self._wait(WaitForNode, demand, timeout, on_timeout, remind_every=remind_every, remind=remind)
        return self

    def wait_any(
        self,
        *events: Signal[Any] | str,
        timeout: Duration | None = None,
        on_timeout: Block[InputT, Any] | str | None = None,
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, dict[str, Any]]:
        """Add a gate that opens with the first signal of any of these names; ``ctx.last_signal`` says which came.

        The options and errors are those of `wait_for`.
        """
        demand = AnyOf(tuple(map(_signal, events)))
        self._wait(WaitAnyNode, demand, timeout, on_timeout, **reminding)
        return cast("Workflow[InputT, dict[str, Any]]", self)

    def wait_all(
        self,
        *events: Signal[Any] | str,
        timeout: Duration | None = None,
        on_timeout: Block[InputT, Any] | str | None = None,
        **reminding: Unpack[Reminding[InputT]],
    ) -> Workflow[InputT, dict[str, Any]]:
        """Add a gate that opens once a signal of each of these names has come, in whatever order.

        The options and errors are those of `wait_for`.
        """
        demand = AllOf(tuple(map(_signal, events)))
        self._wait(WaitAllNode, demand, timeout, on_timeout, **reminding)
        return cast("Workflow[InputT, dict[str, Any]]", self)

    def _wait(
        self,
        kind: type[GateNode],
        demand: Demand,
        timeout: Duration | None,
        on_timeout: Any,
        *,
        remind_every: Duration | None = None,
        remind: Any = None,
    ) -> None:
        other = on_timeout
        if on_timeout is not None and not isinstance(on_timeout, str):
            other = self._fragment(on_timeout, "on_timeout")
        self._draft.add_wait(kind, demand, timeout, other, remind_every=remind_every, remind=remind)

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


def _signal(event: Signal[Any] | str) -> Signal[Any]:
    return event if isinstance(event, Signal) else Signal(event)
