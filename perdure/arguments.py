"""What callers hand to an engine, checked and brought into the form the rooms below it work with.

Whatever is wrong is a `UsageError` that names the argument. This file must never look at a run or open anything.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from .actors import clock
from .actors.bus import Listener
from .dsl import policies
from .dsl.errors import DefinitionError, InvalidPayload, NotStorable, SchemaError, UsageError, did_you_mean
from .dsl.events import EVENT_TYPES, Event
from .dsl.names import check_name
from .dsl.policies import Duration
from .dsl.states import FINAL, State
from .persistence import codec
from .persistence.places import is_server

__all__ = [
    "check_choice",
    "check_count",
    "check_executors",
    "check_fine_points",
    "check_id",
    "check_listener",
    "check_page",
    "check_patience",
    "check_seconds",
    "check_text",
    "encode",
    "encode_tags",
    "event_class",
    "final_states",
    "instant",
    "locate",
    "locate_shared",
    "microseconds",
    "of_a_call",
    "start_time",
    "state_named",
    "states_named",
]

_LONGEST_PAGE = 1000
_MOST_ROWS = 2**63
_LONGEST_PATIENCE = 366 * 24 * 3600


@contextmanager
def of_a_call() -> Iterator[None]:
    """Say of a call what is said of a definition when its words are checked."""
    try:
        yield
    except DefinitionError as error:
        raise UsageError(str(error)) from None


def check_count(value: int, what: str) -> None:
    """Refuse what is not a whole number of at least 1."""
    with of_a_call():
        policies.check_count(value, what)


def check_choice(value: Any, choices: Any, what: str) -> Any:
    """Return the value if it is one of those that a ``Literal`` allows."""
    with of_a_call():
        return policies.check_choice(value, choices, what)


def check_fine_points(
    seed: int | None, switch_interval: float | None, queue_name: str | None, on_event: Listener | None
) -> None:
    """Refuse what an engine can make nothing of, before it has opened anything."""
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        msg = f"seed must be a whole number, got {seed!r}"
        raise UsageError(msg)
    if switch_interval is not None and not (isinstance(switch_interval, (int, float)) and switch_interval > 0):
        msg = f"switch_interval must be seconds, more than zero, got {switch_interval!r}"
        raise UsageError(msg)
    if queue_name is not None:
        check_text(queue_name, "queue_name")
    if on_event is not None:
        check_listener(on_event)


def check_executors(executors: Mapping[str, Any] | None) -> None:
    """Refuse what are no executors by name, nor functions that make them."""
    if executors is None:
        return
    if not isinstance(executors, Mapping):
        msg = f"executors must be a mapping such as {{'gpu': executor}}, got {executors!r}"
        raise UsageError(msg)
    for name, executor in executors.items():
        check_text(name, "the name of an executor")
        if not isinstance(executor, Executor) and not callable(executor):
            msg = f"executor {name!r} must be an executor of concurrent.futures, or make one, got {executor!r}"
            raise UsageError(msg)


def check_text(value: str, what: str) -> str:
    """Return the value if it is a text that is not empty and can be written to a database."""
    if not isinstance(value, str) or not value:
        msg = f"{what} must be a text that is not empty, got {value!r}"
        raise UsageError(msg)
    try:
        value.encode()
    except UnicodeEncodeError:
        msg = f"{what} holds half of a character, as text does that was decoded wrongly: {value[:40]!r}"
        raise UsageError(msg) from None
    if "\0" in value:
        msg = f"{what} holds the character NUL, which not every database can keep: {value[:40]!r}"
        raise UsageError(msg)
    return str.__str__(value)  # a text of a class of its own is one, too, but not to every encoder


def check_patience(timeout: float | None) -> float | None:
    """Return for how many real seconds a caller will wait; None for ever."""
    if timeout is None:
        return None
    if check_seconds(timeout, "timeout") > _LONGEST_PATIENCE:
        msg = f"timeout: {timeout!r} seconds is more than a year; were milliseconds meant? None waits for ever"
        raise UsageError(msg)
    return timeout


def check_seconds(value: float, what: str) -> float:
    """Return the value if it is so many real seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        msg = f"{what} must be real seconds, zero or more, got {value!r}"
        raise UsageError(msg)
    return value


def check_page(limit: int, offset: int) -> None:
    """Refuse a page that is too long, or begins before the first row."""
    whole = isinstance(limit, int) and isinstance(offset, int)
    if not whole or not 1 <= limit <= _LONGEST_PAGE or not 0 <= offset < _MOST_ROWS:
        msg = f"limit must be 1 to {_LONGEST_PAGE} and offset 0 or more, got {limit!r} and {offset!r}"
        raise UsageError(msg)


