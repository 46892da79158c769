"""Listening to what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from .. import arguments
from ..dsl.events import Event, EventName
from .driving import DrivingVerbs

__all__ = ["ListenerVerbs"]

EventT = TypeVar("EventT", bound=Event)


class ListenerVerbs(DrivingVerbs):
    """What is heard of runs."""

    @overload
    def on(self, event: type[EventT], listener: Callable[[EventT], Any]) -> None: ...
    @overload
    def on(self, event: EventName, listener: Callable[[Any], Any]) -> None: ...
    def on(self, event: Any, listener: Any) -> None:
        """Call a listener for every event of one type.

        Listeners run one after the other on the engine's own thread, after the event's fact is on disk; one that
        raises is logged and reported as ``listener:error``, one that blocks delays the others, never a run. They are
        kept alive until `off`.

        Args:
            event: The type as a string, such as ``"step:completed"``, or the event's class.
            listener: Called with the event.

        Raises:
            UsageError: there is no such type of event.
        """
        self._machine.check_process("listen")
        self._machine.bus.connect(arguments.event_class(event), arguments.check_listener(listener))

    def off(self, event: type[Event] | EventName, listener: Callable[[Any], Any]) -> None:
        """Stop calling a listener given to `on`; nothing happens if it is not there."""
        self._machine.check_process("stop listening")
        self._machine.bus.disconnect(arguments.event_class(event), arguments.check_listener(listener))

    def on_any(self, listener: Callable[[Event], Any]) -> None:
        """Call a listener for every event; those of `on` are called first. See `on`."""
        self._machine.check_process("listen")
        self._machine.bus.connect(None, arguments.check_listener(listener))

    def off_any(self, listener: Callable[[Event], Any]) -> None:
        """Stop calling a listener given to `on_any`."""
        self._machine.check_process("stop listening")
        self._machine.bus.disconnect(None, arguments.check_listener(listener))

    def subscribe(self, id: str, listener: Callable[[Event], Any]) -> Callable[[], None]:
        """Call a listener for every event of one run from now on; returns what ends that.

        Subscribe before the start to an id of your own choice to see a run from its first event.
        """
        self._machine.check_open("subscribe")
        arguments.check_text(id, "the id of a run")
        self._machine.bus.connect(None, arguments.check_listener(listener), id)
        return lambda: self._machine.bus.disconnect(None, listener, id)
