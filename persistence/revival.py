"""Plain data made into the types that an annotation names.

Data comes plain as JSON from outside, or when it lost its class on the way. A value that already fits is returned as
it is. Constructors and pydantic's validators do run here, unlike in `codec`: this is data that somebody sent. It is
user code, so it belongs in the crew.

This file must never make a value fit by losing something: text is not cut, numbers are not rounded, fields are not
dropped.
"""

from __future__ import annotations

import base64
import dataclasses
import types
import typing
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Final, Literal, NewType
from uuid import UUID

import msgspec

from ..dsl.errors import SchemaError, did_you_mean
from .classes import annotations_of, real_class, shown

__all__ = ["revive"]

_Reviver = Callable[[Any, str], Any]
"""From a value and the path to it to a value that fits; None stands for one that takes anything."""


def revive(value: object, annotation: object) -> Any:
    """Make a value fit an annotation, or return it as it is when it fits already or nothing is asked of it.

    Args:
        value: What `decode` gave, or plain data from outside.
        annotation: A type, a generic such as ``list[Order]``, a union, or anything that says nothing, such as None or
            ``Any``.

    Raises:
        SchemaError: The value does not fit; says where, what was expected and what was found.

    Example:
        >>> from datetime import date
        >>> revive({"2024-02-29": 3}, dict[date, int])
        {datetime.date(2024, 2, 29): 3}
    """
    reviver = _reviver_of(annotation)
    return value if reviver is None else reviver(value, "$")


def _misfit(path: str, expected: object, value: object) -> SchemaError:
    wanted = getattr(expected, "__qualname__", None) or str(expected)
    return SchemaError(f"{path}: expected {wanted}, got {type(value).__qualname__} {shown(value)}")


