"""What the statements of this room need of a connection, whatever database is behind it.

The statements are written once, in SQLite's words; what differs on another database is that database's own business.
A comment that begins ``/*lock`` says what must not change under a statement: SQLite locks everything anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

__all__ = ["Connection", "Rows"]


class Rows(Protocol):
    """What a statement has found or done."""

    @property
    def rowcount(self) -> int:
        """How many rows were written."""
        ...

    @property
    def lastrowid(self) -> int | None:
        """The number that the database has given to the row that was inserted."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""
        ...


class Connection(Protocol):
    """Executes statements, one after another; on a server, at the latest when somebody looks at what one has done."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def execute(self, sql: str, parameters: Any = ..., /) -> Rows:
        """Execute a statement."""
        ...

    def executemany(self, sql: str, parameters: Any, /) -> object:
        """Execute a statement once for each row of parameters."""
        ...