def check_id(id: str) -> str:
    """Return the id if a run may have it: not empty, not too long, and printable."""
    with of_a_call():
        return check_name(id, "run id") if not isinstance(id, str) or not id.startswith(("__", "sub:")) else id


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
    if sum(given is not None for given in (path, data_path, connection)) > 1:
        msg = "give the database once: as path, as data_path or as connection"
        raise UsageError(msg)
    location = _server(connection) if connection is not None else path if path is not None else data_path
    if is_server(location if isinstance(location, str) else None):
        return str(location)
    if isinstance(location, str) and "://" in location:
        msg = f"runs are kept in a SQLite file or on a PostgreSQL server, postgresql://…, not in {location!r}"
        raise UsageError(msg)
    if not embedded:
        msg = "embedded=False needs a server: give it as postgresql://… or as connection={'host': …, 'database': …}"
        raise UsageError(msg)
    if location is None or location == ":memory:":
        return None
    try:
        file = os.fsdecode(location)
    except TypeError:
        msg = f"the database must be a path, not {location!r}"
        raise UsageError(msg) from None
    if "\0" in file:
        msg = f"the database must be a path, which has no NUL, not {location!r}"
        raise UsageError(msg)
    return file


def locate_shared(path: str | os.PathLike[str]) -> str:
    """Return where a database is that others than its own engine can open."""
    location = locate(path, None, None, embedded=True)
    if location is None:
        msg = f"{path!r} is seen by its own engine only: give the path of a file, or the URL of a server"
        raise UsageError(msg)
    return location


_SERVER_KEYS: Final = {"db": "dbname", "database": "dbname", "username": "user"}


def _server(connection: Mapping[str, Any]) -> str:
    """Return the URL of a server that was given in parts."""
    if not isinstance(connection, Mapping) or not all(isinstance(key, str) for key in connection):
        msg = "connection must be a mapping such as {'host': 'db', 'port': 5432, 'database': 'app', 'user': 'app'}"
        raise UsageError(msg)
    parts = {_SERVER_KEYS.get(key, key): str(value) for key, value in connection.items() if value is not None}
    user, database = (quote(parts.pop(key, ""), safe="") for key in ("user", "dbname"))
    return f"postgresql://{user}{'@' if user else ''}/{database}?{urlencode(parts, quote_via=quote)}"


def state_named(name: str) -> State:
    """Return the state of this name."""
    try:
        return State(name)
    except ValueError:
        msg = f"there is no state {name!r}{did_you_mean(str(name), list(State))}"
        raise UsageError(msg) from None


def states_named(names: str | Collection[str], what: str) -> frozenset[State]:
    """Return the states of these names, of which there must be one at least."""
    if isinstance(names, str):
        return frozenset((state_named(names),))
    if not isinstance(names, Collection) or not names:
        msg = f"{what} must be the name of a state or several, got {names!r}"
        raise UsageError(msg)
    return frozenset(map(state_named, names))


def final_states(names: str | Collection[str] | None) -> frozenset[str]:
    """Return the names of these final states, or of all: what is to be removed must have ended."""
    chosen = FINAL if names is None else states_named(names, "states")
    if living := chosen - FINAL:
        msg = f"only finished runs can be removed, not those that are {', '.join(sorted(living))}; cancel them first"
        raise UsageError(msg)
    return frozenset(map(str, chosen))


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


def encode_tags(tags: Mapping[str, Any]) -> str:
    """Return a run's tags as they are stored."""
    if not isinstance(tags, Mapping):
        msg = f"tags must be a mapping such as {{'customer': 7}}, got {tags!r}"
        raise UsageError(msg)
    for name in tags:
        check_text(name, "the name of a tag")
    return encode(dict(tags), None, "tags")


def microseconds(duration: Duration, what: str, *, positive: bool = False) -> int:
    """Return a duration in microseconds."""
    with of_a_call():
        return round(policies.seconds(duration, what, positive=positive) * 1_000_000)


def instant(value: datetime, what: str) -> int:
    """Return a point in time in microseconds."""
    if not isinstance(value, datetime):
        msg = f"{what} must be a datetime with a time zone, got {value!r}"
        raise UsageError(msg)
    if value.tzinfo is None:
        msg = f"{what}={value!r} has no time zone; say which, for example timezone.utc"
        raise UsageError(msg)
    return clock.to_micros(value)


def start_time(delay: Duration | None, at: datetime | None) -> int | None:
    """Return when a run begins whose start is put off, in microseconds."""
    if delay is not None and at is not None:
        msg = "give delay or at, not both"
        raise UsageError(msg)
    if at is not None:
        return instant(at, "at")
    return None if delay is None else clock.micros() + microseconds(delay, "delay")