def _reviver_of(annotation: object) -> _Reviver | None:
    try:
        return _make_cached(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return _make(annotation)


def _make(annotation: Any) -> _Reviver | None:
    if annotation is Any or annotation is None or annotation is object:
        return None
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin in (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar):
        return _reviver_of(typing.get_args(annotation)[0])
    if origin is Literal:
        return _literal(typing.get_args(annotation))
    if origin is typing.Union or origin is types.UnionType:
        return _union(annotation)
    if isinstance(annotation, NewType):
        return _reviver_of(annotation.__supertype__)
    cls = origin or annotation
    if not isinstance(cls, type):
        return None  # a type variable, a forward reference, something of another library
    if typing.is_typeddict(cls):
        return _typed_dict(cls)
    return _class(cls, typing.get_args(annotation))


_make_cached = lru_cache(maxsize=4096)(_make)


def _class(cls: Any, arguments: tuple[Any, ...]) -> _Reviver | None:
    if hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_validate"):
        return _built(cls, cls.model_validate)
    if issubclass(cls, msgspec.Struct):
        return _built(cls, lambda value: msgspec.convert(value, cls, dec_hook=lambda part, item: revive(item, part)))
    if issubclass(cls, Enum):
        return _built(cls, cls)
    if issubclass(cls, tuple):
        names = getattr(cls, "_fields", None)
        return (
            _tuple(arguments)
            if names is None
            else _record(cls, dict.fromkeys(names), getattr(cls, "_field_defaults", {}))
        )
    if dataclasses.is_dataclass(cls):
        fields = [field for field in dataclasses.fields(cls) if field.init]
        optional = [field.name for field in fields if _has_default(field)]
        return _record(typing.cast("type", cls), dict.fromkeys(field.name for field in fields), optional)
    if hasattr(cls, "__attrs_attrs__"):
        given = {field.name: field for field in cls.__attrs_attrs__ if field.init}
        optional = [name for name, field in given.items() if type(field.default).__name__ != "_Nothing"]
        return _record(cls, {name: field.alias for name, field in given.items()}, optional)
    if issubclass(cls, Mapping):
        return _mapping(cls, arguments)
    if issubclass(cls, Collection) and not issubclass(cls, str | bytes | bytearray):
        return _collection(cls, arguments)
    return _scalar(cls)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _scalar(cls: type) -> _Reviver | None:
    try:
        isinstance(None, cls)
    except TypeError:  # a protocol that cannot be asked
        return None
    if cls is float:
        return lambda value, path: value if isinstance(value, float | int) else _refuse(path, cls, value)
    sources, parse = _PARSERS.get(real_class(cls), ((), None))

    def scalar(value: Any, path: str) -> Any:
        if isinstance(value, cls):
            return value
        if parse is not None and type(value) in sources:
            try:
                return parse(value)
            except (ValueError, ArithmeticError) as error:
                raise _misfit(path, cls, value) from error
        raise _misfit(path, cls, value)

    return scalar


def _refuse(path: str, expected: object, value: object) -> typing.NoReturn:
    raise _misfit(path, expected, value)


def _built(cls: type, build: Callable[[Any], Any]) -> _Reviver:
    def built(value: Any, path: str) -> Any:
        if isinstance(value, cls):
            return value
        try:
            return build(value)
        except Exception as error:  # the user's validators, and every library's own error class
            raise SchemaError(
                f"{path}: {cls.__qualname__} refused {type(value).__qualname__} {shown(value)}: {error}"
            ) from error

    return built


def _record(cls: type, names: Mapping[str, str | None], optional: Collection[str]) -> _Reviver:
    # `names` says what the constructor calls each field, where that differs.

    def record(value: Any, path: str) -> Any:
        if isinstance(value, cls):
            return value
        if issubclass(cls, tuple) and isinstance(value, list | tuple) and len(value) == len(names):
            value = dict(zip(names, value, strict=True))
        if not isinstance(value, Mapping):
            raise _misfit(path, cls, value)
        fields = _fields(value, path, cls, known=names, required=names.keys() - set(optional))
        try:
            return cls(**{names[name] or name: item for name, item in fields.items()})
        except Exception as error:  # the user's constructor
            raise SchemaError(f"{path}: {cls.__qualname__} refused these fields: {error}") from error

    return record


def _typed_dict(cls: Any) -> _Reviver:
    def typed_dict(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _misfit(path, cls, value)
        origins = {name: typing.get_origin(hint) for name, hint in annotations_of(cls).items()}
        required = [
            name
            for name, origin in origins.items()
            # Under postponed annotations the class itself has not seen these two.
            if origin is typing.Required or (name in cls.__required_keys__ and origin is not typing.NotRequired)
        ]
        fields = _fields(value, path, cls, known=origins, required=required)
        return fields if any(fields[name] is not item for name, item in value.items()) else value

    return typed_dict


def _fields(
    value: Mapping[Any, Any], path: str, cls: type, *, known: Collection[str], required: Iterable[str]
) -> dict[str, Any]:
    if unknown := [name for name in value if name not in known]:
        hint = did_you_mean(str(unknown[0]), known)
        raise SchemaError(f"{path}: {cls.__qualname__} has no field {unknown[0]!r}{hint}")
    if lacking := [name for name in required if name not in value]:
        raise SchemaError(f"{path}: {cls.__qualname__} needs the field {min(lacking)!r}")
    hints = annotations_of(cls)
    return {name: _inner(item, hints.get(name), f"{path}.{name}") for name, item in value.items()}


def _inner(value: Any, annotation: Any, path: str) -> Any:
    reviver = _reviver_of(annotation)
    return value if reviver is None else reviver(value, path)


def _literal(choices: tuple[Any, ...]) -> _Reviver:
    def literal(value: Any, path: str) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return value
            if isinstance(choice, Enum) and type(choice.value) is type(value) and choice.value == value:
                return choice
        raise _misfit(path, " or ".join(map(repr, choices)), value)

    return literal


def _union(annotation: Any) -> _Reviver | None:
    members = [None if member is Any else member for member in typing.get_args(annotation)]

    def union(value: Any, path: str) -> Any:
        errors: list[SchemaError] = []
        made: list[Any] = []
        for member in members:
            try:
                item = _inner(value, member, path)
            except SchemaError as error:
                if member is not types.NoneType:
                    errors.append(error)
                continue
            if item is value:
                return value  # one that fits already goes before one that can be made to fit
            made.append(item)
        if made:
            return made[0]
        if len(errors) == 1:
            raise errors[0]  # of something or None: where inside the something
        raise _misfit(path, annotation, value)

    return union


def _mapping(cls: Any, arguments: tuple[Any, ...]) -> _Reviver:
    of_key, of_item = (*arguments, None, None)[:2] if cls is not Counter else (*(*arguments, None)[:1], int)
    key_reviver, item_reviver = _reviver_of(of_key), _reviver_of(of_item)

    def key_of(key: Any, path: str) -> Any:
        if key_reviver is None:
            return key
        if of_key is int and isinstance(key, str) and str(_integer(key)) == key:
            return int(key)  # JSON has text for keys only
        return key_reviver(key, path)

    def mapping(value: Any, path: str) -> Any:
        if not isinstance(value, cls):
            if type(value) is not dict or cls not in (OrderedDict, Counter):
                raise _misfit(path, cls, value)
            value = cls(value)
        if key_reviver is None and item_reviver is None:
            return value
        pairs = [(key_of(key, path), _inner(item, of_item, f"{path}[{key!r}]")) for key, item in value.items()]
        if all(map(_is, pairs, value.items())):
            return value
        changed = value.copy() if isinstance(value, dict) else {}
        changed.clear()
        changed.update(pairs)
        return changed

    return mapping


def _is(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return one[0] is other[0] and one[1] is other[1]


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _collection(cls: Any, arguments: tuple[Any, ...]) -> _Reviver:
    of_item = arguments[0] if arguments else None
    item_reviver = _reviver_of(of_item)
    make = next((made for made in (list, set, frozenset, deque, tuple) if issubclass(made, cls)), None)

    def collection(value: Any, path: str) -> Any:
        if not isinstance(value, cls) or isinstance(value, str | bytes | bytearray | Mapping):
            if type(value) not in (list, tuple) or make is None:
                raise _misfit(path, cls, value)
            items, rebuild = value, make
        elif item_reviver is None or {*map(type, value)} == {of_item}:
            return value
        else:
            items, rebuild = value, value.__class__
        made = [_inner(item, of_item, f"{path}[{index}]") for index, item in enumerate(items)]
        if rebuild is value.__class__ and all(one is other for one, other in zip(made, items, strict=True)):
            return value
        result = deque(made, value.maxlen) if isinstance(value, deque) else rebuild(made)
        if len(result) != len(made):
            raise SchemaError(f"{path}: expected a {cls.__qualname__}, got repeated items")
        return result

    return collection


def _tuple(arguments: tuple[Any, ...]) -> _Reviver:
    if arguments[1:] == (Ellipsis,):
        return _collection(tuple, arguments[:1])
    if not arguments:
        return _collection(tuple, ())

    def fixed_tuple(value: Any, path: str) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise _misfit(path, f"a tuple of {len(arguments)}", value)
        made = tuple(
            _inner(item, part, f"{path}[{index}]")
            for index, (item, part) in enumerate(zip(value, arguments, strict=True))
        )
        same = isinstance(value, tuple) and all(one is other for one, other in zip(made, value, strict=True))
        return value if same else made

    return fixed_tuple


_PARSERS: Final[dict[type, tuple[tuple[type, ...], Callable[[Any], Any]]]] = {
    real_class(datetime): ((str,), real_class(datetime).fromisoformat),
    real_class(date): ((str,), real_class(date).fromisoformat),
    time: ((str,), time.fromisoformat),
    timedelta: ((int, float), lambda seconds: timedelta(seconds=seconds)),
    Decimal: ((str, int), Decimal),
    UUID: ((str,), UUID),
    bytes: ((str,), lambda text: base64.b64decode(text, validate=True)),
    bytearray: ((str,), lambda text: bytearray(base64.b64decode(text, validate=True))),
    Path: ((str,), Path),
    PurePath: ((str,), PurePath),
}
