"""How far a database has come on its way to another one, or another one on its way to it.

Two databases cannot commit together. So a move has a number, by which both know it, and each line below is a commit:

    the old one     the new one     who may drive
    ------------    ------------    ----------------------------------------------------
                                    the old one
    ``leaving``                     nobody
    ``leaving``     ``arriving``    nobody: everything is there, and may still be left
    ``left``        ``arriving``    nobody: from here there is no way back
    ``left``        ``arrived``     the new one

Invariant: of two databases at most one may be driven. Whoever writes to a database, other than as an engine whose right
to write is checked anyway, calls `ask_if_moved` first.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from ..dsl.errors import StoreMoved, UsageError
from .connection import Connection

__all__ = ["Move", "arrive", "arriving", "ask_if_moved", "bring", "depart", "leave", "lock_moves", "stay", "under_way"]

_COLUMNS: Final = "id, place, state, moved"
_UNDER_WAY: Final = f"SELECT {_COLUMNS} FROM workflow_moves WHERE state <> 'arrived'"  # noqa: S608 - our own words
# On a server: whoever has been told that there is none has ended before a move begins.
_ASK: Final = f"{_UNDER_WAY} /*lock FOR SHARE*/"
_LOCK: Final = "SELECT 1 /*lock TABLE workflow_moves*/"
_BROUGHT: Final = f"SELECT {_COLUMNS} FROM workflow_moves WHERE state IN ('arriving', 'arrived')"  # noqa: S608
_NOTE: Final = f"INSERT INTO workflow_moves ({_COLUMNS}) VALUES (?, ?, ?, ?)"  # noqa: S608
_STEP: Final = "UPDATE workflow_moves SET state = ? WHERE id = ? AND state = ?"
_STAY: Final = "DELETE FROM workflow_moves WHERE state = 'leaving' AND id = ?"
_WORDS: Final = {
    "leaving": "is being moved to {}: the same `perdure move` again finishes that, `perdure move --stay` takes it back",
    "left": "was moved to {}: use that",
    "arriving": "is being moved here from {}, and has not arrived: the same `perdure move` again finishes that",
}


class Move(NamedTuple):
    """One move, as one of its databases knows it.

    Attributes:
        id: Its number.
        place: The other database.
        state: How far it has come.
        moved: How many rows were moved; known where they are.
    """

    id: int
    place: str
    state: str
    moved: int

    def refusal(self, name: str) -> str:
        """Say why a database can not be used for anything but looking and moving."""
        return f"what is in {name!r} {_WORDS[self.state].format(repr(self.place))} (nothing was written)"


def ask_if_moved(connection: Connection, name: str) -> Callable[[], None]:
    """Ask whether a database is, or soon may be, somewhere else, inside the transaction that writes.

    Returns:
        What looks at the answer, before the commit, and raises ``StoreMoved``.
    """
    asked = connection.execute(_ASK)

    def check() -> None:
        if (row := asked.fetchone()) is not None:
            raise StoreMoved(Move._make(row).refusal(name))

    return check


def lock_moves(connection: Connection) -> None:
    """Wait for all that have asked whether the database was moved, and let nobody ask until this transaction ends."""
    connection.execute(_LOCK)


def under_way(connection: Connection) -> Move | None:
    """Return the move that has made a database unusable, or is about to."""
    row = connection.execute(_UNDER_WAY).fetchone()
    return None if row is None else Move._make(row)


def arriving(connection: Connection) -> Move | None:
    """Return the move that has brought here what is in a database."""
    row = connection.execute(_BROUGHT).fetchone()
    return None if row is None else Move._make(row)


def leave(connection: Connection, place: str) -> Move:
    """Begin a move, in the old database."""
    move = Move(secrets.randbits(62), place, "leaving", 0)
    connection.execute(_NOTE, move)
    return move


def bring(connection: Connection, move: Move, place: str, moved: int) -> None:
    """Note in the new database, with all that is brought, what has brought it."""
    connection.execute(_NOTE, (move.id, place, "arriving", moved))


def depart(connection: Connection, move: Move) -> None:
    """Note in the old database that there is no way back.

    Raises:
        UsageError: It was taken back meanwhile.
    """
    if connection.execute(_STEP, ("left", move.id, "leaving")).rowcount != 1:
        raise UsageError(f"the move to {move.place!r} was taken back while it was under way: nothing has moved")


def arrive(connection: Connection, move: Move) -> None:
    """Have the new database used, once the old one is not; harmless the second time."""
    connection.execute(_STEP, ("arrived", move.id, "arriving"))


def stay(connection: Connection, move: Move) -> bool:
    """Take a move back, in the old database; tell whether that was still possible."""
    return connection.execute(_STAY, (move.id,)).rowcount == 1
