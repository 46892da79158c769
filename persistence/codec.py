"""How values become text and come back: exactly as they were, or not at all.

Plain values (``str``, ``int``, finite ``float``, ``bool``, ``None``, ``list``, ``dict`` with ``str`` keys) are JSON
as it stands: a quick walk tells them, and msgspec writes them. Everything else goes through the closed set of `tags`,
and what has no tag is refused with `NotStorable`, which names the place and the type.

This file must never import, call or look up anything that a text names: see `classes` for how instances are rebuilt.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..dsl.errors import SchemaError, StoreCorrupt
from .classes import register_type
from .revival import revive
from .tags import MAX_DEPTH, PRINTABLE_BITS, pack, unpack

__all__ = ["MAX_DEPTH", "decode", "encode", "entries", "register_type", "revive", "split"]

_LARGE: Final = 1 << PRINTABLE_BITS
_to_json: Final = msgspec.json.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode
_elements_of: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_entries_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_pairs_of: Final = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode


def encode(value: object) -> str:
    """Turn a value into text from which `decode` makes the same value again.

    Args:
        value: Any value of the closed set of storable types.

    Raises:
        NotStorable: Something inside the value would not come back exactly; says where and of which type.
    """
    kind = type(value)
    if (
        _is_plain_dict(value, 0)  # type: ignore[arg-type]  # told by its exact type, which mypy does not narrow by
        if kind is dict
        else _is_plain_list(value, 0)  # type: ignore[arg-type]
        if kind is list
        else kind is str or value is None or kind is bool or (kind is int and -_LARGE < value < _LARGE)  # type: ignore[operator]
    ):
        try:
            return _to_json(value).decode()
        except ValueError:  # a lone surrogate, which has a tag
            pass
    return _to_json(pack(value)).decode()


def decode(text: str) -> object:
    """Turn text made by `encode` into the value it was made from.

    Instances of classes that are not registered here come back as plain data: fields as a dictionary, an enum's
    member as its value (see `register_type`).

    Raises:
        StoreCorrupt: The text is not of the codec's form.
    """
    try:
        tree = _from_json(text)
        # The encoder writes no spaces, so a tag cannot hide; a string that contains these characters costs a walk, no
        # more.
        return unpack(tree) if '{"$' in text else tree
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        OSError,
        msgspec.MsgspecError,
    ) as error:
        raise StoreCorrupt(f"a stored value cannot be read: {error!r}; the text begins {text[:80]!r}") from error


def split(text: str) -> list[str]:
    """Cut an encoded list or tuple into its elements, each encoded, without decoding them.

    Raises:
        SchemaError: The text is an encoded value of another type.
    """
    inner = text[len('{"$tuple":') : -1] if text.startswith('{"$tuple":') else text
    if not inner.startswith("["):
        raise SchemaError(f"expected an encoded list or tuple, got {text[:40]!r}")
    return [str(element, "utf-8") for element in _elements_of(inner)]


def entries(text: str) -> dict[str, str]:
    """Cut an encoded mapping of names into its values, each encoded, without decoding them.

    Raises:
        SchemaError: The text is an encoded value of another type.
    """
    tagged = text.startswith('{"$map":')  # what a mapping looks like whose only name would look like a tag
    if not text.startswith("{"):
        raise SchemaError(f"expected an encoded mapping, got {text[:40]!r}")
    found = _pairs_of(text[len('{"$map":') : -1]) if tagged else list(_entries_of(text).items())
    return {name: str(value, "utf-8") for name, value in found}


# The quick walk ------------------------------------------------------------------------------------------------------
# Two functions that differ in their first lines only: a shared one costs 15 % of a value that every step pays for.


def _is_plain_dict(value: dict[Any, Any], depth: int) -> bool:  # noqa: C901  # flat, because it is walked most
    if depth >= MAX_DEPTH:
        return False
    key = ""
    for key, item in value.items():
        if type(key) is str:
            kind = type(item)
            if kind is str or (kind is int and -_LARGE < item < _LARGE):
                continue
            if kind is float:
                if item - item == 0.0:  # not so for NaN and the infinities
                    continue
            elif kind is dict:
                if _is_plain_dict(item, depth + 1):
                    continue
            elif kind is list:
                if _is_plain_list(item, depth + 1):
                    continue
            elif item is None or kind is bool:
                continue
        return False
    return len(value) != 1 or key[:1] != "$"


def _is_plain_list(value: list[Any], depth: int) -> bool:  # noqa: C901  # as above
    if depth >= MAX_DEPTH:
        return False
    for item in value:
        kind = type(item)
        if kind is str or (kind is int and -_LARGE < item < _LARGE):
            continue
        if kind is float:
            if item - item == 0.0:
                continue
        elif kind is dict:
            if _is_plain_dict(item, depth + 1):
                continue
        elif kind is list:
            if _is_plain_list(item, depth + 1):
                continue
        elif item is None or kind is bool:
            continue
        return False
    return True
