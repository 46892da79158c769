"""A record of every SQL statement that goes through ``sqlite3`` in this process, and its replay.

It knows nothing of perdure: it makes every connection one that notes down what it is asked to do. So the raw limit
writes exactly what perdure wrote, whatever that is, and the counts cannot forget a statement.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Statement", "Tape", "Transaction", "grouped", "raw_connection", "record", "write"]

_VALUES = re.compile(r"VALUES (\([?, ]+\))(?:, \([?, ]+\))*", re.IGNORECASE)
_ROWS = 64
"""Rows in one statement, as many as SQLite writes fastest."""


class Statement(NamedTuple):
    """One statement, as it was executed."""

    sql: str
    parameters: Sequence[Any]

    @property
    def writes(self) -> bool:
        """Whether it changes rows."""
        return self.sql.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE", "REPLAC"}


Transaction = list[Statement]
"""What stood between BEGIN and COMMIT."""


class Tape:
    """What was recorded.

    Attributes:
        transactions: Those that wrote something, in their order.
        reads: Statements that read outside of those.
    """

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self.reads: list[Statement] = []

    @property
    def statements(self) -> int:
        """How many statements the transactions had, BEGIN and COMMIT apart."""
        return sum(map(len, self.transactions))

    def clear(self) -> None:
        """Forget everything."""
        self.transactions.clear()
        self.reads.clear()


@contextmanager
def record() -> Iterator[Tape]:
    """Record every connection that is opened within the block, until it is closed."""
    tape = Tape()

    class Recorded(sqlite3.Connection):
        _open: Transaction | None = None

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            verb = sql.lstrip()[:6].upper()
            statement = Statement(sql, parameters)
            if verb.startswith("BEGIN"):
                self._open = []
            elif verb == "COMMIT":
                if self._open is not None and any(statement.writes for statement in self._open):
                    tape.transactions.append(self._open)
                self._open = None
            elif self._open is not None:
                self._open.append(statement)
            elif verb == "SELECT":
                tape.reads.append(statement)
            return super().execute(sql, parameters)

    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": Recorded, **options})  # type: ignore[no-any-return]

    sqlite3.connect = recorded  # type: ignore[assignment]
    try:
        yield tape
    finally:
        sqlite3.connect = connect


def raw_connection(path: Path, like: Path, durability: str) -> sqlite3.Connection:
    """Make an empty database with the tables and indexes of another one, and with the settings that perdure uses."""
    with sqlite3.connect(like) as model:
        schema = [
            sql
            for (sql,) in model.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            )
        ]
    model.close()
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=512)
    for pragma in ("journal_mode=wal", f"synchronous={durability}", "wal_autocheckpoint=4000", "temp_store=memory"):
        connection.execute(f"PRAGMA {pragma}")
    for sql in schema:
        connection.execute(sql)
    return connection


def grouped(runs: list[list[Transaction]], size: int) -> list[Transaction]:
    """Lay runs side by side, so many at a time, as if all of a group took each of their turns together.

    The n-th transactions of a group's runs become one transaction, and their rows as few statements as is fastest.
    """
    transactions = []
    for begin in range(0, len(runs), size):
        group = runs[begin : begin + size]
        for turn in range(max(map(len, group))):
            statements = [statement for run in group if turn < len(run) for statement in run[turn]]
            transactions.append(_merge(statements))
    return transactions


def _merge(statements: list[Statement]) -> Transaction:
    merged: Transaction = []
    rows: dict[tuple[str, str, str], list[Sequence[Any]]] = {}
    for sql, parameters in (statement for statement in statements if statement.writes):
        found = _VALUES.search(sql)
        if found is None:
            merged.append(Statement(sql, parameters))
            continue
        columns = found[1].count("?")
        some = [parameters[begin : begin + columns] for begin in range(0, len(parameters), columns)]
        rows.setdefault((sql[: found.start(1)], found[1], sql[found.end() :]), []).extend(some)
    for (before, row, after), parameters in rows.items():
        for begin in range(0, len(parameters), _ROWS):
            some = parameters[begin : begin + _ROWS]
            values = [value for one in some for value in one]
            merged.append(Statement(f"{before}{', '.join([row] * len(some))}{after}", values))
    return merged


def write(connection: sqlite3.Connection, transaction: Transaction) -> None:
    """Commit a transaction, with nothing of ours in between."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    for sql, parameters in transaction:
        execute(sql, parameters)
    execute("COMMIT")
