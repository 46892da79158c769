"""The supervisor: knows which runs live in memory, wakes those that do not, and restores what was left unfinished.

It is an actor like the runs: everything here happens on the core. It writes nothing itself; what it does for a run
(``deliver``, ``rest``, ``children.check`` …) is called by that run's turn once the turn is on disk.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl import messages as msg
from ..dsl.errors import (
    DefinitionError,
    ExecutionNotFound,
    OwnershipLost,
    StoreCorrupt,
    StoreError,
)
from ..dsl.facts import ErrorRecord, Fact
from ..dsl.programs import DELAY
from ..dsl.states import ENDS, FINAL, State
from ..persistence.records import ExecutionRow, Stored
from . import clock
from .backlog import Adopt, Backlog
from .children import Children
from .core import Core, CoreActor, Letter, Mail
from .course import BEHIND, RECOVER
from .definitions import Definitions
from .doorkeeper import Doorkeeper
from .execution import ExecutionActor
from .joining import Revive
from .neighbours import Fenced, Neighbours
from .newcomers import Newcomers
from .reader import CodecReader
from .reply import Elsewhere
from .resting import Resting
from .schedules import Read, Schedules
from .slot import pool_row
from .starting import Start, Starting, ToRun
from .timekeeper import Timekeeper
from .tray import Tray

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .crew import Crew

__all__ = ["FireNext", "Register", "Supervisor", "Tick"]

logger = logging.getLogger("perdure")

_POISON = 3
_RESTING = 10
"""Of as many runs as may work in memory, one in so many may rest there."""
_REREAD = 500_000
_MYSELF = -2
"""Stands for the supervisor among those that have timers; 0 and -1 are the schedules and the tray."""


class Register(msgspec.Struct, frozen=True):
    """The engine: this definition can be run from now on; restore what waits for it."""

    definition: Definition


class Quarantine(msgspec.Struct, frozen=True):
    """The supervisor to itself: set a run aside that crashes whenever it is restored."""

    run: int
    error: ErrorRecord


class Tick(msgspec.Struct, frozen=True):
    """The alarm: something is due."""


class FireNext(msgspec.Struct, frozen=True):
    """``settle``: fire the next timer that is due; the reply tells whether there was one."""


class Supervisor(CoreActor):
    """One for each engine.

    Attributes:
        codec: Reads values.
        definitions: What can be driven.
        newcomers: Makes the rows of runs that begin.
        crew: Runs user code.
        timekeeper: Fires timers.
        backlog: Brings runs to memory as there is room for them.
        resting: The runs in memory that only wait.
        schedules: Starts runs when their time comes.
        tray: Takes messages from other processes in.
        children: Has to do with runs that other runs have started.
        neighbours: Has to do with other engines on the database.
        doorkeeper: Tells runs of the slots they were given.
        seed: What jitter and ids are drawn from.
    """

    def __init__(
        self, core: Core, *, seed: int | None, most: int, logger_for: Callable[[str, str, str, int], Any]
    ) -> None:
        super().__init__(core)
        self.codec = CodecReader()
        self.crew: Crew
        self.timekeeper = Timekeeper(core.store, core.lanes, self.deliver)
        self.schedules = Schedules(core, self)
        self.backlog = Backlog(self, most=most)
        self.resting = Resting(most // _RESTING)
        self._starting = Starting(self)
        self.tray = Tray(core, self)
        self.children = Children(self)
        self.neighbours = Neighbours(core, self)
        self.doorkeeper = Doorkeeper(core, self)
        self.seed = random.Random(seed).getrandbits(64)  # noqa: S311 - jitter is no secret
        self.newcomers = Newcomers(core.store, self.seed)
        self.logger_for = logger_for
        self.definitions = Definitions()
        self._live: dict[int, ExecutionActor] = {}
        self._ids: dict[str, int] = {}
        self._crashes: dict[int, int] = {}
        self.closing = False

    # ---- messages

    def receive(self, envelope: Mail) -> None:
        """Take one letter; one that is for a run is handed on with whoever waits for the answer. Runs on the core."""
        match envelope.message:
            case ToRun(execution_id, message):
                self.to_run(execution_id, message, envelope.reply_to)
            case Start() as start:
                self._starting.start(start, envelope.reply_to)
            case _:
                super().receive(envelope)

    def on_receive(self, message: Any) -> Any:
        """Handle one message; runs on the core."""
        match message:
            case Tick() if self.tray.is_behind:
                self.tray.timers_wait = True
            case Tick():
                return self.timekeeper.fire(clock.micros(), only_one=clock.is_frozen())
            case FireNext():
                return self.timekeeper.fire(clock.micros(), only_one=True)
            case Register():
                return self._register(message.definition)
            case Quarantine():
                return self._set_aside(message.run, message.error)
            case Adopt():
                return self.backlog.adopt()
            case Revive():
                return self.revive(message.run)
        return None

    def crashed(self, error: BaseException) -> None:
        """Read the rows again in a while: the dropped turn may have been about to fire a timer or restore a run."""
        self.read_again_soon()

    def read_again_soon(self) -> None:
        """Have all rows looked at in a while: there may be some that nobody drives; called by the core."""
        self.timekeeper.arm_blindly(clock.micros() + _REREAD, _MYSELF, RECOVER)

    def _read_again(self) -> None:
        self.timekeeper.reload()
        self.backlog.begin_again()
        for definition in self.definitions.every():
            self._limit(definition)
        self.doorkeeper.look()

    def _register(self, definition: Definition) -> Any:
        try:
            is_news = self.definitions.add(definition)
        except DefinitionError as error:
            return error
        if is_news:
            self._limit(definition)
            self.take_up()
            self.turn.acts.append(self.neighbours.reach.tell_kinds)
        return None

    def _limit(self, definition: Definition) -> None:
        """Have a workflow's limit count as it is said now, for those too that wait in line already."""
        if definition.pool is not None:
            self.turn.slots += (pool_row(definition, definition.pool),)
            self.turn.acts.append(self.doorkeeper.look)

    def take_up(self) -> None:
        """Take up what this engine can drive and does not yet: workflows were registered, or runs have come to it."""
        self.tray.catch_up()
        if not self.definitions.kinds():  # what is in the rows will be read when that changes
            return
        self.timekeeper.reload()
        self._instruct()
        self.backlog.begin_again()
        self.read_schedules()
        self.doorkeeper.look()  # what was given to runs that could not be driven until now was told to nobody

    def look_at_timers(self) -> None:
        """Have timers that are due fire, after the mail that is there already; called on the core."""
        self.core.post(self, Letter(Tick()))

    def read_schedules(self) -> None:
        """Have all schedules looked at again: another engine may have changed one."""
        self.core.post(self.schedules, Letter(Read()))

    def _instruct(self) -> None:
        """Let the runs go on that are in memory without a definition: something came for them before it did."""
        for actor in self._live.values():
            if actor.definition is None:
                actor.definition = self.definitions.of_run(actor.row)
                if actor.definition is not None:
                    self._hand(actor, msg.Restore())

    # ---- starting

    def confirm(self, row: ExecutionRow, reply: Any) -> None:
        """Answer with the id of a run that exists, once it is on disk: it may have been started in this very cycle."""
        actor = self._live.get(row.id)
        if actor is None:
            self.turn.replies.append((reply, row.execution_id))
        else:
            self._hand(actor, msg.Confirm(), reply)

    def begin(
        self, row: ExecutionRow, begin: msg.Begin | None = None, reply: Any = None, *, facts: Sequence[Fact] = ()
    ) -> None:
        """Begin a run; its row and first facts may be on disk already, written by whoever starts it."""
        actor = self._bring_to_life(Stored(row, list(facts), []), self.definitions.registered(row))
        self._hand(actor, begin or msg.Begin(), reply)

    @property
    def live(self) -> int:
        """How many runs are in memory, and do not just rest there; from any thread."""
        return len(self._live) - len(self.resting)

    def is_under_way(self, execution_id: str) -> bool:
        """Tell whether a run is in memory and its end is still to be announced; from any thread."""
        actor = self._live.get(self._ids.get(execution_id, 0))
        return actor is not None and not actor.end_told

    def end_told(self, row: ExecutionRow) -> None:
        """Hear that the listeners were given the last event of a run; from any thread."""
        if (actor := self._live.get(row.id)) is not None:
            actor.end_told = True

    def is_recovering(self, run: int) -> bool:
        """Tell whether a run is to be restored because its turn was dropped; on the core."""
        return self.timekeeper.is_armed(run, RECOVER)

    def new_id(self) -> int:
        """Return an integer key for a row."""
        return self.core.store.new_id()

    # ---- delivering

    def to_run(self, execution_id: str, message: Any, reply: Any) -> None:
        """Hand a message to a run, waking it if need be, or answer why that cannot be."""
        run = self._ids.get(execution_id)
        if run is None:
            row = self.core.store.find(execution_id)
            if row is None:
                self.turn.replies.append((reply, ExecutionNotFound(execution_id)))
                return
            if row.owner != self.core.store.engine_id and row.state not in FINAL:
                self.turn.replies.append((reply, Elsewhere(execution_id)))
                return
            run = row.id
        actor = self._live.get(run) or self._wake(run)
        assert actor is not None
        self._hand(actor, message, reply)

    def deliver(self, run: int, message: Any, reply: Any = None) -> None:
        """Hand a message to a run, waking it if need be; one that no longer exists is past caring."""
        if run == _MYSELF:
            self._read_again()
            return
        if run <= 0:
            self.core.post(self.schedules if run == self.schedules.run_id else self.tray, Letter(message))
            return
        actor = self._live.get(run) or self._wake(run)
        if actor is not None:
            self._hand(actor, message, reply)

    def _hand(self, actor: ExecutionActor, message: Any, reply: Any = None) -> None:
        self.resting.remove(actor.run_id)
        self.core.post(actor, Letter(message, reply))

    def _wake(self, run: int) -> ExecutionActor | None:
        stored = self.core.store.load(run)
        if stored is None or not self._may_drive(stored.execution):
            return None
        row = stored.execution
        definition = self.definitions.of_run(row)
        actor = self._bring_to_life(stored, definition)
        if definition is not None and row.state not in FINAL:
            self._hand(actor, msg.Restore())
        return actor

    def _may_drive(self, row: ExecutionRow) -> bool:
        """Tell whether a run is this engine's: a late answer may be for one that was taken over, or handed on."""
        if row.owner == self.core.store.engine_id or row.state in FINAL:
            return True
        self.core.post(self.neighbours, Letter(Fenced()))  # if it was taken over, that is news
        return False

    def _bring_to_life(self, stored: Stored, definition: Definition | None) -> ExecutionActor:
        actor = ExecutionActor(self, stored, definition)
        self._live[actor.run_id] = actor
        self._ids[actor.row.execution_id] = actor.run_id
        self._starting.came(actor.row)
        return actor

    def rest(self, actor: ExecutionActor) -> None:
        """Put an actor to rest, or let it leave memory, unless there is mail for it."""
        # Invariant: a message that arrives while an actor is being put to rest is never lost.
        if actor.ready or actor.has_attempts or actor.is_asking or self._live.get(actor.run_id) is not actor:
            return
        self._crashes.pop(actor.run_id, None)
        if actor.row.state in ENDS:
            self._forget(actor)
            self.schedules.run_ended(actor.row.execution_id)
        elif actor.is_stormed:
            self.backlog.keep(actor.run_id)
        elif actor.may_rest:
            self._lay_down(actor)
        else:
            self._forget(actor)

    def _lay_down(self, actor: ExecutionActor) -> None:
        leaves = self.resting.add(actor)
        if leaves is None:
            self.backlog.look()
        else:
            self._forget(leaves)

    def _forget(self, actor: ExecutionActor) -> None:
        actor.leave()
        del self._live[actor.run_id]
        self.resting.remove(actor.run_id)
        self._ids.pop(actor.row.execution_id, None)
        self._starting.left(actor.row)
        self.backlog.left(actor.run_id)

    def let_go(self, runs: Collection[int]) -> None:
        """Stop driving these runs: another engine does."""
        for run in runs:
            if (actor := self._live.get(run)) is not None:
                actor.crashed(OwnershipLost(f"execution {actor.row.execution_id!r} was handed over to another engine"))

    def let_everything_go(self) -> None:
        """Stop driving all runs: another engine has taken them over."""
        self.let_go(list(self._live))
        self._crashes.clear()
        self.backlog.forget()
        self.timekeeper.clear()

    def late(self, run: int, message: msg.StepCompleted | msg.StepFailed) -> None:
        """Have a run tell of a handler that returned after it had moved on without it, if anybody listens."""
        if run in self._live or not self.core.bus.silent:
            self.deliver(run, message)

    # ---- for its helpers

    def revive(self, run: int) -> None:
        """Make sure that a run lives, if it is on disk."""
        if run not in self._live:
            self._wake(run)

    def exists(self, execution_id: str) -> bool:
        """Tell whether there is a run of this id."""
        return self.row_of(execution_id) is not None

    def has_ended(self, execution_id: str) -> bool:
        """Tell whether a run is in a state that it does not leave by itself, or is gone."""
        row = self.row_of(execution_id)
        return row is None or row.state in ENDS

    def row_of(self, execution_id: str) -> ExecutionRow | None:
        """Return the row of this id as the next commit leaves it."""
        run = self._ids.get(execution_id)
        return self._live[run].row if run is not None else self.core.store.find(execution_id)

    def is_on_disk(self, row: ExecutionRow) -> bool:
        """Tell whether the state of a run is what was last committed."""
        stored = self.core.store.find(row.execution_id)
        return stored is not None and stored.state == row.state

    def is_put_off(self, run: int) -> bool:
        """Tell whether a run has not begun with its first node, because its start was put off."""
        actor = self._live.get(run)
        if actor is not None:
            return actor.is_put_off
        stored = self.core.store.load(run)
        if stored is None or stored.execution.state != State.WAITING:
            return False
        return any(fact.key == DELAY and not fact.settled for fact in stored.facts)

    def live_row(self, run: int) -> ExecutionRow | None:
        """Return the row of a run in memory as the next commit leaves it."""
        actor = self._live.get(run)
        return None if actor is None else actor.row

    def drop(self, run: int) -> None:
        """Have a run leave memory that is about to leave the database."""
        if (actor := self._live.get(run)) is not None:
            self._forget(actor)

    # ---- restoring

    def adopt(self, row: ExecutionRow) -> bool:
        """Bring a run to memory that was left unfinished, or behind; tell whether it was not there yet."""
        if (actor := self._live.get(row.id)) is not None:
            if actor.is_left_behind:
                self._hand(actor, msg.Restore())
            return False
        if self.definitions.of_run(row) is None:
            return False
        if row.adoptions > _POISON:
            self._suspect(row)
        else:
            self._wake(row.id)
        return True

    def _suspect(self, row: ExecutionRow) -> None:
        """Set a run aside with which the process has died again and again, unless it never came to begin."""
        stored = self.core.store.load(row.id)
        if stored is not None and any(fact.key == BEHIND and not fact.settled for fact in stored.facts):
            self._wake(row.id)
            return
        message = (
            f"the process died {row.adoptions} times while this run was in flight, with no progress in between; "
            "find out which step kills it, then resume the run"
        )
        self._set_aside(row.id, ErrorRecord("perdure.Poison", message))

    def _set_aside(self, run: int, error: ErrorRecord) -> None:
        stored = self.core.store.load(run)
        if stored is None or not self._may_drive(stored.execution):
            return
        actor = self._bring_to_life(stored, self.definitions.of_run(stored.execution))
        self._hand(actor, msg.SetAside(error))

    def has_crashed(self, run: int) -> bool:
        """Tell whether a turn of this run was dropped since it last came to rest."""
        return run in self._crashes

    def actor_crashed(self, actor: ExecutionActor, error: BaseException) -> None:
        """Have a run whose turn was dropped restored from the store, later and later; called by the core."""
        if self._live.get(actor.run_id) is actor:
            self._forget(actor)
        if isinstance(error, OwnershipLost):
            return
        crashes = self._crashes[actor.run_id] = self._crashes.get(actor.run_id, 0) + 1
        hopeless = not isinstance(error, StoreError) or isinstance(error, StoreCorrupt)
        if hopeless and crashes % _POISON == 0:  # each third time, should that fail as well
            self.core.post(self, Letter(Quarantine(actor.run_id, _told(error))))
            return
        self.timekeeper.arm_blindly(clock.next_try(crashes), actor.run_id, RECOVER)


def _told(error: BaseException) -> ErrorRecord:
    if isinstance(error, StoreCorrupt):
        return ErrorRecord("perdure.StoreCorrupt", f"what is stored of this run cannot be read: {error}")
    return ErrorRecord("perdure.InternalError", f"{error!r}; please report this, with the log of its first occurrence")
