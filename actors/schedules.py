"""The schedules: start runs when their time comes, each tick once.

Rules:

1. A tick is one turn, and its commit writes two things or neither: the schedule with its next due time, and the row of
   the run that the tick starts. A crash before it leaves the tick due, a crash after it leaves a run to be restored.
2. Invariant: of several engines that handle one tick, one writes. The others are refused, since the row they replace is
   not the one they read; they read again and find that the tick is done.
3. That is the last word, and seldom spoken: of the engines that can run a schedule, the oldest one handles its ticks
   when they are due. The others look a little later whether it has.
4. Nothing is kept in memory that is not in the rows, but timers, the runs whose end somebody waits for, and the runs
   whose commit is under way: should its outcome remain unknown, whoever reads next begins those that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from ..dsl.errors import DuplicateRow, DuplicateSchedule, OwnershipLost, UnknownSchedule, UnknownWorkflow, UsageError
from ..dsl.messages import Timeout
from ..persistence.codec import encode
from ..persistence.records import ExecutionRow, ScheduleChange, ScheduleRow
from . import clock
from .core import Core, CoreActor, Letter, logger
from .recurrence import last_tick, recurrence_of

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor

__all__ = ["Pause", "Read", "ResumeTicks", "Schedules", "SetSchedule", "Trigger", "Unschedule", "run_name"]

_RUN = 0
"""What stands for a run in the timers of schedules."""

_RELOAD = ""
_PUNCTUAL = 60_000_000
"""A tick that is handled so many microseconds late was missed."""

_STAND_IN = 5_000_000
"""Where another engine is to handle a tick, this one looks so many microseconds later; longer than it takes to die."""

_LONGEST_QUEUE = 1000
_PATIENT_RACES = 3


class SetSchedule(msgspec.Struct, frozen=True):
    """A caller: keep this schedule; the answer is its row as it stands.

    Attributes:
        wanted: A row of which only what a caller can say is looked at.
        replace: Whether it may take the place of another definition.
    """

    wanted: ScheduleRow
    replace: bool


class Pause(msgspec.Struct, frozen=True):
    """A caller: pass over the ticks of this schedule."""

    name: str


class ResumeTicks(msgspec.Struct, frozen=True):
    """A caller: go on with the next tick of this schedule that is still to come."""

    name: str


class Trigger(msgspec.Struct, frozen=True):
    """A caller: start a run of this schedule now; the answer is the run's row."""

    name: str


class Unschedule(msgspec.Struct, frozen=True):
    """A caller: forget this schedule."""

    name: str


class Read(msgspec.Struct, frozen=True):
    """The supervisor: look at all schedules again, for workflows were registered."""


class RunEnded(msgspec.Struct, frozen=True):
    """The supervisor: a run of this schedule, whose end was waited for, has ended."""

    name: str


