"""What can be said of a node without asking its code: its title, its caption, its options as plain data.

Everything is read from what all nodes have in common and from the fields a node was given, so a new kind describes
itself. This file must never name a kind of node.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from enum import Enum
from typing import Any, Final

from .definition import Definition
from .graph import Body, Node

__all__ = ["caption_of", "describe", "describe_body", "function_of", "options_of", "questions_of", "title_of"]

_SAID_ALREADY: Final = frozenset({"name", "automatic"})
_OF_UNDOING: Final = frozenset({"undo_policy", "compensate_on_failure"})


def describe(definition: Definition) -> dict[str, Any]:
    """Return a whole definition as data that JSON can hold."""
    return {
        "name": definition.name,
        "version": definition.version,
        "fingerprint": definition.fingerprint,
        "input": None if definition.input_type is None else _name_of(definition.input_type),
        "timeout": definition.timeout,
        **({} if definition.pool is None else {"concurrency": _plain(definition.pool)}),
        "nodes": describe_body(definition.body),
    }


def describe_body(body: Body) -> list[dict[str, Any]]:
    """Return the nodes of a body as data that JSON can hold."""
    return [_describe_node(node) for node in body.nodes]


def _describe_node(node: Node) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": node.kind, "name": node.name, "title": title_of(node)}
    if caption := caption_of(node):
        described["caption"] = caption
    if options := options_of(node):
        described["options"] = options
    if events := node.events():
        described["waits_for"] = list(events)
    if children := node.children():
        described["starts"] = list(children)
    if node.owes():
        described["undone"] = True
    if bodies := node.bodies():
        described["inside"] = str(node.inside)
        described["bodies"] = [{"label": label, "nodes": describe_body(body)} for label, body in bodies]
    return described


def title_of(node: Node) -> str:
    """Return what a person would call the node: what it waits for or starts, the name it was given, or its kind."""
    if events := node.events():
        return ", ".join(events)
    if not node.automatic:
        return node.name.removeprefix("sub:")
    return node.kind.replace("_", " ")


def caption_of(node: Node) -> str:
    """Return the first line of what the author wrote about the node's code, or nothing."""
    for function in questions_of(node).values():
        if inspect.isroutine(function) and (text := inspect.getdoc(function)):
            return text.splitlines()[0]
    return ""


def questions_of(node: Node) -> dict[str, Callable[..., Any]]:
    """Return the user's functions that the node was given, by the name of its field."""
    given = {field.name: getattr(node, field.name) for field in fields(node)}
    return {name: value for name, value in given.items() if callable(value) and not isinstance(value, type)}


def options_of(node: Node) -> dict[str, Any]:
    """Return everything else that was said of the node, as data that JSON can hold."""
    unsaid = _SAID_ALREADY if node.owes() else _SAID_ALREADY | _OF_UNDOING
    given = {field.name: getattr(node, field.name) for field in fields(node) if field.name not in unsaid}
    return {name: _plain(value) for name, value in given.items() if value is not None and not _holds_bodies(value)}


def _holds_bodies(value: Any) -> bool:
    return isinstance(value, Body) or (isinstance(value, tuple) and any(_holds_bodies(item) for item in value))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    names = _fields_of(value)
    if names is not None:
        given = {name: getattr(value, name) for name in names}
        return {name: _plain(item) for name, item in given.items() if item is not None and item != ()}
    return _name_of(value)


def _fields_of(value: Any) -> list[str] | None:
    """Return the names of the fields of a record; None if it is none."""
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        return [field.name for field in fields(value)]
    names = getattr(value, "__struct_fields__", None)  # of msgspec
    return None if names is None else list(names)


def _name_of(value: Any) -> str:
    """Return the name under which a function or type can be found; never its address."""
    function = function_of(value)
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}.{function.__qualname__}".removeprefix("builtins.")
    if isinstance(value, type) or getattr(value, "__module__", None) == "typing" or hasattr(value, "__origin__"):
        return str(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def function_of(value: Any) -> Any:
    """Return the function behind wrappers, bound methods and partial calls."""
    value = inspect.unwrap(value) if callable(value) else value
    while hasattr(value, "func"):  # a partial call
        value = value.func
    return getattr(value, "__func__", value)
