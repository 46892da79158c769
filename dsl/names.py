"""Which names may stand in a definition."""

from __future__ import annotations

import re
from functools import partial
from inspect import isroutine
from typing import Any

from .errors import DefinitionError
from .facts import without_turn

__all__ = ["check_name", "name_of"]

_LONGEST = 200
_RESERVED = re.compile(r"__|sub:")


def check_name(name: Any, kind: str) -> str:
    """Return the name if users may give it.

    Raises:
        DefinitionError: it is empty, too long, reserved, or holds characters that cannot be shown safely.
    """
    if not isinstance(name, str) or not name.strip():
        got = f"the function {name.__name__!r}: the name comes first" if isroutine(name) else repr(name)
        msg = f"a {kind} needs a name that is not empty, got {got}"
        raise DefinitionError(msg)
    if len(name) > _LONGEST:
        msg = f"the {kind} name {name[:40]!r}… has {len(name)} characters; at most {_LONGEST} are allowed"
        raise DefinitionError(msg)
    if not name.isprintable():
        msg = f"the {kind} name {name!r} holds characters that cannot be printed"
        raise DefinitionError(msg)
    if name != "__proto__" and _RESERVED.match(name):
        msg = f"the {kind} name {name!r} is reserved: names may not begin with '__' or 'sub:'"
        raise DefinitionError(msg)
    if without_turn(name) != name:
        msg = f"the {kind} name {name!r} is reserved: names may not end like a loop's turn, '@' and digits"
        raise DefinitionError(msg)
    return name


def name_of(function: Any) -> str:
    """Return what a message calls a function: a partial by what is in it, any other object by its class."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))
