"""The tags: how values that JSON does not know are written in it, and read back.

A tag is an object whose only key begins with ``$``, such as ``{"$decimal": "19.90"}``; they are the rows of two tables
at the end of this file. A user's own dictionary that looks like a tag, or has other keys than text, is written as
``{"$map": [[key, value], ...]}``, so nothing can be mistaken for a tag.

What has no row in the tables is refused. Subclasses of the plain types are refused too: they would come back as
something else.

This file must never import, call or look up anything that a text names: see `classes` for how instances are rebuilt.
"""

from __future__ import annotations

import base64
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from math import isfinite
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from ..dsl.errors import NotStorable
from .classes import build_instance, build_member, is_known, qualified_name, real_class, shape_of, shown

__all__ = ["MAX_DEPTH", "PRINTABLE_BITS", "pack", "unpack"]

MAX_DEPTH: Final = 100
"""Deepest nesting of containers that is stored. Both directions recurse, on threads whose stacks are partly used up."""

PRINTABLE_BITS: Final = 2000
"""Fewer digits than the lowest limit an interpreter can set for printing integers; hexadecimal has no limit."""

_UNKNOWN: Final = (
    "is of a class that this workflow does not name, so it would come back as plain data after a restart: annotate the"
    " function that returns it, or decorate the class with perdure.register_type"
)
_to_json: Final = msgspec.json.Encoder().encode

# To JSON's types -----------------------------------------------------------------------------------------------------

_Trail = tuple[Any, object] | None
"""Where the walk is: the container's trail, and the key or index inside it. Rendered only for a refusal."""

_Packer = Callable[[Any, _Trail, int], object]


