"""The rows that cross the border of this room, as plain immutable records.

Instants are microseconds since the epoch, UTC. Values are text in the codec's form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ..dsl.facts import ErrorRecord, Fact

__all__ = [
    "AttemptRow",
    "AuditRow",
    "Batch",
    "ExecutionRow",
    "InboxRow",
    "IncidentRow",
    "PoolRow",
    "ScheduleChange",
    "ScheduleRow",
    "SignalRow",
    "SlotAsk",
    "SlotChange",
    "SlotGivenBack",
    "SlotHeld",
    "Stored",
    "TagRow",
    "TimerRow",
    "TokenAsk",
]


class ExecutionRow(msgspec.Struct, frozen=True):
    """One run, without its facts.

    Attributes:
        id: Integer key inside the database, allocated by the owning engine.
        execution_id: The id callers know.
        workflow: Name of the workflow.
        version: Version of the definition the run is pinned to, or None.
        fingerprint: Fingerprint of the definition the run began with.
        state: Name of the state, such as ``running``.
        input: Encoded input.
        result: Encoded value of the last node, once completed.
        error: Why the run failed or was quarantined.
        rollback: ``complete``, ``partial`` or ``none`` once a rollback has ended or was not owed.
        idempotency_key: Key the caller started it with, unique within the workflow.
        tags: Encoded mapping of the caller's tags.
        parent_id: Integer key of the parent run.
        parent_key: Key of the parent's fact that waits for this run.
        owner: Engine that drives it.
        adoptions: How often an engine took it over after a crash since it last made progress.
        sequence: Sequence number of its last event.
        created_at: When it was started.
        updated_at: When its last fact was recorded.
        finished_at: When it reached a final state.
        business_key: What the caller knows the matter by; several runs may have the same.
        key_until: When the idempotency key may be used for another run, whatever this one does.
        priority: How much it matters beside others that queue for the engine's concurrency; more is sooner.
    """

    id: int
    execution_id: str
    workflow: str
    version: str | None
    fingerprint: str
    state: str
    input: str
    result: str | None
    error: ErrorRecord | None
    rollback: str | None
    idempotency_key: str | None
    tags: str | None
    parent_id: int | None
    parent_key: str | None
    owner: int
    adoptions: int
    sequence: int
    created_at: int
    updated_at: int
    finished_at: int | None
    business_key: str | None = None
    key_until: int | None = None
    priority: int = 0


class AttemptRow(NamedTuple):
    """One attempt of a handler that ended in anything but success.

    Attributes:
        position: `Fact.order` of the fact it worked for, which no other turn's fact of the same key has.
        attempt: Its number.
        key: Key of that fact.
        turn: Turns of the enclosing loops.
        outcome: ``failed``, ``timed_out`` or ``interrupted``.
        error: Why, unless it was interrupted.
        started_at: When user code began, if that is known.
        ended_at: When it ended, or was found to have been interrupted.
        next_at: When the next attempt is due, if there is to be one.
    """

    position: int
    attempt: int
    key: str
    turn: tuple[int, ...]
    outcome: str
    error: ErrorRecord | None
    started_at: int | None
    ended_at: int
    next_at: int | None


class TagRow(NamedTuple):
    """One tag of one run: an encoded value under a name, and when the run was started."""

    name: str
    value: str
    created_at: int
    execution: int


class SignalRow(NamedTuple):
    """One signal in a run's durable mailbox.

    Attributes:
        id: Unique, ascending in the order of acceptance, allocated like `ExecutionRow.id`.
        execution: Integer key of the run.
        event: Name of the signal.
        payload: Encoded payload.
        accepted_at: When it was accepted; decides races with deadlines.
        dedup_key: Caller's key; a second signal of the same run with the same key is dropped.
        taken_by: Key of the gate that took it, or None while it waits in the mailbox.
    """

    id: int
    execution: int
    event: str
    payload: str
    accepted_at: int
    dedup_key: str | None = None
    taken_by: str | None = None


class AuditRow(NamedTuple):
    """One thing that an operator has asked of a run, written with what it caused.

    Attributes:
        id: Unique, ascending, allocated like `ExecutionRow.id`.
        execution: Integer key of the run.
        at: When it was heeded.
        verb: What was asked.
        actor: Who has asked, if they said so.
        reason: Why, if they said so.
        step: The step it was about, if it was about one.
        detail: Encoded mapping of what else was said.
    """

    id: int
    execution: int
    at: int
    verb: str
    actor: str | None
    reason: str | None
    step: str | None
    detail: str


class IncidentRow(NamedTuple):
    """A fact that waits for an operator, and the run it belongs to."""

    execution_id: str
    workflow: str
    fact: Fact


class TimerRow(NamedTuple):
    """A pending durable timer: a fact whose ``due_at`` is set."""

    due_at: int
    execution: int
    key: str


class ScheduleRow(NamedTuple):
    """A schedule: what it starts, when, and how far it has come.

    Attributes:
        name: Name of the schedule.
        workflow: Name of the workflow whose runs it starts.
        version: Version it starts, or None for the one registered last.
        input: Encoded input of every run.
        cron: The expression, or None.
        tz: Name of the time zone the expression is read in.
        every: Microseconds between ticks, where there is no expression.
        anchor: The instant that ``every`` is counted from.
        overlap: ``skip``, ``queue`` or ``allow``.
        catch_up: ``all``, ``last`` or ``none``.
        next_due: The tick that comes next, or None if none ever comes.
        paused: Whether ticks are passed over.
        queued: Ticks that wait for the run before to end.
        running: Ids of runs that it started and that were not seen to have ended; kept only where overlap matters.
        last_due: The tick that was handled last.
        last_run: Id of the run it started last.
        runs: How many runs it has started.
        skipped: How many ticks it has skipped because a run was unfinished.
        revision: Never the same after a change.
        created_at: When it was made.
    """

    name: str
    workflow: str
    version: str | None
    input: str
    cron: str | None
    tz: str | None
    every: int | None
    anchor: int
    overlap: str
    catch_up: str
    next_due: int | None
    paused: bool
    queued: tuple[int, ...]
    running: tuple[str, ...]
    last_due: int | None
    last_run: str | None
    runs: int
    skipped: int
    revision: int
    created_at: int


class ScheduleChange(NamedTuple):
    """What a commit does to one schedule.

    Attributes:
        row: The new row, or None to delete it.
        replaces: Revision of the row it stands in for, or None for a schedule that is new.
    """

    row: ScheduleRow | None
    replaces: int | None


class InboxRow(NamedTuple):
    """A message for a run, from whoever does not drive it.

    Attributes:
        id: Its number, ascending in the order of acceptance; 0 before it is written.
        kind: What sort of message it is.
        execution_id: The run it is for, or the one it starts.
        workflow: Name of the workflow, in a start.
        version: Version of the workflow, in a start that names one.
        idempotency_key: The caller's key, in a start that has one.
        body: The message itself, as JSON.
        accepted_at: When it was accepted; decides races with deadlines.
    """

    id: int
    kind: str
    execution_id: str
    workflow: str | None
    version: str | None
    idempotency_key: str | None
    body: str
    accepted_at: int


class PoolRow(NamedTuple):
    """The slots that runs take, and how many there are from now on.

    Attributes:
        name: Their name.
        total: How many there are, or None.
        per_key: How many of them a key may have, or None.
    """

    name: str
    total: int | None
    per_key: int | None

    @property
    def pool_name(self) -> str:
        """Its name, as every change of slots has it."""
        return self.name


@dataclass(slots=True)
class SlotAsk:
    """A run that needs a slot; asking again does no harm.

    Attributes:
        pool: Of which, and how many there are if nobody has said so yet.
        run: Integer key of the run.
        key: Whose run it is.
        priority: How much it matters beside others of its key.
        since: When it came, which is its place among equals.
        given: The answer, once it was written: whether the run has a slot.
    """

    pool: PoolRow
    run: int
    key: str
    priority: int
    since: int
    given: bool = False

    @property
    def pool_name(self) -> str:
        """Name of the pool."""
        return self.pool.name


class SlotHeld(NamedTuple):
    """A run knows of the slot that it was given."""

    pool_name: str
    run: int


class SlotGivenBack(NamedTuple):
    """A run needs no slot any longer, whether it has one or waits for it."""

    pool_name: str
    run: int


SlotChange = PoolRow | SlotAsk | SlotHeld | SlotGivenBack


@dataclass(slots=True)
class TokenAsk:
    """An attempt that needs a token.

    Attributes:
        bucket: Of which bucket.
        key: Whose attempt it is.
        interval: Microseconds in which one token comes back.
        most: How many tokens the bucket holds.
        now: When it is asked for.
        due: The answer, once it was written: when the token is the attempt's.
    """

    bucket: str
    key: str
    interval: int
    most: int
    now: int
    due: int = 0


class Stored(NamedTuple):
    """A run as the actor needs it: its row, all its facts, and its signals in order of acceptance."""

    execution: ExecutionRow
    facts: list[Fact]
    signals: list[SignalRow]


@dataclass(slots=True)
class Batch:
    """Everything that one commit writes, for all turns that were ready.

    Attributes:
        executions: Rows to insert or replace, keyed by integer id: the last one of a run wins.
        facts: Facts to insert or replace, keyed by run and fact key: the last one wins.
        signals: Signals to insert or replace, keyed by id.
        schedules: Changes of schedules, by name.
        attempts: Attempts that ended without success, each with its run.
        tags: Tags of runs that begin.
        replaced: Finished runs that go to the archive before anything else is written.
        freed: Runs that lose their idempotency key before anything else is written.
        inputs: Runs that have not begun, each with the input that it gets instead of its own.
        consumed: Numbers of messages in the inbox that the rest of the batch comes from.
        forgotten: Facts to delete, before others are written.
        audit: What operators have asked.
        slots: Slots that are asked for, given back, or had in another number.
        tokens: Tokens that attempts need.
    """

    executions: dict[int, ExecutionRow] = field(default_factory=dict)
    facts: dict[tuple[int, str], Fact] = field(default_factory=dict)
    signals: dict[int, SignalRow] = field(default_factory=dict)
    schedules: dict[str, ScheduleChange] = field(default_factory=dict)
    attempts: tuple[tuple[int, AttemptRow], ...] = ()
    tags: tuple[TagRow, ...] = ()
    replaced: tuple[int, ...] = ()
    freed: tuple[int, ...] = ()
    inputs: tuple[tuple[int, str], ...] = ()
    consumed: list[int] = field(default_factory=list)
    forgotten: set[tuple[int, str]] = field(default_factory=set)
    audit: list[AuditRow] = field(default_factory=list)
    slots: tuple[SlotChange, ...] = ()
    tokens: tuple[TokenAsk, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        records = self.executions or self.facts or self.signals or self.schedules
        return bool(records or self.consumed or self.forgotten or self.audit or self.slots)
