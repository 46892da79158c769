"""What execution actors are told, and by whom. Instants are microseconds since the epoch, UTC."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .facts import ErrorRecord

__all__ = [
    "Begin",
    "Cancel",
    "ChildEnded",
    "Confirm",
    "Fork",
    "Message",
    "NoSlot",
    "Pause",
    "Postpone",
    "Resolve",
    "Restore",
    "Resume",
    "Retry",
    "SetAside",
    "Settle",
    "Signalled",
    "SlotGiven",
    "StepCompleted",
    "StepFailed",
    "StepInterrupted",
    "StepNoted",
    "Terminate",
    "Timeout",
    "TokenGiven",
    "Undo",
]


class Begin(msgspec.Struct, frozen=True):
    """Start from nothing; the first message of every run.

    Attributes:
        start_at: When the first node may begin; at once when it is left out.
        replaces: Finished runs whose id this one gets; they go to the archive.
        takes_key_of: Runs whose idempotency key this one gets.
    """

    at: ClassVar[int] = -1  # the moment of its arrival decides nothing

    start_at: int | None = None
    replaces: tuple[int, ...] = ()
    takes_key_of: tuple[int, ...] = ()


class Confirm(msgspec.Struct, frozen=True):
    """The supervisor: a caller asks for a run that lives; its own turn answers, which says that it is on disk."""


class Restore(msgspec.Struct, frozen=True):
    """Go on from the facts; the first message after a restart or a rest."""

    interrupted: bool = True


class StepCompleted(msgspec.Struct):
    """The crew: user code has returned, its answer is encoded."""

    key: str
    attempt: int
    value: str
    turn: tuple[int, ...] = ()
    at: int = 0


class StepFailed(msgspec.Struct):
    """The crew: user code has raised.

    Attributes:
        retryable: Whether the handler's policy allows another attempt after this exception.
        delay: Seconds the handler asked to wait, if it did.
        lost: Whether nobody knows how far the handler came: whatever ran it is gone.
    """

    key: str
    attempt: int
    error: ErrorRecord
    retryable: bool = True
    delay: float | None = None
    turn: tuple[int, ...] = ()
    at: int = 0
    lost: bool = False


class StepInterrupted(msgspec.Struct):
    """The crew: the attempt was cut short by the process's own end, or never began; it does not count.

    Attributes:
        began: Whether the handler was called.
    """

    key: str
    attempt: int
    began: bool = True
    turn: tuple[int, ...] = ()
    at: int = 0


class StepNoted(msgspec.Struct):
    """A running handler: it has told how far it has come, or left a checkpoint; what, stands with its attempt."""

    key: str
    attempt: int
    turn: tuple[int, ...] = ()
    at: int = 0


class Signalled(msgspec.Struct):
    """A caller: a signal for this run.

    Attributes:
        accepted_at: When it was put on disk, if that was before it came here.
    """

    event: str
    payload: str
    dedup_key: str | None = None
    strict: bool = True
    at: int = 0
    accepted_at: int | None = None


class Timeout(msgspec.Struct, frozen=True):
    """The timekeeper: a durable timer, or an attempt's time limit, has come due.

    Attributes:
        key: Key of the fact the timer belongs to.
        due: When it was due.
        attempt: The attempt it limits, or None for a durable timer.
    """

    key: str
    due: int
    attempt: int | None = None


class ChildEnded(msgspec.Struct, frozen=True):
    """The supervisor: a child has reached a final state.

    Attributes:
        key: Key of the parent's fact that waits for it.
        state: The child's state.
        value: Its steps' results, encoded, if it completed.
        error: Why it did not.
        left: What it could not undo, if it was undone only in part.
    """

    key: str
    state: str
    value: str | None = None
    error: ErrorRecord | None = None
    left: ErrorRecord | None = None


class Cancel(msgspec.Struct, frozen=True):
    """A caller, or the parent: stop, and undo what was done unless told not to."""

    compensate: bool = True
    reason: str = "cancelled"
    by: str | None = None


class Terminate(msgspec.Struct, frozen=True):
    """A caller, or the parent: stop at once, wait for nothing and undo nothing."""

    reason: str = "terminated"
    by: str | None = None


class Pause(msgspec.Struct, frozen=True):
    """A caller, or the parent: begin nothing more until you are resumed."""

    reason: str | None = None
    by: str | None = None
    by_parent: bool = False


class Retry(msgspec.Struct, frozen=True):
    """A caller, or the parent: try again what has failed.

    Attributes:
        number: The parent's count of its retries, so that each is heeded once.
    """

    reason: str | None = None
    by: str | None = None
    number: int | None = None


class Settle(msgspec.Struct, frozen=True):
    """A caller: take this value as the outcome of a step, which was done elsewhere or is not to be done at all."""

    step: str
    skip: bool
    value: str
    reason: str | None = None
    by: str | None = None


class Resolve(msgspec.Struct, frozen=True):
    """A caller: this is how incidents of yours end.

    Attributes:
        how: ``retry``, ``skip``, ``complete`` or ``fail``.
        step: Whose incident; all of them when left out.
        value: Encoded outcome of what is skipped or complete.
    """

    how: str
    step: str | None
    value: str
    reason: str | None = None
    by: str | None = None


class Fork(msgspec.Struct, frozen=True):
    """A caller: make a new run of what you have recorded before a step.

    Attributes:
        execution_id: Id of the new run.
        step: The step it goes on with; where this run stands or has failed when left out.
        input: Encoded input of the new run; this run's when left out.
        steps: Encoded results, by step, in place of what is recorded.
    """

    execution_id: str
    step: str | None
    input: str | None
    steps: dict[str, str]
    reason: str | None = None
    by: str | None = None


class Postpone(msgspec.Struct, frozen=True):
    """A caller: begin later, and with this input; only for a run that is still put off."""

    input: str
    start_at: int


class Undo(msgspec.Struct, frozen=True):
    """The parent: it failed after this child had completed, so undo the child."""

    parent_key: str


class Resume(msgspec.Struct, frozen=True):
    """A caller, or the parent: go on, after a pause; or a caller: give a quarantined run another chance."""

    reason: str | None = None
    by: str | None = None
    by_parent: bool = False


class SlotGiven(msgspec.Struct, frozen=True):
    """The doorkeeper, or the run to itself when it has asked: it has a slot."""

    asked: bool = False


class NoSlot(msgspec.Struct, frozen=True):
    """The run to itself: there was no slot; it stands in line."""


class TokenGiven(msgspec.Struct, frozen=True):
    """The run to itself: an attempt has a token, to be used when it is due."""

    key: str
    turn: tuple[int, ...]
    due: int


class SetAside(msgspec.Struct, frozen=True):
    """The supervisor: this run cannot be driven; quarantine it."""

    error: ErrorRecord


Message = Any
"""Any of the above."""
