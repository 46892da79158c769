"""Looking into inputs: whether a value stands at a path, as `order.lines[0].sku`.

A path leads through what callers see, not through how it is kept: the fields of a dataclass, the entries of a mapping,
the elements of a list or tuple. A part that holds a dot, a bracket or a quote is written in double quotes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

__all__ = ["encoded_parts", "holds", "parts_of"]

_from_json: Final = msgspec.json.Decoder().decode
_PART: Final = re.compile(r'\.?(?:"(?P<quoted>(?:[^"\\]|\\.)+)"|(?P<plain>[^."\[\]]+))|\[(?P<index>\d+)\]')
_NOTHING: Final = object()
_MAPPINGS: Final = ("$map", "$ordered")


@lru_cache(maxsize=1024)
def parts_of(path: str) -> tuple[str | int, ...]:
    """Return the names and indexes that a path is made of; a leading ``$`` stands for the input itself.

    Raises:
        ValueError: It is no path.
    """
    rest = path.removeprefix("$")
    parts: list[str | int] = []
    while rest:
        match = _PART.match(rest)
        if match is None or (not parts and path == rest and rest.startswith(".")):
            raise ValueError(path)
        quoted, plain, index = match.group("quoted", "plain", "index")
        parts.append(int(index) if index is not None else plain or re.sub(r"\\(.)", r"\1", quoted))
        rest = rest[match.end() :]
    if not path:
        raise ValueError(path)
    return tuple(parts)


def encoded_parts(path: str) -> str:
    """Return the parts of a path as JSON, in which databases get it."""
    return msgspec.json.encode(parts_of(path)).decode()


@lru_cache(maxsize=1024)
def _decoded_parts(text: str) -> tuple[str | int, ...]:
    return tuple(_from_json(text))


def holds(text: str, path: str, wanted: str) -> bool:
    """Tell whether the encoded value at a path in an encoded input is this one; SQLite calls it for each row."""
    try:
        tree = _from_json(text)
    except msgspec.DecodeError:
        return False
    for part in _decoded_parts(path):
        tree = _step(tree, part)
        if tree is _NOTHING:
            return False
    return _same(tree, _from_json(wanted))


def _step(tree: Any, part: str | int) -> Any:
    tree = _bare(tree)
    if isinstance(part, int):
        return tree[part] if isinstance(tree, list) and part < len(tree) else _NOTHING
    return tree.get(part, _NOTHING) if isinstance(tree, dict) else _NOTHING


def _bare(tree: Any) -> Any:
    """Return what a tag wraps, where that has parts with names or numbers."""
    if not isinstance(tree, dict) or len(tree) != 1:
        return tree
    ((tag, body),) = tree.items()
    if tag in ("$object", "$deque"):
        return body[1]
    if tag == "$tuple":
        return body
    if tag in _MAPPINGS:
        return {key: value for key, value in body if isinstance(key, str)}
    return tree


def _same(found: Any, wanted: Any) -> bool:
    """Compare numbers as numbers, but never with truth values."""
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)
