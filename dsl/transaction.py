"""What a step that is a transaction is given: the database, as far as its handler may see it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["StepTransaction"]


class StepTransaction(Protocol):
    """``ctx.transaction``: what is written through it is committed with the step's result, or not at all."""

    @property
    def connection(self) -> Any:
        """The ``sqlite3.Connection``; its transaction is the step's: neither commit it nor roll it back."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Execute a statement and return its cursor."""
        ...

    def using(self, database: Any, /) -> AbstractContextManager[Any]:
        """Have a peewee database work within this transaction, on this thread, while the context is entered."""
        ...
