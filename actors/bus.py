"""The bus: delivers events to listeners through blinker, on a thread of its own, in the order of the commits.

Rules:

1. A listener that raises is logged and reported as `ListenerError`; it never harms the run or another listener.
2. A run's end is announced after its last event has been delivered.
3. With no listener nothing is built and nothing is delivered.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import blinker

from ..dsl.events import Event, ListenerError
from . import clock

if TYPE_CHECKING:
    from .lanes import Lanes

__all__ = ["Bus", "Listener", "Notice"]

logger = logging.getLogger("perdure")

Listener = Callable[[Any], Any]


class Notice(NamedTuple):
    """An event that has not been built yet: building may decode values, which is not for the core.

    Attributes:
        event: The event's class; None announces the end of the run, with its row as only field.
        execution_id: Id of the run.
        workflow_name: Name of its workflow.
        at: When it happened.
        sequence: Its number within the run.
        fields: The event's own fields.
        encoded: Name of the field that holds encoded text and is to be decoded, if any.
    """

    event: type[Event] | None
    execution_id: str
    workflow_name: str
    at: int
    sequence: int
    fields: dict[str, Any]
    encoded: str | None = None


class Bus:
    """Listeners by event type, for all events, and by run.

    Attributes:
        silent: Whether nobody listens to anything.
        backlog: How many notices are still to be delivered.
    """

    def __init__(self, lanes: Lanes, decode: Callable[[str], Any], ended: Callable[[Any], None]) -> None:
        self._lanes = lanes
        self._decode = decode
        self._ended = ended
        # Made when somebody first listens: to make them all takes longer than many a run.
        self._signals: dict[type[Event] | None, blinker.Signal] = {}
        self._runs: dict[str, blinker.Signal] = {}
        self._subscribing = threading.Lock()
        self._listeners = 0
        self._published = 0
        self.silent = True
        self.backlog = 0

    # ---- subscribing, from any thread

    def connect(self, event: type[Event] | None, listener: Listener, execution_id: str | None = None) -> None:
        """Add a listener to a type of event, to all of them, or to one run; it is kept alive.

        It hears what is published from now on, and nothing of what has yet to be delivered to others.
        """
        with self._subscribing:
            signal = self._signal(event, execution_id)
            if _receiver(signal, listener) is None:
                signal.connect(_Receiver(listener, self._published), weak=False)
                self._count(1)

    def disconnect(self, event: type[Event] | None, listener: Listener, execution_id: str | None = None) -> None:
        """Remove a listener; nothing happens if it is not there."""
        with self._subscribing:
            signal = self._signal(event, execution_id)
            if (receiver := _receiver(signal, listener)) is not None:
                signal.disconnect(receiver)
                self._count(-1)
            if execution_id is not None and not signal.receivers:
                self._runs.pop(execution_id, None)

    def _count(self, more: int) -> None:
        self._listeners += more
        self.silent = self._listeners == 0

    def _signal(self, event: type[Event] | None, execution_id: str | None) -> blinker.Signal:
        if execution_id is not None:
            return self._runs.setdefault(execution_id, blinker.Signal(execution_id))
        return self._signals.setdefault(event, blinker.Signal("any" if event is None else event.type))

    # ---- delivering

    def flush(self) -> None:
        """Return once everything published so far has been delivered; not for the bus's own thread."""
        if self.backlog == 0:
            return
        delivered = threading.Event()
        self._lanes.bus(delivered.set)
        delivered.wait()

    def publish(self, notices: list[Notice]) -> None:
        """Deliver what one turn has to tell; called by the core after the commit."""
        if self._listeners == 0 and self.backlog == 0:
            for notice in notices:
                if notice.event is None:
                    self._ended(notice.fields["row"])
            return
        self.backlog += len(notices)
        self._published = number = self._published + 1
        self._lanes.bus(lambda: self._deliver(notices, number))

    def _deliver(self, notices: list[Notice], number: int) -> None:
        for notice in notices:
            try:
                if notice.event is None:
                    self._ended(notice.fields["row"])
                else:
                    self._send(self._build(notice), number)
            except Exception:  # a value that cannot be decoded must not stop the bus
                about = {"execution_id": notice.execution_id, "workflow": notice.workflow_name}
                logger.exception("an event of execution %s could not be delivered", notice.execution_id, extra=about)
            finally:
                self.backlog -= 1

    def _build(self, notice: Notice) -> Event:
        assert notice.event is not None
        fields = notice.fields
        if notice.encoded is not None and (text := fields[notice.encoded]) is not None:
            fields = {**fields, notice.encoded: self._decode(text)}
        return notice.event(
            execution_id=notice.execution_id,
            workflow_name=notice.workflow_name,
            at=clock.from_micros(notice.at),
            sequence=notice.sequence,
            **fields,
        )

    def _send(self, event: Event, number: int) -> None:
        run = self._runs.get(event.execution_id)
        for signal in (self._signals.get(type(event)), self._signals.get(None), run):
            if signal is None:
                continue
            for receiver in _receivers(signal):
                if receiver.since < number:
                    self._call(receiver, event, number)

    def _call(self, receiver: _Receiver, event: Event, number: int) -> None:
        listener = receiver.listener
        try:
            answer = receiver(event)
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()
                msg = f"listener {_name(listener)} is asynchronous; listeners are called on the bus's thread: use a def"
                raise TypeError(msg)  # noqa: TRY301 - reported like any error of the listener's
        except Exception as error:
            about = {"execution_id": event.execution_id, "workflow": event.workflow_name}
            logger.exception("listener %s raised on %s", _name(listener), event.type, extra=about)
            if not isinstance(event, ListenerError):
                self._send(
                    ListenerError(
                        execution_id=event.execution_id,
                        workflow_name=event.workflow_name,
                        at=event.at,
                        sequence=event.sequence,
                        listener=_name(listener),
                        event=event,
                        error=error,
                    ),
                    number,
                )


class _Receiver:
    """A listener, as blinker keeps it: by the identity of this.

    Attributes:
        since: How many turns had told of something when it came.
    """

    __slots__ = ("listener", "since")

    def __init__(self, listener: Listener, since: int) -> None:
        self.listener = listener
        self.since = since

    def __call__(self, event: Event) -> Any:
        return self.listener(event)


def _receivers(signal: blinker.Signal) -> list[_Receiver]:
    return cast("list[_Receiver]", list(signal.receivers_for(blinker.ANY)))


def _receiver(signal: blinker.Signal, listener: Listener) -> _Receiver | None:
    """Return what stands for a listener, if it is there: by equality, since ``events.append`` is new each time."""
    return next((one for one in _receivers(signal) if one.listener == listener), None)


def _name(listener: Listener) -> str:
    return f"{getattr(listener, '__module__', '?')}.{getattr(listener, '__qualname__', repr(listener))}"
