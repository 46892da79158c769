"""What a node asks for while it is walked: the whole vocabulary between the language and whoever drives it.

Effects are data. The actors carry them out with threads and a database; a simulator, or a foreign engine, may drive the
same definitions another way. Rules for a driver:

1. An effect is carried out at most once at a time, and never once its fact is settled.
2. The fact is recorded before anything that depends on it happens.
3. The outcome is handed back to the walk under the effect's key. A `Conclude` and a `Withdraw` have none of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from .facts import ErrorRecord, FactKind, Place
from .joining import ALL, JoinPolicy

if TYPE_CHECKING:
    from datetime import datetime

    from .demands import Demand
    from .limits import Pool
    from .policies import AttemptPolicy
    from .scope import Scope

__all__ = [
    "Conclude",
    "Decide",
    "Effect",
    "Invoke",
    "Join",
    "Joined",
    "Remind",
    "RunChild",
    "TakeSlot",
    "UndoChild",
    "WaitFor",
    "WaitUntil",
    "Walker",
    "Withdraw",
]


class Invoke(msgspec.Struct, frozen=True):
    """Run a handler under its policy: a step going forward, or its compensation going back.

    Yields a settled fact. ``kind`` is ``STEP`` or ``UNDO``. ``bucket_key`` tells whose tokens each attempt takes, where
    the policy has a rate.
    """

    turn: ClassVar[None] = None
    check: ClassVar[None] = None

    place: Place
    handler: Callable[..., Any]
    policy: AttemptPolicy
    scope: Scope
    kind: FactKind = FactKind.STEP
    undoes: Place | None = None
    bucket_key: str = ""

    @property
    def code(self) -> Callable[..., Any]:
        """The user's function."""
        return self.handler


class Decide(msgspec.Struct, frozen=True):
    """Ask the user's code once and keep the answer: a selector, condition, extractor or ``map``.

    Yields a settled fact. ``turn`` is passed as second argument to a question that takes two. ``expects`` is what the
    answer must be: ``check`` raises when it is not, and may return a normalised answer.
    """

    policy: ClassVar[None] = None
    undoes: ClassVar[None] = None

    place: Place
    question: Callable[..., Any]
    scope: Scope
    kind: FactKind = FactKind.DECISION
    turn: int | None = None
    check: Callable[[Any], Any] | None = None

    @property
    def code(self) -> Callable[..., Any]:
        """The user's function."""
        return self.question


class WaitFor(msgspec.Struct, frozen=True):
    """Wait for the signals that meet a demand. Yields a settled fact whose value is what the demand makes of them."""

    kind: ClassVar[FactKind] = FactKind.GATE

    place: Place
    demand: Demand
    timeout: float | None
    scope: Scope


class Remind(msgspec.Struct, frozen=True):
    """Wait for the time of the next reminder of a gate that is open. Yields a settled fact.

    Reminders are given at every multiple of ``every`` seconds after the gate's wait began, before its deadline; those
    that were missed while nobody could give them are given as one. ``number`` counts those that were given.
    """

    kind: ClassVar[FactKind] = FactKind.REMINDER

    place: Place
    gate: Place
    label: str
    every: float
    number: int
    scope: Scope


class WaitUntil(msgspec.Struct, frozen=True):
    """Wait for a point in time: so many seconds from now, an instant, or what the function says."""

    kind: ClassVar[FactKind] = FactKind.SLEEP
    policy: ClassVar[None] = None
    undoes: ClassVar[None] = None
    turn: ClassVar[None] = None

    place: Place
    until: float | datetime | Callable[..., Any]
    scope: Scope
    check: Callable[[Any], Any] | None = None

    @property
    def code(self) -> Callable[..., Any]:
        """The user's function, where there is one."""
        assert callable(self.until)
        return self.until


class TakeSlot(msgspec.Struct, frozen=True):
    """Take one of the slots of a workflow, or wait in line for one. Yields a settled fact."""

    kind: ClassVar[FactKind] = FactKind.SLOT

    place: Place
    pool: Pool
    key: str


class RunChild(msgspec.Struct, frozen=True):
    """Start another workflow as an execution of its own and wait for its end. Yields its steps' results."""

    kind: ClassVar[FactKind] = FactKind.CHILD
    policy: ClassVar[None] = None
    undoes: ClassVar[None] = None
    turn: ClassVar[None] = None
    check: ClassVar[None] = None

    place: Place
    workflow: str
    mapper: Callable[..., Any] | None
    scope: Scope

    @property
    def code(self) -> Callable[..., Any]:
        """The user's function, where there is one."""
        assert self.mapper is not None
        return self.mapper


class UndoChild(msgspec.Struct, frozen=True):
    """Compensate a child that completed before its parent failed."""

    kind: ClassVar[FactKind] = FactKind.UNDO

    place: Place
    child: Place
    scope: Scope


class Conclude(msgspec.Struct, frozen=True):
    """Record what was decided of a group while some of its strands were still under way.

    Handed out before everything that depends on it, to be recorded with the fact that decided it. ``value`` is the
    encoded pair of lists: the strands that had succeeded by then, and those that had failed.
    """

    kind: ClassVar[FactKind] = FactKind.DECISION

    place: Place
    value: str


class Withdraw(msgspec.Struct, frozen=True):
    """End an effect that was begun and is no longer wanted, as soon as it can be ended.

    What has an outcome all the same is settled with that; everything else as cancelled. Nothing is tried again. What
    has no fact yet, since user code is still being asked, is forgotten.
    """

    effect: Invoke | Decide | WaitFor | Remind | WaitUntil | RunChild | UndoChild

    @property
    def place(self) -> Place:
        """Where the effect's fact belongs."""
        return self.effect.place

    @property
    def kind(self) -> FactKind:
        """What sort of fact that is."""
        return self.effect.kind


class Join(msgspec.Struct, frozen=True):
    """Walk several strands at once, at most ``limit`` of them at a time, until all have ended.

    Yields what each came to, or breaks, once all have ended, when the policy says that too many have failed. With
    ``begun`` no further strand begins after the group is lost or decided, but those that had begun before: it tells
    which of them have left facts. A policy that may decide early needs the ``place`` of the fact that says what it was.
    """

    strands: Iterable[Walker]
    size: int
    limit: int | None = None
    begun: Callable[[], Collection[int]] | None = None
    policy: JoinPolicy = ALL
    place: Place | None = None


class Joined(msgspec.Struct, frozen=True):
    """What the strands of a group came to that succeeded as a whole, by index; a strand that was stopped is in neither.

    Attributes:
        values: What the strands that succeeded left behind, encoded.
        errors: Why the strands that failed did.
    """

    values: dict[int, Any]
    errors: dict[int, ErrorRecord]


Effect = Invoke | Decide | WaitFor | Remind | WaitUntil | TakeSlot | RunChild | UndoChild | Conclude | Withdraw
"""What is handed out to be carried out; a ``Join`` is the walk's own business."""

Walker = Generator[Effect | Join, Any, Any]
"""A node being walked: yields effects, is sent settled facts, returns the encoded value it leaves behind, or None."""
