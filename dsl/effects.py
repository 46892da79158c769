"""What a node asks for while it is walked: the whole vocabulary between the language and whoever drives it.

Effects are data. The actors carry them out with threads and a database; a simulator, or a foreign engine, may drive the
same definitions another way. Rules for a driver:

1. An effect is carried out at most once at a time, and never once its fact is settled.
2. The fact is recorded before anything that depends on it happens.
3. The outcome is handed back to the walk under the effect's key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from .facts import FactKind, Place

if TYPE_CHECKING:
    from datetime import datetime

    from .policies import AttemptPolicy
    from .scope import Scope
    from .signals import Signal

__all__ = ["Decide", "Effect", "Invoke", "Join", "RunChild", "UndoChild", "WaitFor", "WaitUntil", "Walker"]


class Invoke(msgspec.Struct, frozen=True):
    """Run a handler under its policy: a step going forward, or its compensation going back.

    Yields a settled fact. ``kind`` is ``STEP`` or ``UNDO``.
    """

    place: Place
    handler: Callable[..., Any]
    policy: AttemptPolicy
    scope: Scope
    kind: FactKind = FactKind.STEP
    undoes: Place | None = None


class Decide(msgspec.Struct, frozen=True):
    """Ask the user's code once and keep the answer: a selector, condition, extractor or ``map``.

    Yields a settled fact. ``turn`` is passed as second argument to a question that takes two. ``expects`` is what the
    answer must be: ``check`` raises when it is not, and may return a normalised answer.
    """

    place: Place
    question: Callable[..., Any]
    scope: Scope
    kind: FactKind = FactKind.DECISION
    turn: int | None = None
    check: Callable[[Any], Any] | None = None


class WaitFor(msgspec.Struct, frozen=True):
    """Wait for a signal. Yields a settled fact whose value is the payload."""

    kind: ClassVar[FactKind] = FactKind.GATE

    place: Place
    signal: Signal[Any]
    timeout: float | None
    scope: Scope


class WaitUntil(msgspec.Struct, frozen=True):
    """Wait for a point in time: so many seconds from now, an instant, or what the function says."""

    kind: ClassVar[FactKind] = FactKind.SLEEP

    place: Place
    until: float | datetime | Callable[..., Any]
    scope: Scope
    check: Callable[[Any], Any] | None = None


class RunChild(msgspec.Struct, frozen=True):
    """Start another workflow as an execution of its own and wait for its end. Yields its steps' results."""

    kind: ClassVar[FactKind] = FactKind.CHILD

    place: Place
    workflow: str
    mapper: Callable[..., Any] | None
    scope: Scope


class UndoChild(msgspec.Struct, frozen=True):
    """Compensate a child that completed before its parent failed."""

    kind: ClassVar[FactKind] = FactKind.UNDO

    place: Place
    child: Place
    scope: Scope


class Join(msgspec.Struct, frozen=True):
    """Walk several strands at once, at most ``limit`` of them at a time, until all have ended.

    Yields their values in order. Any that broke make the group break once all have ended. With ``begun`` no further
    strand begins after the first that broke, but those that had begun before it broke: it tells which they are.
    """

    strands: Iterable[Walker]
    limit: int | None = None
    begun: Callable[[], Collection[int]] | None = None


Effect = Invoke | Decide | WaitFor | WaitUntil | RunChild | UndoChild
"""What is handed out to be carried out; a ``Join`` is the walk's own business."""

Walker = Generator[Effect | Join, Any, Any]
"""A node being walked: yields effects, is sent settled facts, returns the encoded value it leaves behind, or None."""
