"""The schedules of a database, as somebody changes them who drives nothing: row by row, with or without an engine.

Rules:

1. A row is written only in place of the revision that was read, as engines write it: whoever is second reads again.
2. Engines that are alive are told afterwards. One that does not hear it reads the row before it acts on a tick.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, Final

from .actors import clock, wire
from .actors.exchange import Exchange
from .actors.recurrence import recurrence_of
from .actors.schedules import Pause, ResumeTicks, Trigger, Unschedule
from .dsl.errors import DuplicateRow, UnknownSchedule
from .persistence.records import ScheduleChange, ScheduleRow
from .persistence.store import Store

__all__ = ["Timetable"]

_MOST_RACES: Final = 10


class Timetable:
    """Changes schedules; from any thread."""

    def __init__(
        self, store: Store, exchange: Exchange, start: Callable[[ScheduleRow], str], writing: threading.Lock
    ) -> None:
        """Take where they are.

        Args:
            store: The database.
            exchange: How engines are called.
            start: Has a run of a schedule started; returns its id.
            writing: Held by whoever writes to the database.
        """
        self._store = store
        self._exchange = exchange
        self._start = start
        self._writing = writing

    def change(self, message: Pause | ResumeTicks | Trigger | Unschedule) -> str | None:
        """Do what is asked of a schedule; of a trigger, return the id of the run.

        Raises:
            UnknownSchedule: there is none of this name.
            UsageError: its cron expression cannot be read here.
            StoreError: it could not be written.
        """
        before = self._row(message.name)
        run = self._start(before) if isinstance(message, Trigger) else None
        for _ in range(_MOST_RACES):
            changed = _changed(message, before, run)
            if changed == before:
                return run
            if changed is not None:
                changed = changed._replace(revision=secrets.randbits(62))
            try:
                with self._writing:
                    self._store.change_schedule(before.name, ScheduleChange(changed, before.revision))
            except DuplicateRow:
                before = self._row(message.name)
            else:
                self._tell_engines()
                break
        return run

    def _row(self, name: str) -> ScheduleRow:
        rows = {row.name: row for row in self._store.list_schedules()}
        if name not in rows:
            raise UnknownSchedule(name, list(rows))
        return rows[name]

    def _tell_engines(self) -> None:
        for engine in self._store.inbox.living():
            if (line := self._exchange.connect(engine)) is not None:
                line.say(wire.SchedulesChanged())
                line.hang_up()


def _changed(message: Any, row: ScheduleRow, run: str | None) -> ScheduleRow | None:
    """Return a schedule as it is wanted; None to have it gone."""
    match message:
        case Pause():
            return row._replace(paused=True)
        case ResumeTicks() if row.paused:  # an engine takes up what is queued
            return row._replace(paused=False, next_due=recurrence_of(row).after(clock.micros()))
        case Trigger():
            running = row.running if run is None or row.overlap == "allow" else (*row.running, run)
            return row._replace(running=running, last_run=run, runs=row.runs + 1)
        case Unschedule():
            return None
    return row
