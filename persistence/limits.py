"""How far the limits of concurrency and rate are used, counted in the transaction that uses them.

Rules:

1. A slot is a run's, not an engine's: it is given in one transaction and given back in that of the run's end. So none
   is lost with an engine that dies, whose runs go on elsewhere.
2. Invariant: no more runs have slots of a pool, or of one of its keys, than it has. Whatever frees a slot gives it on,
   in the same transaction.
3. The keys of a pool stand in a ring. The one whose turn was longest ago is next; one that begins to wait stands behind
   all others. Within a key it is by priority, then first come, first served.
4. A bucket of tokens is one number: when it is full again. Who asks for a token is told at once when it is theirs.

Every pool and bucket is read before it is changed, in the order of their names: where a database has several writers,
that is what makes them wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .connection import Connection
from .records import PoolRow, SlotAsk, SlotChange, SlotGivenBack, SlotHeld, TokenAsk

__all__ = ["GIVEN", "POOLS", "PoolFigures", "change_slots", "pool_figures", "take_tokens"]

GIVEN: Final = """
    SELECT slot.execution, engine.driver FROM workflow_slots AS slot
    JOIN workflow_executions AS run ON run.id = slot.execution
    LEFT JOIN workflow_engines AS engine ON engine.id = run.owner
    WHERE slot.status = 'given' ORDER BY slot.execution
"""
"""Runs that were given a slot and have not said that they know, each with the engine that drives it."""

POOLS: Final = """
    SELECT pool.name, pool.total, pool.per_key, pool.held, coalesce(sum(one.waiting), 0), count(one.key)
    FROM workflow_pools AS pool LEFT JOIN workflow_pool_keys AS one ON one.pool = pool.name
    GROUP BY pool.name, pool.total, pool.per_key, pool.held ORDER BY pool.name
"""

_POOL: Final = "SELECT total, per_key, held, turn FROM workflow_pools WHERE name = ? /*lock FOR UPDATE*/"
_NEW_POOL: Final = "INSERT INTO workflow_pools (name, held, turn) VALUES (?, 0, 0) ON CONFLICT (name) DO NOTHING"
_KEEP_POOL: Final = "UPDATE workflow_pools SET total = ?, per_key = ?, held = ?, turn = ? WHERE name = ?"

_KEY: Final = "SELECT held, waiting, turn FROM workflow_pool_keys WHERE pool = ? AND key = ?"
_KEYS: Final = "SELECT key FROM workflow_pool_keys WHERE pool = ?"
_NEXT_KEY: Final = "SELECT key FROM workflow_pool_keys WHERE pool = ? AND ready = 1 ORDER BY turn LIMIT 1"
_KEEP_KEY: Final = """
    INSERT INTO workflow_pool_keys (pool, key, held, waiting, turn, ready) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (pool, key) DO UPDATE SET
    held = excluded.held, waiting = excluded.waiting, turn = excluded.turn, ready = excluded.ready
"""
_DROP_KEY: Final = "DELETE FROM workflow_pool_keys WHERE pool = ? AND key = ?"

_SLOT: Final = "SELECT key, status FROM workflow_slots WHERE execution = ?"
_NEW_SLOT: Final = (
    "INSERT INTO workflow_slots (execution, pool, key, status, priority, since) VALUES (?, ?, ?, 'waiting', ?, ?)"
)
_FIRST: Final = """
    SELECT execution FROM workflow_slots WHERE pool = ? AND key = ? AND status = 'waiting'
    ORDER BY priority DESC, since, execution LIMIT 1