class Schedules(CoreActor):
    """One for each engine."""

    def __init__(self, core: Core, office: Supervisor) -> None:
        super().__init__(core)
        self._office = office
        self._watched: dict[str, str] = {}
        """Names of schedules by the id of the run whose end their queue waits for."""
        self._to_begin: set[int] = set()
        self._failures = 0
        self._now = 0

    def __str__(self) -> str:
        """Name it in logs."""
        return "the schedules"

    # ---- messages

    def on_receive(self, message: Any) -> Any:
        """Decide; what is returned is the caller's answer. Runs on the core."""
        self._now = clock.micros()
        match message:
            case Timeout(key) if key == _RELOAD:
                self._read()
            case Timeout(key):
                self._tick(key)
            case RunEnded(name):
                self._run_ended(name)
            case Read():
                self._read()
            case SetSchedule():
                return self._tell(self._set(message.wanted, replace=message.replace))
            case Pause() | ResumeTicks() | Trigger() | Unschedule():
                row = self._row(message.name)
                if row is None:
                    return UnknownSchedule(message.name, [known.name for known in self.core.store.schedules()])
                try:
                    return self._tell(self._change(message, row))
                except UsageError as error:  # cronsim, or what is known of its time zone, is missing here
                    return error
        return None

    def crashed(self, error: BaseException) -> None:
        """Read the rows again: at once where another engine was first, later and later where the disk or we failed."""
        if isinstance(error, OwnershipLost):
            return
        self._failures += 1
        if isinstance(error, DuplicateRow) and self._failures <= _PATIENT_RACES:
            self.core.post(self, Letter(Read()))
            return
        self._arm(_RELOAD, clock.next_try(self._failures))

    def run_ended(self, execution_id: str) -> None:
        """Hear that a run has ended; called by the supervisor, for every run."""
        if self._watched and (name := self._watched.pop(execution_id, None)) is not None:
            self.core.post(self, Letter(RunEnded(name)))

    # ---- reading and writing

    def _row(self, name: str) -> ScheduleRow | None:
        """Return a schedule as this turn leaves it."""
        change = self.turn.schedules.get(name)
        return self.core.store.schedule(name) if change is None else change.row

    def _write(self, row: ScheduleRow, before: ScheduleRow | None) -> ScheduleRow:
        """Remember a schedule, and have its next tick come."""
        row = row._replace(revision=self.core.store.new_id())
        self._remember(row.name, row, before)
        self.turn.acts.append(lambda: self._expect(row))
        return row

    def _tell(self, answer: Any) -> Any:
        """Have other engines learn what a caller has changed; of ticks they learn by their own."""
        if self.turn.schedules:
            self.turn.acts.append(self._office.neighbours.reach.tell_schedules_changed)
        return answer

    def _remember(self, name: str, row: ScheduleRow | None, before: ScheduleRow | None) -> None:
        changes = self.turn.schedules
        replaces = None if before is None else before.revision
        if name in changes:  # this turn has changed it already: what it replaces is what is on disk
            replaces = changes[name].replaces
        changes[name] = ScheduleChange(row, replaces)
        if row is None and replaces is None:
            del changes[name]
        self.turn.acts.append(self._succeeded)

    def _succeeded(self) -> None:
        self._failures = 0

    def _expect(self, row: ScheduleRow) -> None:
        """Have a schedule's next tick come here."""
        self._arm(row.name, None if row.paused or row.next_due is None else self._due_here(row, row.next_due))

    def _due_here(self, row: ScheduleRow, due: int) -> int:
        """Return when this engine is to see to a tick: later than it is due, where another one is to handle it."""
        definition = self._definition(row)
        leads = definition is None or self._office.neighbours.leads(definition)
        return due if leads else due + _STAND_IN

    def _arm(self, name: str, due: int | None) -> None:
        keeper = self._office.timekeeper
        if due is None:
            keeper.disarm(_RUN, name)
        else:
            keeper.arm(due, _RUN, name, attempt=0)  # a number: these timers are in no row of a run

    def _read(self) -> None:
        """Have every schedule's next tick come, if its workflow can be run; take up the queues."""
        for run in self._to_begin:
            self._office.revive(run)
        self._to_begin.clear()
        for row in self.core.store.schedules():
            if self._definition(row) is None or row.paused:
                continue
            try:
                recurrence_of(row)
            except UsageError as error:
                logger.warning("the schedule %r does not tick: %s", row.name, error)
                continue
            self._expect(row)
            if row.overlap == "queue":
                self._run_ended(row.name)

    def _definition(self, row: ScheduleRow) -> Definition | None:
        return self._office.definitions.whole(row.workflow, row.version)

    # ---- ticks

    def _tick(self, name: str) -> None:
        row = self._row(name)
        if row is None or row.paused or row.next_due is None or self._office.closing:
            return
        definition = self._definition(row)
        if definition is None:
            return
        # Another engine has handled the tick, or is to handle it first, or the schedule was replaced.
        if self._due_here(row, row.next_due) > self._now:
            self._expect(row)
            self._succeeded()
            return
        recurrence = recurrence_of(row)
        due = row.next_due if row.catch_up == "all" else last_tick(recurrence, row.next_due, self._now)
        handled = row._replace(last_due=due, next_due=recurrence.after(due))
        if row.catch_up != "none" or self._now - due <= _PUNCTUAL:
            handled = self._take(handled, due, definition)
        self._write(handled, row)

    def _take(self, row: ScheduleRow, due: int, definition: Definition) -> ScheduleRow:
        """Start the run of a tick, or do what the schedule says if the one before is unfinished."""
        row = self._without_ended(row)
        if row.overlap == "queue" and (row.queued or row.running):
            if len(row.queued) < _LONGEST_QUEUE:
                self._watch(row)
                return self._start_queued(row._replace(queued=(*row.queued, due)), definition)
        elif row.overlap == "allow" or not row.running:
            return self._start(row, definition, run_name(row.name, due))
        return row._replace(skipped=row.skipped + 1)

    def _without_ended(self, row: ScheduleRow) -> ScheduleRow:
        begun = {run.execution_id for run in self.turn.rows}
        return row._replace(
            running=tuple(run for run in row.running if run in begun or not self._office.has_ended(run))
        )

    def _watch(self, row: ScheduleRow) -> None:
        self._watched.update(dict.fromkeys(row.running, row.name))

    def _start_queued(self, row: ScheduleRow, definition: Definition) -> ScheduleRow:
        if row.running or not row.queued:
            return row
        due, *rest = row.queued
        return self._start(row._replace(queued=tuple(rest)), definition, run_name(row.name, due))

    def _start(self, row: ScheduleRow, definition: Definition, execution_id: str | None) -> ScheduleRow:
        if execution_id is not None and self._office.exists(execution_id):
            return row  # the clock was set back, or a schedule of this name had the tick before
        tags = encode({"schedule": row.name})
        run = replace(self._office.newcomers.row(definition, row.input, execution_id=execution_id), tags=tags)
        self.turn.rows.append(run)
        self._to_begin.add(run.id)
        self.turn.acts.append(lambda: self._begin(run))
        running = row.running
        if row.overlap != "allow":  # which may have thousands at a time
            running = (*running, run.execution_id)
        row = row._replace(running=running, last_run=run.execution_id, runs=row.runs + 1)
        if row.overlap == "queue":
            self._watch(row)
        return row

    def _begin(self, run: ExecutionRow) -> None:
        self._to_begin.discard(run.id)
        self._office.begin(run)

    def _run_ended(self, name: str) -> None:
        """Start the run that comes next in the queue, if none is unfinished."""
        row = self._row(name)
        if row is None:
            return
        definition = self._definition(row)
        left = self._without_ended(row)
        self._watch(left)
        if definition is not None and not row.paused and not self._office.closing:
            left = self._start_queued(left, definition)
        if left != row:
            # Also when nothing was queued: an engine that has just seen the run unfinished must look again.
            self._write(left, row)

    # ---- callers

    def _set(self, wanted: ScheduleRow, *, replace: bool) -> Any:
        row = self._row(wanted.name)
        if row is not None and _said(row) == _said(wanted):
            return row
        if row is not None and not replace:
            return DuplicateSchedule(wanted.name)
        new = wanted._replace(anchor=self._now, created_at=self._now)
        new = new._replace(next_due=recurrence_of(new).after(self._now))
        if row is not None:
            running = () if row.last_run is None else (row.last_run,)
            new = new._replace(
                paused=row.paused,
                running=row.running or running,
                last_due=row.last_due,
                last_run=row.last_run,
                runs=row.runs,
                skipped=row.skipped,
                created_at=row.created_at,
            )
        return self._write(new, row)

    def _change(self, message: Pause | ResumeTicks | Trigger | Unschedule, row: ScheduleRow) -> Any:
        match message:
            case Pause():
                return row if row.paused else self._write(row._replace(paused=True), row)
            case ResumeTicks():
                return self._resume(row) if row.paused else row
            case Trigger():
                return self._trigger(row)
            case Unschedule():
                self._remember(row.name, None, row)
                self.turn.acts.append(lambda: self._arm(row.name, None))
        return None

    def _resume(self, row: ScheduleRow) -> ScheduleRow:
        resumed = self._without_ended(row._replace(paused=False, next_due=recurrence_of(row).after(self._now)))
        if (definition := self._definition(row)) is not None:
            resumed = self._start_queued(resumed, definition)
        return self._write(resumed, row)

    def _trigger(self, row: ScheduleRow) -> Any:
        definition = self._definition(row)
        if definition is None:
            return UnknownWorkflow(row.workflow, self._office.definitions.names())
        return self._write(self._start(self._without_ended(row), definition, None), row).last_run


def _said(row: ScheduleRow) -> tuple[Any, ...]:
    """Return what a caller has said of a schedule."""
    return (row.workflow, row.version, row.input, row.cron, row.tz, row.every, row.overlap, row.catch_up)


def run_name(schedule: str, due: int) -> str:
    """Return the id of the run that a tick starts."""
    return f"{schedule}@{clock.from_micros(due).isoformat().replace('+00:00', 'Z')}"
