"""Anything that can check a value, made into one callable.

Accepted, first match wins: a pydantic model or ``TypeAdapter``, a marshmallow schema, a jsonschema validator, anything
with ``.parse``, a type that msgspec can convert to (its own structs, dataclasses, attrs classes, ``dict[str, int]``),
any callable. What the checker returns replaces the value; one that returns nothing only asserts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_origin

from .errors import DefinitionError

__all__ = ["as_schema"]

Schema = Callable[[Any], Any]


def as_schema(schema: Any, what: str) -> Schema | None:
    """Return a callable that checks a value, or None when there is nothing to check.

    Raises:
        DefinitionError: the object is none of the accepted kinds.
    """
    if schema is None:
        return None
    for method in ("model_validate", "validate_python"):
        check: Schema | None = getattr(schema, method, None)
        if callable(check):
            return check
    load: Schema | None = getattr(schema, "load", None)
    if callable(load) and hasattr(schema, "fields"):
        return load
    if callable(validate := getattr(schema, "validate", None)) and hasattr(schema, "iter_errors"):
        return _assert(validate)
    if callable(parse := getattr(schema, "parse", None)):
        return _keep_if_none(parse)
    if isinstance(schema, type) or get_origin(schema) is not None:
        return _converter(schema)
    if callable(schema):
        return _keep_if_none(schema)
    msg = f"{what}: {schema!r} is no schema: expected a type, a callable, or an object with parse()"
    raise DefinitionError(msg)


def _assert(check: Schema) -> Schema:
    def checked(value: Any) -> Any:
        check(value)
        return value

    return checked


def _keep_if_none(check: Schema) -> Schema:
    def checked(value: Any) -> Any:
        result = check(value)
        return value if result is None else result

    return checked


def _converter(target: Any) -> Schema:
    import msgspec

    def checked(value: Any) -> Any:
        if isinstance(target, type) and isinstance(value, target):
            return value
        return msgspec.convert(value, target)

    return checked
