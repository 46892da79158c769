"""Anything that can check a value, made into one callable.

Accepted, first match wins: a pydantic model or ``TypeAdapter``, a marshmallow schema, a jsonschema validator, anything
with ``.parse``, a type that msgspec can convert to (its own structs, dataclasses, attrs classes, ``dict[str, int]``),
any callable. What the checker returns replaces the value; one that returns nothing only asserts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
        return partial(_asserted, validate)
    if callable(parse := getattr(schema, "parse", None)):
        return partial(_checked, parse)
    if isinstance(schema, type) or get_origin(schema) is not None:
        return partial(_converted, schema)
    if callable(schema):
        return partial(_checked, schema)
    msg = f"{what}: {schema!r} is no schema: expected a type, a callable, or an object with parse()"
    raise DefinitionError(msg)


# Partial calls of these, and no closures: they go with a handler to other processes.


def _asserted(check: Schema, value: Any) -> Any:
    check(value)
    return value


def _checked(check: Schema, value: Any) -> Any:
    result = check(value)
    return value if result is None else result


def _converted(target: Any, value: Any) -> Any:
    import msgspec

    if isinstance(target, type) and isinstance(value, target):
        return value
    return msgspec.convert(value, target)
