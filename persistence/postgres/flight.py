"""Statements that travel together: a transaction makes as many round trips as there are moments at which it looks.

Rules:

1. A statement waits until somebody looks at what one has found or done, or until `land`; then all that wait are sent
   at once, and the thread waits once, for all answers.
2. The server executes them in their order, and none after one that fails: whoever looks at one that was not executed
   sees the error of the one that failed. `land` raises it too, so an error that nobody looked at is not lost.
3. Every journey ends with a synchronization point. So the server's clock for sessions that fell silent inside a
   transaction runs while we think, and no answer is left behind for somebody else to find.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from .dialect import translate
from .server import Session, StatementKey

__all__ = ["LOST", "Flight"]

_MOST: Final = 500
"""Statements that wait at most: what goes on for long must not fill the memory."""

_FORGOTTEN: Final = psycopg.errors.InvalidSqlStatementName
"""Somebody who was lent the session has made the server forget what we told it."""

LOST: Final = (psycopg.OperationalError, _FORGOTTEN)
"""Errors that leave no session, or may: it can be tried once more in another one."""

_EXECUTED: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)
_numbers = itertools.count(1)


class Answer:
    """What a statement has found or done: whoever looks waits for it.

    Attributes:
        result: What the server has said, once it has executed the statement.
        error: Why it was not executed.
    """

    __slots__ = ("_flight", "_rows", "error", "result")

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._rows: Iterator[Any] | None = None
        self.result: PGresult | None = None
        self.error: psycopg.Error | None = None

    @property
    def rowcount(self) -> int:
        """How many rows were written or found."""
        return self._seen().command_tuples or 0

    @property
    def lastrowid(self) -> int | None:
        """The number that the database has given to the row that was inserted."""
        row = self.fetchone()
        return None if row is None else int(row[0])

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return next(iter(self), None)

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        """Give the rows that are left."""
        if self._rows is None:
            self._rows = iter(self._flight.rows_of(self._seen()))
        return self._rows

    def _seen(self) -> PGresult:
        if self.result is None and self.error is None:
            self._flight.travel()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class _Passenger(NamedTuple):
    """A statement that waits.

    Attributes:
        answer: Where its answer goes.
        key: What tells it from other statements.
        name: What it is called in this session.
        is_new: Whether the server has to be told first what that name means.
        parameters: Its parameters, as the server reads them.
    """

    answer: Answer
    key: StatementKey
    name: bytes
    is_new: bool
    parameters: Sequence[Any]


class Flight:
    """One transaction in one session, for one thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._transformer = Transformer(session)
        self._names: dict[StatementKey, bytes] = {}
        self._waiting: list[_Passenger] = []
        self._failed: psycopg.Error | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, as far as the server has been asked."""
        return self._session.pgconn.transaction_status != TransactionStatus.IDLE

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Answer:
        """Have a statement executed, when it comes to that."""
        if len(self._waiting) >= _MOST:
            self.land()
        dumped: Sequence[Any] = self._transformer.dump_sequence(parameters, [PyFormat.TEXT] * len(parameters))
        key = (sql, self._transformer.types or ())
        answer = Answer(self)
        self._waiting.append(_Passenger(answer, key, *self._named(key), dumped))
        return answer

    def _named(self, key: StatementKey) -> tuple[bytes, bool]:
        """Return what a statement is called, and whether the server has to be told so first."""
        prepared = self._session.prepared
        if prepared is None:
            return b"", True
        if (name := prepared.get(key) or self._names.get(key)) is not None:
            return name, False
        name = self._names[key] = f"perdure_{next(_numbers)}".encode()
        return name, True

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Have a statement executed once for each row of parameters."""
        for row in parameters:
            self.execute(sql, row)

    def land(self) -> None:
        """Have everything executed.

        Raises:
            psycopg.Error: A statement has failed, now or before.
        """
        self.travel()
        if self._failed is not None:
            raise self._failed

    def travel(self) -> None:
        """Send what waits, and wait for all answers."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            with self._session.lock:
                self._session.wait(self._journey(waiting))
        except psycopg.Error as lost:
            self._session.close()
            self._failed = self._failed or lost
        except BaseException:
            self._session.close()  # nobody knows what is on its way
            raise
        if isinstance(self._failed, _FORGOTTEN):
            self._session.close()
        for answer in (passenger.answer for passenger in waiting):
            answer.error = None if answer.result is not None else self._failed

    def rows_of(self, result: PGresult) -> list[Any]:
        """Return what a statement has found."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _journey(self, waiting: list[_Passenger]) -> PQGen[None]:
        connection, prepared = self._session.pgconn, self._session.prepared
        connection.enter_pipeline_mode()
        for _, key, name, is_new, parameters in waiting:
            if is_new:
                sql, types = key
                connection.send_prepare(name, translate(sql).encode(), types)
            connection.send_query_prepared(name, parameters)
        connection.pipeline_sync()
        yield from send(connection)
        for answer, key, name, is_new, _ in waiting:
            if is_new and self._taken((yield from fetch_many(connection))) is not None and prepared is not None:
                prepared[key] = name
            answer.result = self._taken((yield from fetch_many(connection)))
        yield from fetch_many(connection)  # the synchronization point
        connection.exit_pipeline_mode()

    def _taken(self, results: list[PGresult]) -> PGresult | None:
        """Return what a statement has said, if it was executed."""
        (result,) = results
        if result.status in _EXECUTED:
            return result
        if self._failed is None:
            self._failed = error_from_result(result, self._session.info.encoding)
        return None
