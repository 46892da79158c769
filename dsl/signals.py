"""A named, typed message that a person or another system sends to a waiting run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import DefinitionError

__all__ = ["Signal"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
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
    payload: type[T] | Any = None

    def __post_init__(self) -> None:
        """Refuse a name that nobody could send."""
        if not isinstance(self.name, str) or not self.name:
            msg = f"a signal needs a name, got {self.name!r}"
            raise DefinitionError(msg)