def pack(value: object, trail: _Trail = None, depth: int = 0) -> object:
    """Turn a value into one of JSON's types.

    Args:
        value: Any value.
        trail: Where it stands.
        depth: How deep that is.

    Raises:
        NotStorable: Something inside the value has no tag, or is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise _refusal(value, trail, f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
    kind = type(value)
    packer = _PACKERS.get(kind)
    if packer is not None:
        return packer(value, trail, depth)
    if isinstance(value, Enum):
        return {"$enum": _pack_member(value, trail, depth)}
    if kind.__module__.startswith("freezegun"):
        return _PACKERS[real_class(kind)](value, trail, depth)
    return {"$object": _pack_instance(value, trail, depth)}


def _pack_member(value: Enum, trail: _Trail, depth: int) -> list[object]:
    kind = type(value)
    packed = pack(value.value, (trail, "value"), depth + 1)
    try:
        found = kind(unpack(packed))
    except ValueError:
        found = None
    if found is not value:
        raise _refusal(value, trail, "is an enum's member that its stored value does not lead back to")
    if not is_known(kind):
        raise _refusal(value, trail, _UNKNOWN)
    return [qualified_name(kind), packed]


def _pack_instance(value: object, trail: _Trail, depth: int) -> list[object]:
    shape = shape_of(type(value))
    if shape is None:
        raise _refusal(value, trail)
    if not is_known(shape.cls):
        raise _refusal(value, trail, _UNKNOWN)
    try:
        fields, rest = shape.take_apart(value)
    except ValueError as error:
        raise _refusal(value, trail, str(error)) from error
    body: list[object] = [shape.name, _pack_mapping(fields, trail, depth)]
    if rest:
        body.append(_pack_mapping(rest, trail, depth))
    return body


def _pack_mapping(fields: Mapping[str, object], trail: _Trail, depth: int) -> dict[str, object]:
    return {name: pack(item, (trail, name), depth + 1) for name, item in fields.items()}


def _refusal(value: object, trail: _Trail, why: str = "is not a storable type") -> NotStorable:
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        if isinstance(step, str) and step.isidentifier():
            steps.append(f".{step}")
        else:
            steps.append(f"[{shown(step)}]")
    return NotStorable("$" + "".join(reversed(steps)), qualified_name(type(value)).replace(":", "."), why)


def _pack_scalar(value: object, trail: _Trail, depth: int) -> object:
    return value


def _pack_str(value: str, trail: _Trail, depth: int) -> object:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, as in undecodable file names
        return {"$str": _base64(value.encode("utf-8", "surrogatepass"))}
    return value


def _pack_int(value: int, trail: _Trail, depth: int) -> object:
    return value if value.bit_length() <= PRINTABLE_BITS else {"$int": hex(value)}


def _pack_float(value: float, trail: _Trail, depth: int) -> object:
    return value if isfinite(value) else {"$float": repr(value)}


def _pack_list(value: Iterable[object], trail: _Trail, depth: int) -> list[object]:
    return [pack(item, (trail, index), depth + 1) for index, item in enumerate(value)]


def _pack_set(value: Iterable[object], trail: _Trail, depth: int) -> list[object]:
    # Sorted, so that equal sets give equal texts in every process.
    return sorted(_pack_list(value, trail, depth), key=_to_json)


def _pack_dict(value: dict[Any, Any], trail: _Trail, depth: int) -> object:
    for key in value:
        if type(key) is not str or (key[:1] == "$" and len(value) == 1) or _pack_str(key, trail, depth) is not key:
            return {"$map": _pack_pairs(value, trail, depth)}
    return _pack_mapping(value, trail, depth)


def _pack_pairs(value: dict[Any, Any], trail: _Trail, depth: int) -> list[object]:
    return [
        [pack(key, (trail, key), depth + 1), pack(item, (trail, key), depth + 1)]  # a bad key is named by itself
        for key, item in value.items()
    ]


def _pack_defaultdict(value: defaultdict[Any, Any], trail: _Trail, depth: int) -> object:
    for name, factory in _FACTORIES.items():
        if value.default_factory is factory:
            return [name, _pack_pairs(value, trail, depth)]
    raise _refusal(value, trail, f"has a default_factory other than {', '.join(map(str, _FACTORIES))}")


def _pack_deque(value: deque[Any], trail: _Trail, depth: int) -> object:
    return [value.maxlen, _pack_list(value, trail, depth)]


def _pack_moment(value: datetime | time, trail: _Trail, depth: int) -> object:
    zone = value.tzinfo
    named: object = None
    if type(zone) is timezone:
        # What it was made with: an offset, and a name if one was given. Nothing else tells a given name from a
        # derived one.
        offset, *given = zone.__getinitargs__()  # type: ignore[attr-defined]
        if given:
            named = [_pack_timedelta(offset, trail, depth), given[0]]
    elif type(zone) is ZoneInfo and zone.key is not None:
        named = zone.key
    elif zone is not None:
        raise _refusal(value, trail, f"has a time zone of a type that is not storable: {qualified_name(type(zone))}")
    if named is None and not value.fold:
        return value.isoformat()
    if named is not None:
        value = value.replace(tzinfo=None)
    return [value.replace(fold=0).isoformat(), named, value.fold]


def _pack_timedelta(value: timedelta, trail: _Trail, depth: int) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _pack_path(value: PurePath, trail: _Trail, depth: int) -> object:
    return [type(value).__name__, _pack_str(str(value), trail, depth)]


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _tagged(tag: str, packer: _Packer) -> _Packer:
    return lambda value, trail, depth: {tag: packer(value, trail, depth)}


# Back from JSON's types ----------------------------------------------------------------------------------------------


def unpack(tree: Any) -> Any:
    """Turn what `pack` made back into the value it was made from."""
    if type(tree) is dict:
        if len(tree) == 1:
            ((key, body),) = tree.items()
            if key[:1] == "$":
                return _UNPACKERS[key](body)
        return {key: unpack(item) for key, item in tree.items()}
    if type(tree) is list:
        return [unpack(item) for item in tree]
    return tree


def _unpack_pairs(body: list[Any], make: Callable[[Any], Any] = dict) -> Any:
    pairs = [(unpack(key), unpack(item)) for key, item in body]
    try:
        return make(pairs)
    except TypeError:  # a key of a class that is not registered here: readable all the same
        return [list(pair) for pair in pairs]


def _unpack_set(body: list[Any], make: Callable[[Any], Any] = set) -> Any:
    items = unpack(body)
    try:
        return make(items)
    except TypeError:  # as above
        return items


def _unpack_moment(body: Any, parse: Callable[[str], Any]) -> Any:
    if isinstance(body, str):
        return parse(body)
    text, named, fold = body
    moment = parse(text)
    if isinstance(named, str):
        moment = moment.replace(tzinfo=ZoneInfo(named))
    elif named is not None:
        moment = moment.replace(tzinfo=timezone(timedelta(*named[0]), named[1]))
    return moment.replace(fold=fold)


def _unpack_path(body: list[Any]) -> PurePath:
    name, text = body
    return _PATHS[name](unpack(text))


def _unpack_instance(body: list[Any]) -> object:
    name, fields, *rest = body
    return build_instance(
        name,
        {field: unpack(item) for field, item in fields.items()},
        {part: unpack(item) for part, item in rest[0].items()} if rest else {},
    )


# The tables ----------------------------------------------------------------------------------------------------------
# freezegun swaps the names in modules, never the contents of tables: the real classes are kept here.

_FACTORIES: Final[dict[str | None, Any]] = {
    None: None,
    **{factory.__name__: factory for factory in (bool, int, float, str, list, tuple, dict, set)},
}

_PATHS: Final[dict[str, Callable[[str], PurePath]]] = {
    "PurePosixPath": PurePosixPath,
    "PureWindowsPath": PureWindowsPath,
    # A path of the other kind of system cannot exist here: its pure form can.
    "PosixPath": PosixPath if issubclass(PosixPath, type(Path())) else PurePosixPath,
    "WindowsPath": WindowsPath if issubclass(WindowsPath, type(Path())) else PureWindowsPath,
}

_PACKERS: Final[dict[type, _Packer]] = {
    type(None): _pack_scalar,
    bool: _pack_scalar,
    str: _pack_str,
    int: _pack_int,
    float: _pack_float,
    list: _pack_list,
    dict: _pack_dict,
    tuple: _tagged("$tuple", _pack_list),
    set: _tagged("$set", _pack_set),
    frozenset: _tagged("$frozenset", _pack_set),
    deque: _tagged("$deque", _pack_deque),
    OrderedDict: _tagged("$ordered", _pack_pairs),
    Counter: _tagged("$counter", _pack_pairs),
    defaultdict: _tagged("$defaultdict", _pack_defaultdict),
    bytes: _tagged("$bytes", lambda value, trail, depth: _base64(value)),
    bytearray: _tagged("$bytearray", lambda value, trail, depth: _base64(value)),
    Decimal: _tagged("$decimal", lambda value, trail, depth: str(value)),
    UUID: _tagged("$uuid", lambda value, trail, depth: str(value)),
    real_class(datetime): _tagged("$datetime", _pack_moment),
    real_class(date): _tagged("$date", lambda value, trail, depth: value.isoformat()),
    time: _tagged("$time", _pack_moment),
    timedelta: _tagged("$timedelta", _pack_timedelta),
    **dict.fromkeys((PosixPath, WindowsPath, PurePosixPath, PureWindowsPath), _tagged("$path", _pack_path)),
}

_UNPACKERS: Final[dict[str, Callable[[Any], Any]]] = {
    "$str": lambda body: base64.b64decode(body).decode("utf-8", "surrogatepass"),
    "$int": lambda body: int(body, 16),
    "$float": float,
    "$map": _unpack_pairs,
    "$tuple": lambda body: tuple(unpack(body)),
    "$set": _unpack_set,
    "$frozenset": lambda body: _unpack_set(body, frozenset),
    "$deque": lambda body: deque(unpack(body[1]), body[0]),
    "$ordered": lambda body: _unpack_pairs(body, OrderedDict),
    "$counter": lambda body: _unpack_pairs(body, lambda pairs: Counter(dict(pairs))),
    "$defaultdict": lambda body: _unpack_pairs(body[1], partial(defaultdict, _FACTORIES[body[0]])),
    "$bytes": base64.b64decode,
    "$bytearray": lambda body: bytearray(base64.b64decode(body)),
    "$decimal": Decimal,
    "$uuid": UUID,
    "$datetime": partial(_unpack_moment, parse=real_class(datetime).fromisoformat),
    "$date": real_class(date).fromisoformat,
    "$time": partial(_unpack_moment, parse=time.fromisoformat),
    "$timedelta": lambda body: timedelta(*body),
    "$path": _unpack_path,
    "$enum": lambda body: build_member(body[0], unpack(body[1])),
    "$object": _unpack_instance,
}