"""
_GIVE: Final = "UPDATE workflow_slots SET status = 'given' WHERE execution = ?"
_HOLD: Final = "UPDATE workflow_slots SET status = 'held' WHERE execution = ? AND status = 'given'"
_DROP_SLOT: Final = "DELETE FROM workflow_slots WHERE execution = ?"

_BUCKET: Final = "SELECT full_at FROM workflow_buckets WHERE name = ? AND key = ? /*lock FOR UPDATE*/"
_NEW_BUCKET: Final = (
    "INSERT INTO workflow_buckets (name, key, full_at) VALUES (?, ?, 0) ON CONFLICT (name, key) DO NOTHING"
)
_KEEP_BUCKET: Final = "UPDATE workflow_buckets SET full_at = ? WHERE name = ? AND key = ?"
_FULL_BUCKETS: Final = "SELECT key FROM workflow_buckets WHERE name = ? AND full_at <= ? ORDER BY full_at LIMIT 2"
_DROP_BUCKET: Final = "DELETE FROM workflow_buckets WHERE name = ? AND key = ?"


class PoolFigures(NamedTuple):
    """A pool as it is used.

    Attributes:
        name: Its name.
        limit: How many slots there are, or None.
        per_key: How many of them a key may have, or None.
        held: How many runs have one.
        waiting: How many runs wait for one.
        keys: How many keys have runs that have one or wait.
    """

    name: str
    limit: int | None
    per_key: int | None
    held: int
    waiting: int
    keys: int


def pool_figures(connection: Connection) -> list[PoolFigures]:
    """Return all pools as they are used, by name."""
    rows = connection.execute(POOLS).fetchall()
    return [PoolFigures._make((*row[:4], int(row[4]), row[5])) for row in rows]  # a sum may be another kind of number


# ---- slots


class _Pool:
    """One pool while it is being changed."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._execute = connection.execute
        self.name = name
        self._kept = self._locked()
        self._total, self._per_key, self._held, self._turn = self._kept

    def _locked(self) -> tuple[int | None, int | None, int, int]:
        """Return how the pool is used, and have others wait: for that there has to be a row."""
        row: tuple[int | None, int | None, int, int] | None = self._execute(_POOL, (self.name,)).fetchone()
        if row is None:
            self._execute(_NEW_POOL, (self.name,))
            row = self._execute(_POOL, (self.name,)).fetchone()
            assert row is not None
        return row

    def set_limits(self, row: PoolRow) -> None:
        """Go by these limits from now on; who has a slot keeps it."""
        before, self._total, self._per_key = self._per_key, row.total, row.per_key
        if before != self._per_key:
            for (key,) in self._execute(_KEYS, (self.name,)).fetchall():
                self._keep_key(key, *self._key(key))

    def line_up(self, ask: SlotAsk) -> None:
        """Put a run in line."""
        if self._total is None and self._per_key is None:  # nobody has said yet how many there are
            self.set_limits(ask.pool)
        self._execute(_NEW_SLOT, (ask.run, self.name, ask.key, ask.priority, ask.since))
        held, waiting, turn = self._key(ask.key)
        if waiting == 0:
            turn = self._next_turn()
        self._keep_key(ask.key, held, waiting + 1, turn)

    def give_back(self, run: int, key: str, status: str) -> None:
        """Take a run's slot, or its place in line, away."""
        self._execute(_DROP_SLOT, (run,))
        held, waiting, turn = self._key(key)
        if status == "waiting":
            waiting -= 1
        else:
            held -= 1
            self._held -= 1
        self._keep_key(key, held, waiting, turn)

    def admit(self) -> None:
        """Give away what is free, and keep how far the pool is used."""
        while self._total is None or self._held < self._total:
            found = self._execute(_NEXT_KEY, (self.name,)).fetchone()
            if found is None:
                break
            self._give(found[0])
        now = (self._total, self._per_key, self._held, self._turn)
        if now != self._kept:
            self._execute(_KEEP_POOL, (*now, self.name))

    def _give(self, key: str) -> None:
        (run,) = self._execute(_FIRST, (self.name, key)).fetchone()
        self._execute(_GIVE, (run,))
        held, waiting, _ = self._key(key)
        self._held += 1
        self._keep_key(key, held + 1, waiting - 1, self._next_turn())

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def _key(self, key: str) -> tuple[int, int, int]:
        found: tuple[int, int, int] | None = self._execute(_KEY, (self.name, key)).fetchone()
        return found or (0, 0, 0)

    def _keep_key(self, key: str, held: int, waiting: int, turn: int) -> None:
        if held == waiting == 0:
            self._execute(_DROP_KEY, (self.name, key))
            return
        ready = waiting > 0 and (self._per_key is None or held < self._per_key)
        self._execute(_KEEP_KEY, (self.name, key, held, waiting, turn, int(ready)))


def change_slots(connection: Connection, changes: Sequence[SlotChange]) -> None:
    """Put runs in line, note who knows of its slot, take slots back and give them on, inside a transaction.

    What was asked for is answered in the question: whether the run has a slot now.
    """
    pools = {name: _Pool(connection, name) for name in sorted({change.pool_name for change in changes})}
    for change in changes:
        pool, run = pools[change.pool_name], getattr(change, "run", None)
        known = None if run is None else connection.execute(_SLOT, (run,)).fetchone()
        match change:
            case PoolRow():
                pool.set_limits(change)
            case SlotAsk() if known is None:  # else it asks again, after a crash
                pool.line_up(change)
            case SlotHeld():
                connection.execute(_HOLD, (run,))
            case SlotGivenBack() if known is not None:
                pool.give_back(change.run, *known)
    for pool in pools.values():
        pool.admit()
    for ask in (change for change in changes if isinstance(change, SlotAsk)):
        found = connection.execute(_SLOT, (ask.run,)).fetchone()
        ask.given = found is not None and found[1] != "waiting"  # none, if it has ended since it asked


# ---- tokens


def take_tokens(connection: Connection, asks: Iterable[TokenAsk]) -> None:
    """Take tokens from their buckets, inside a transaction; each question is told when its token is its own."""
    for ask in sorted(asks, key=lambda ask: (ask.bucket, ask.key)):  # those of one bucket stay in order
        bucket = (ask.bucket, ask.key)
        found = connection.execute(_BUCKET, bucket).fetchone()
        if found is None:
            _drop_full(connection, ask)
            connection.execute(_NEW_BUCKET, bucket)
            found = connection.execute(_BUCKET, bucket).fetchone()
        full_at: int = found[0]
        ask.due = max(ask.now, full_at - (ask.most - 1) * ask.interval)
        connection.execute(_KEEP_BUCKET, (max(full_at, ask.due) + ask.interval, *bucket))


def _drop_full(connection: Connection, ask: TokenAsk) -> None:
    """Forget buckets that are full, as one is that nobody knows: two for each new key, so that they do not pile up."""
    for (key,) in connection.execute(_FULL_BUCKETS, (ask.bucket, ask.now)).fetchall():
        connection.execute(_DROP_BUCKET, (ask.bucket, key))
