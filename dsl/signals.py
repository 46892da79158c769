"""A named, typed message that a person or another system sends to a waiting run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from .names import check_name

__all__ = ["Signal"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, init=False)
class Signal(Generic[T]):
    """An event a workflow can wait for, with the type of its payload.

    Attributes:
        name: Name of the event.
        payload: Type the payload must fit; anything goes when it is left out.

    Example:
        >>> approval = Signal("approval", dict)
        >>> approval.name
        'approval'
    """

    name: str
    payload: Any

    @overload
    def __init__(self: Signal[Any], name: str) -> None: ...
    @overload
    def __init__(self, name: str, payload: type[T]) -> None: ...
    @overload
    def __init__(self: Signal[Any], name: str, payload: object) -> None: ...
    def __init__(self, name: str, payload: Any = None) -> None:
        """Make a signal.

        Raises:
            DefinitionError: the name is one that nobody could send.
        """
        object.__setattr__(self, "name", check_name(name, "signal"))
        object.__setattr__(self, "payload", payload)
