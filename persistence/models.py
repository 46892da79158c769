"""The tables, as peewee models: the one place that says which columns there are.

The store takes its queries from here and keeps their SQL; it makes no model instances where runs are driven (75
microseconds each). The statements that create the tables are in `migrations`; a test holds the two against each
other.
"""

# ruff: noqa: SLF001 - `_meta` is how peewee is asked about a table.
# A `Meta` in each model is how it is told.
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

from typing import Any, Final

from peewee import (
    BigIntegerField,
    CompositeKey,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

__all__ = [
    "MODELS",
    "ArchiveModel",
    "AttemptModel",
    "AuditModel",
    "BucketModel",
    "EngineModel",
    "ExecutionModel",
    "InboxModel",
    "MigrationModel",
    "MoveModel",
    "PoolKeyModel",
    "PoolModel",
    "ScheduleModel",
    "SignalModel",
    "SlotModel",
    "StepModel",
    "TagModel",
    "columns",
    "key_of",
]

DIALECT: Final = SqliteDatabase(None)
"""Never connected: it tells peewee which SQL to write."""


class _Table(Model):
    class Meta:
        database = DIALECT
        legacy_table_names = False


class MigrationModel(_Table):
    """A migration that was applied; the highest number is the schema's version."""

    number = IntegerField(primary_key=True)
    name = TextField()
    applied_at = BigIntegerField()

    class Meta:
        table_name = "workflow_migrations"


class EngineModel(_Table):
    """An engine that has the database open, or whose runs are not finished yet.

    ``driver`` is the engine that drives its runs: itself while it lives, another one that has taken it over, or
    nobody when it was closed in order.
    """

    id = BigIntegerField(primary_key=True)
    driver = BigIntegerField(null=True)
    started_at = BigIntegerField()
    pid = BigIntegerField()
    host = TextField()

    class Meta:
        table_name = "workflow_engines"


class _Execution(_Table):
    id = BigIntegerField(primary_key=True)
    execution_id = TextField()
    workflow = TextField()
    version = TextField(null=True)
    fingerprint = TextField()
    state = TextField()
    input = TextField()
    result = TextField(null=True)
    error = TextField(null=True)
    rollback = TextField(null=True)
    idempotency_key = TextField(null=True)
    tags = TextField(null=True)
    parent_id = BigIntegerField(null=True)
    parent_key = TextField(null=True)
    owner = BigIntegerField()
    adoptions = IntegerField()
    sequence = BigIntegerField()
    created_at = BigIntegerField()
    updated_at = BigIntegerField()
    finished_at = BigIntegerField(null=True)
    business_key = TextField(null=True)
    key_until = BigIntegerField(null=True)
    priority = IntegerField(default=0)


class ExecutionModel(_Execution):
    """A run: the columns are the fields of `records.ExecutionRow`, in their order."""

    class Meta:
        table_name = "workflow_executions"


class ArchiveModel(_Execution):
    """A run that was archived, with its facts, signals, attempts and audit trail as JSON."""

    steps = TextField()
    signals = TextField()
    archived_at = BigIntegerField()
    # Here, since a column that is added to a table is its last.
    business_key = TextField(null=True)
    attempts = TextField(null=True)
    key_until = BigIntegerField(null=True)
    audit = TextField()
    priority = IntegerField(default=0)

    class Meta:
        table_name = "workflow_executions_archive"


class StepModel(_Table):
    """A fact: the columns are its run and the fields of `Fact`, in their order."""

    execution = BigIntegerField()
    key = TextField()
    kind = TextField()
    status = TextField()
    turn = TextField(null=True)
    position = BigIntegerField()
    attempts = IntegerField()
    interruptions = IntegerField()
    value = TextField(null=True)
    error = TextField(null=True)
    started_at = BigIntegerField()
    completed_at = BigIntegerField(null=True)
    due_at = BigIntegerField(null=True)
    sequence = BigIntegerField()

    class Meta:
        table_name = "workflow_steps"
        primary_key = CompositeKey("execution", "key")


class AttemptModel(_Table):
    """An attempt that ended without success: the columns are its run and the fields of `records.AttemptRow`."""

    execution = BigIntegerField()
    position = BigIntegerField()
    attempt = IntegerField()
    key = TextField()
    turn = TextField(null=True)
    outcome = TextField()
    error = TextField(null=True)
    started_at = BigIntegerField(null=True)
    ended_at = BigIntegerField()
    next_at = BigIntegerField(null=True)

    class Meta:
        table_name = "workflow_attempts"
        primary_key = CompositeKey("execution", "position", "attempt")


class TagModel(_Table):
    """One tag of one run, as runs are looked for: the newest of each value first."""

    name = TextField()
    value = TextField()
    created_at = BigIntegerField()
    execution = BigIntegerField()

    class Meta:
        table_name = "workflow_tags"
        primary_key = CompositeKey("name", "value", "created_at", "execution")


class SignalModel(_Table):
    """A signal: the columns are the fields of `records.SignalRow`, in their order."""

    id = BigIntegerField()
    execution = BigIntegerField()
    event = TextField()
    payload = TextField()
    accepted_at = BigIntegerField()
    dedup_key = TextField(null=True)
    taken_by = TextField(null=True)

    class Meta:
        table_name = "workflow_signals"
        primary_key = CompositeKey("execution", "id")


class AuditModel(_Table):
    """What an operator has asked of a run: the columns are the fields of `records.AuditRow`, in their order."""

    id = BigIntegerField(primary_key=True)
    execution = BigIntegerField()
    at = BigIntegerField()
    verb = TextField()
    actor = TextField(null=True)
    reason = TextField(null=True)
    step = TextField(null=True)
    detail = TextField()

    class Meta:
        table_name = "workflow_audit"


class ScheduleModel(_Table):
    """A schedule: the columns are the fields of `records.ScheduleRow`, in their order."""

    name = TextField(primary_key=True)
    workflow = TextField()
    version = TextField(null=True)
    input = TextField()
    cron = TextField(null=True)
    tz = TextField(null=True)
    every = BigIntegerField(null=True)
    anchor = BigIntegerField()
    overlap = TextField()
    catch_up = TextField()
    next_due = BigIntegerField(null=True)
    paused = IntegerField()
    queued = TextField()
    running = TextField()
    last_due = BigIntegerField(null=True)
    last_run = TextField(null=True)
    runs = IntegerField()
    skipped = IntegerField()
    revision = BigIntegerField()
    created_at = BigIntegerField()

    class Meta:
        table_name = "workflow_schedules"


class InboxModel(_Table):
    """A message: the columns are the fields of `records.InboxRow`, in their order."""

    id = BigIntegerField(primary_key=True)
    kind = TextField()
    execution_id = TextField()
    workflow = TextField(null=True)
    version = TextField(null=True)
    idempotency_key = TextField(null=True)
    body = TextField()
    accepted_at = BigIntegerField()

    class Meta:
        table_name = "workflow_inbox"


class PoolModel(_Table):
    """Slots that runs take: how many there are, how many are taken, and whose turn it was last."""

    name = TextField(primary_key=True)
    total = IntegerField(null=True)
    per_key = IntegerField(null=True)
    held = IntegerField()
    turn = BigIntegerField()

    class Meta:
        table_name = "workflow_pools"


class PoolKeyModel(_Table):
    """One key of a pool that has runs with slots or in line; ``ready`` if one of its runs may be given a slot."""

    pool = TextField()
    key = TextField()
    held = IntegerField()
    waiting = IntegerField()
    turn = BigIntegerField()
    ready = IntegerField()

    class Meta:
        table_name = "workflow_pool_keys"
        primary_key = CompositeKey("pool", "key")


class SlotModel(_Table):
    """A run's slot, or its place in line: ``waiting``; ``given``, and the run does not know yet; ``held``."""

    execution = BigIntegerField(primary_key=True)
    pool = TextField()
    key = TextField()
    status = TextField()
    priority = IntegerField()
    since = BigIntegerField()

    class Meta:
        table_name = "workflow_slots"


class BucketModel(_Table):
    """Tokens that attempts take: when there will be as many as there may be."""

    name = TextField()
    key = TextField()
    full_at = BigIntegerField()

    class Meta:
        table_name = "workflow_buckets"
        primary_key = CompositeKey("name", "key")


class MoveModel(_Table):
    """A move to another database, or from one: the columns are the fields of `moves.Move`, in their order."""

    id = BigIntegerField(primary_key=True)
    place = TextField()
    state = TextField()
    moved = BigIntegerField()

    class Meta:
        table_name = "workflow_moves"


MODELS: Final = (
    MigrationModel,
    EngineModel,
    ExecutionModel,
    ArchiveModel,
    StepModel,
    AttemptModel,
    SignalModel,
    TagModel,
    AuditModel,
    ScheduleModel,
    InboxModel,
    PoolModel,
    PoolKeyModel,
    SlotModel,
    BucketModel,
    MoveModel,
)


def columns(model: type[Model]) -> list[str]:
    """Return the names of a model's columns, in their order."""
    return [field.column_name for field in model._meta.sorted_fields]


def key_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of the columns that a model's primary key is made of."""
    key: Any = model._meta.primary_key
    return tuple(key.field_names) if isinstance(key, CompositeKey) else (key.name,)
