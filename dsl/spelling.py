"""A call that is spelt wrongly is refused in its own words: by the class it was made on, with the nearest keyword.

The verbs of a class stand in bases of their own, of which its users know nothing; Python's own message names those.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from functools import wraps
from types import FunctionType, SimpleNamespace
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from .errors import did_you_mean

__all__ = ["spelt"]

C = TypeVar("C", bound=type[Any])

_UNEXPECTED: Final = re.compile(r"got an unexpected keyword argument '(\w+)'")


def spelt(cls: C) -> C:
    """Have all public methods of a class, whichever base they stand in, refuse wrong arguments by the class's name."""
    found = {name: each for base in reversed(cls.__mro__[:-1]) for name, each in vars(base).items()}
    for name, method in found.items():
        if isinstance(method, FunctionType) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, _refusing(method, f"{cls.__name__}.{name}"))
    return cls


def _refusing(method: FunctionType, called: str) -> Callable[..., Any]:
    @wraps(method)
    def refusing(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except TypeError as error:
            message = _message(error, method, called, options)
            if message is None:
                raise
            raise TypeError(message) from None

    return refusing


def _message(error: TypeError, method: FunctionType, called: str, options: Iterable[str]) -> str | None:
    """Return what to say of the call; None if it is not the call that is wrong, but something in it."""
    unexpected = _UNEXPECTED.search(str(error))
    if unexpected is not None and unexpected[1] in options and unexpected[1] not in (known := _keywords(method)):
        return f"{called}() {unexpected[0]}{did_you_mean(unexpected[1], known)}"
    itself = error.__traceback__ is not None and error.__traceback__.tb_next is None
    return str(error).replace(method.__qualname__, called) if itself else None


def _keywords(method: FunctionType) -> set[str]:
    found = set()
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            found |= _unpacked(parameter.annotation, method.__globals__)
        elif parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            found.add(parameter.name)
    return found


def _unpacked(annotation: str, names: dict[str, Any]) -> set[str]:
    """Return the keys of what is unpacked into keywords: a `TypedDict`."""
    alone = SimpleNamespace(__annotations__={"options": annotation})
    (keywords,) = get_args(get_type_hints(alone, names)["options"])
    return set((get_origin(keywords) or keywords).__annotations__)
