"""What callers say of a run they want started, checked and put into a letter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypedDict, Unpack

from . import arguments
from .actors import clock
from .actors.starting import IfExists, Start
from .dsl.definition import Definition
from .dsl.errors import UsageError
from .dsl.messages import Signalled
from .dsl.policies import Duration
from .dsl.workflow import Workflow
from .registry import Registry

__all__ = ["ClientStartOptions", "IfExists", "StartOptions", "check_known", "request_for", "start_request"]

_MOST_URGENT: Final = 1000
_NOT_DEBOUNCED: Final = ("id", "delay", "at", "key_ttl", "if_exists", "tx")


class ClientStartOptions(TypedDict, total=False):
    """Keywords of `Client.start`."""

    id: str | None
    key: str | None
    key_ttl: Duration | None
    version: str | None
    delay: Duration | None
    at: datetime | None
    tags: Mapping[str, Any] | None
    business_key: str | None
    if_exists: IfExists
    priority: int


class StartOptions(ClientStartOptions, total=False):
    """Keywords of `Engine.start`."""

    debounce: Duration | None
    tx: Any


def check_known(options: Mapping[str, Any], known: type) -> None:
    """Refuse a keyword that is none of these, as a function does that lists them."""
    if unknown := options.keys() - known.__annotations__.keys():
        msg = f"got an unexpected keyword argument {min(unknown)!r}"
        raise TypeError(msg)


def start_request(
    registry: Registry,
    workflow: str | Workflow[Any, Any],
    input: Any,
    new_id: str,
    signal: Signalled | None = None,
    **options: Unpack[StartOptions],
) -> Start:
    """Return the letter that starts a run.

    Raises:
        UsageError: an option is wrong.
        UnknownWorkflow: it, or a sub-workflow it needs, is not registered.
        InvalidPayload: the input does not fit its type or cannot be stored.
    """
    definition = _definition(registry, workflow, options.get("version"))
    return request_for(workflow, input, new_id, input_type=definition.input_type, signal=signal, **options)


def request_for(
    workflow: str | Workflow[Any, Any],
    input: Any,
    new_id: str,
    *,
    input_type: Any,
    signal: Signalled | None = None,
    **options: Unpack[StartOptions],
) -> Start:
    """Return the letter that starts a run of a workflow of which no more need be known than its name.

    Raises:
        UsageError: an option is wrong.
        InvalidPayload: the input does not fit its type or cannot be stored.
    """
    name = workflow.name if isinstance(workflow, Workflow) else workflow
    tags, key = options.get("tags"), options.get("key")
    for option in ("key", "business_key"):
        if (text := options.get(option)) is not None:
            arguments.check_text(text, option)  # type: ignore[arg-type]  # checked here
    if (chosen := options.get("id")) is not None:
        arguments.check_id(chosen)
    return Start(
        name,
        arguments.encode(input, input_type, f"the input of workflow {name!r}"),
        chosen or new_id,
        version=options.get("version") or (workflow.version if isinstance(workflow, Workflow) else None),
        execution_id=chosen,
        key=key,
        key_until=_key_until(key, options.get("key_ttl")),
        start_at=_start_at(options),
        debounced=options.get("debounce") is not None,
        tags=None if tags is None else arguments.encode_tags(tags),
        business_key=options.get("business_key"),
        if_exists=arguments.check_choice(options.get("if_exists", "return"), IfExists, "if_exists"),
        priority=_priority(options.get("priority", 0)),
        signal=signal,
    )


def _definition(registry: Registry, workflow: str | Workflow[Any, Any], version: str | None) -> Definition:
    name = workflow.name if isinstance(workflow, Workflow) else workflow
    if version is not None:
        arguments.check_text(version, "version")
    elif isinstance(workflow, Workflow):
        version = workflow.version
    return registry.startable(name, version)


def _start_at(options: StartOptions) -> int | None:
    debounce = options.get("debounce")
    if debounce is None:
        return arguments.start_time(options.get("delay"), options.get("at"))
    if options.get("key") is None:
        msg = "debounce needs key: it says which starts belong together"
        raise UsageError(msg)
    if others := [name for name in _NOT_DEBOUNCED if options.get(name) not in (None, "return")]:
        msg = f"debounce and {others[0]} contradict each other: give one of them"
        raise UsageError(msg)
    return clock.micros() + arguments.microseconds(debounce, "debounce")


def _priority(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST_URGENT:
        msg = f"priority must be a whole number from -{_MOST_URGENT} to {_MOST_URGENT}, more is sooner; got {value!r}"
        raise UsageError(msg)
    return int(value)


def _key_until(key: str | None, ttl: Duration | None) -> int | None:
    if ttl is None:
        return None
    if key is None:
        msg = "key_ttl says how long a key is kept: give key as well"
        raise UsageError(msg)
    return clock.micros() + arguments.microseconds(ttl, "key_ttl")
