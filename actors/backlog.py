"""The backlog: runs that are on disk and have to be brought to memory, oldest first, as there is room for them.

What a dead engine has left is brought to memory here, and so is what was started faster than it could be done: a run
that queues costs a row, and no memory, until its turn comes.

Rules:

1. No more runs than ``most`` work and queue in memory, whoever starts them; the others are rows. Those whose handlers
   wait for other runs do not count, nor those that only take signals: the runs they wait for may be rows.
2. First come, first served: while one run is left behind, so are those that are started after it. Only a run that
   matters more than others may go before, as long as there are not too many of that sort either.
3. Invariant: no run is left behind for ever. Its row is on disk before it is noted here, all rows above the one noted
   are looked at once there is room, and whoever makes room says so.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from ..dsl.states import IN_FLIGHT
from ..persistence.records import ExecutionRow
from . import clock
from .core import Letter

if TYPE_CHECKING:
    from .supervisor import Supervisor

__all__ = ["Adopt", "Backlog"]

_PAGE = 200
_PARTS = 5


class Adopt(msgspec.Struct, frozen=True):
    """The backlog to the supervisor: bring the next runs that were left behind to memory."""


class Backlog:
    """What one engine has yet to bring to memory.

    Attributes:
        size: How many runs that were started are left behind; about as many, after a restart.
    """

    def __init__(self, office: Supervisor, *, most: int) -> None:
        self._office = office
        self._most = most
        self._page = min(_PAGE, max(1, most // _PARTS))
        self._behind: int | None = None
        self._looking = False
        self._counted = False
        self._away: set[int] = set()
        self.size = 0
        self._shrunk = threading.Condition(threading.Lock())

    # ---- whether there is room

    @property
    def _at_work(self) -> int:
        return self._office.live - len(self._away) - self._office.crew.lent

    def has_room_for(self, row: ExecutionRow) -> bool:
        """Tell whether a run that is in memory, and has yet to set out, may do so; on the core."""
        if row.priority > 0:
            return self._at_work <= 2 * self._most
        return self._at_work <= self._most and (self._behind is None or row.id <= self._behind)

    def leave_behind(self, run: int, *, is_new: bool) -> None:
        """Note a run that is on disk and has to wait for its turn; on the core."""
        self._behind = run - 1 if self._behind is None else min(self._behind, run - 1)
        self.size += is_new
        self.look()

    def keep(self, run: int) -> None:
        """Hear that a run stays in memory though it only waits."""
        self._away.add(run)

    def left(self, run: int) -> None:
        """Hear that a run has left memory; on the core."""
        self._away.discard(run)
        self.look()

    def look(self) -> None:
        """Go on if there is something to go on with, and room for a good many; from any thread."""
        if self._behind is None or self._looking or self._at_work + self._page > self._most:
            return
        self._looking = True
        self._office.core.post(self._office, Letter(Adopt()))

    # ---- bringing to memory

    def begin_again(self) -> None:
        """Look at all runs; on the core, in the supervisor's turn."""
        self._behind = 0
        self._counted = False
        self.adopt()

    def forget(self) -> None:
        """Leave everything to another engine."""
        self._behind = None
        self._away.clear()
        self._resize(0)

    def adopt(self) -> None:
        """Bring the next runs to memory; on the core, in the supervisor's turn."""
        self._looking = False
        if self._behind is None:
            return
        store = self._office.core.store
        rows = store.unfinished(IN_FLIGHT, after=self._behind, limit=self._page)
        brought = sum(map(self._office.adopt, rows))
        if len(rows) < self._page:  # a run that is on no page yet is noted once it is on disk
            self._behind = None
            self._resize(0)
            return
        self._behind = rows[-1].id
        self._resize(max(0, self.size - brought))
        self.look()
        if not self._looking and not self._counted:
            self._counted = True
            self._resize(store.count_driven(IN_FLIGHT, after=self._behind))

    # ---- slowing down whoever starts too much

    def wait_for_less(self, most: int, seconds: float) -> bool:
        """Wait until fewer runs than ``most`` are left behind, for so many real seconds; tell whether they are."""
        deadline = clock.monotonic() + seconds
        with self._shrunk:
            while self.size >= most and not self._office.closing:
                left = deadline - clock.monotonic()
                if left <= 0:
                    return False
                self._shrunk.wait(min(left, 1.0))
        return True

    def _resize(self, size: int) -> None:
        with self._shrunk:
            self.size = size
            self._shrunk.notify_all()
