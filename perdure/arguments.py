"""What callers hand to an engine, checked and brought into the form the rooms below it work with.

Whatever is wrong is a `UsageError` that names the argument. This file must never look at a run or open anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from .actors import clock
from .actors.bus import Listener
from .dsl.errors import DefinitionError, InvalidPayload, NotStorable, SchemaError, UsageError, did_you_mean
from .dsl.events import EVENT_TYPES, Event
from .dsl.names import check_name
from .dsl.policies import Duration, seconds
from .dsl.states import State
from .persistence import codec

__all__ = [
    "IfExists",
    "StartOptions",
    "check_count",
    "check_id",
    "check_listener",
    "encode",
    "event_class",
    "locate",
    "start_time",
    "state_named",
]

IfExists = Literal["return", "reject"]


class StartOptions(TypedDict, total=False):
    """Keywords of `Engine.start`."""

    id: str | None
    key: str | None
    version: str | None
    delay: Duration | None
    at: datetime | None
    tags: Mapping[str, Any] | None
    if_exists: IfExists


def check_count(value: int, what: str) -> None:
    """Refuse what is not a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{what} must be a whole number of at least 1, got {value!r}"
        raise UsageError(msg)


def check_id(id: str) -> str:
    """Return the id if a run may have it: not empty, not too long, and printable."""
    try:
        return check_name(id, "run id") if not isinstance(id, str) or not id.startswith(("__", "sub:")) else id
    except DefinitionError as error:
        raise UsageError(str(error)) from None


def check_listener(listener: Listener) -> Listener:
    """Return the listener if it can be called."""
    if not callable(listener):
        msg = f"a listener must be callable, not {listener!r}"
        raise UsageError(msg)
    return listener


def locate(
    path: str | os.PathLike[str] | None,
    data_path: str | os.PathLike[str] | None,
    connection: Mapping[str, Any] | None,
    *,
    embedded: bool,
) -> str | None:
    """Return where the database is, under whichever name it was given; None for a temporary file."""
    if path is not None and data_path is not None:
        msg = "give the database as path or as data_path, not both"
        raise UsageError(msg)
    location = path if path is not None else data_path
    if connection is not None or not embedded or (isinstance(location, str) and "://" in location):
        msg = "this version keeps runs in a SQLite file; database servers are not supported yet"
        raise UsageError(msg)
    if location is None or location == ":memory:":
        return None
    try:
        return os.fspath(location)
    except TypeError:
        msg = f"the database must be a path, not {location!r}"
        raise UsageError(msg) from None


def state_named(name: str) -> State:
    """Return the state of this name."""
    try:
        return State(name)
    except ValueError:
        msg = f"there is no state {name!r}{did_you_mean(str(name), list(State))}"
        raise UsageError(msg) from None


def event_class(event: type[Event] | str) -> type[Event]:
    """Return the class of an event given by its class or its type's name."""
    if isinstance(event, type) and issubclass(event, Event) and event.type:
        return event
    if isinstance(event, str) and event in EVENT_TYPES:
        return EVENT_TYPES[event]
    msg = f"there is no event {event!r}{did_you_mean(str(event), EVENT_TYPES)}"
    raise UsageError(msg)


def encode(value: Any, annotation: Any, what: str) -> str:
    """Return the value as it is stored, once it fits its type; `InvalidPayload` otherwise."""
    try:
        return codec.encode(codec.revive(value, annotation))
    except (NotStorable, SchemaError) as error:
        msg = f"{what}: {error}"
        raise InvalidPayload(msg) from error


def start_time(delay: Duration | None, at: datetime | None) -> int | None:
    """Return when a run begins whose start is put off, in microseconds."""
    if delay is not None and at is not None:
        msg = "give delay or at, not both"
        raise UsageError(msg)
    if at is not None:
        if at.tzinfo is None:
            msg = f"at={at!r} has no time zone; say which, for example timezone.utc"
            raise UsageError(msg)
        return clock.to_micros(at)
    if delay is None:
        return None
    try:
        return clock.micros() + round(seconds(delay, "delay") * 1_000_000)
    except DefinitionError as error:
        raise UsageError(str(error)) from None
