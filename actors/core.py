"""The core: lets every actor with mail take its turn, commits all their records at once, then tells and acts.

Rules:

1. Decide, remember, tell, act: the same four verbs for every message. Nothing is told and nothing is done before the
   commit that made it true.
2. One cycle at a time, on whichever thread brought the mail or on the dispatcher's. Actors are touched by nobody else.
3. A turn whose decision or act raises by our own fault, or whose commit fails, is dropped whole: its actor stops, and
   the supervisor restores it from the store, never from memory. Nothing that raises ends a cycle.
4. User code never runs here.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, Union

import pykka
from pykka import messages as pykka_messages

from ..dsl.errors import DuplicateRow, InternalError, OwnershipLost, StoreError
from ..persistence.records import Batch
from . import clock
from .reply import Reply
from .turn import Turn

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from ..persistence.store import Store
    from .bus import Bus
    from .lanes import Lanes

__all__ = ["Core", "CoreActor", "Letter", "Mail"]

logger = logging.getLogger("perdure")

_TURNS_PER_COMMIT = 512


class Letter:
    """A lean pykka envelope."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: Reply | None = None) -> None:
        self.message = message
        self.reply_to = reply_to


Mail = Union["Letter", "Envelope[Any]"]
"""What stands in an inbox: our own letters, and pykka's envelopes from whoever uses an actor's reference."""


class _Mailbox:
    """An actor's inbox, as pykka knows it: putting a letter in makes the actor ready and has the core run."""

    __slots__ = ("_actor",)

    def __init__(self, actor: CoreActor) -> None:
        self._actor = actor

    def put(self, envelope: Mail, /) -> None:
        self._actor.core.post(self._actor, envelope)

    def get(self) -> Any:
        return self._actor.letters.popleft()

    def empty(self) -> bool:
        return not self._actor.letters


class _Stopped:
    """The flag pykka asks for, without a lock of its own for each of a hundred thousand actors."""

    __slots__ = ("_actor",)

    def __init__(self, actor: CoreActor) -> None:
        self._actor = actor

    def is_set(self) -> bool:
        return self._actor.is_gone

    def set(self) -> None:
        self._actor.is_gone = True


class CoreActor(pykka.Actor):
    """A pykka actor that lives on the core instead of on a thread of its own.

    What pykka makes for each actor in advance, a random URN, a lock, a reference, an entry in a registry, costs 20
    times what the rest does: here it is made when somebody asks for it.

    Attributes:
        core: Where it takes its turns.
        run_id: Integer key of the run it drives; 0 for actors that drive none.
        turn: What it has decided in the current cycle.
        letters: What stands in its inbox.
        is_gone: Whether it has stopped, and left memory.
        lost_by: Why it was let go, if its last turn was dropped.
    """

    run_id = 0

    def __init__(self, core: Core) -> None:
        self.core = core
        self.turn = Turn()
        self.letters: deque[Mail] = deque()
        self.ready = False
        self.is_gone = False
        self.lost_by: BaseException | None = None

    @property
    def actor_inbox(self) -> _Mailbox:  # type: ignore[override]
        """The inbox, as pykka's references see it."""
        return _Mailbox(self)

    @property
    def actor_stopped(self) -> _Stopped:  # type: ignore[override]
        """Whether it has stopped, as pykka's references see it."""
        return _Stopped(self)

    @property
    def _actor_ref(self) -> pykka.ActorRef[Self]:  # type: ignore[override]
        return pykka.ActorRef(self)

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """A name that is unique within the engine."""
        return f"urn:perdure:{self.run_id}"

    @staticmethod
    def _create_actor_inbox() -> Any:
        msg = "a core actor makes its own inbox"
        raise InternalError(msg)

    @staticmethod
    def _create_future() -> Reply:
        return Reply()

    def _start_actor_loop(self) -> None:
        """Do nothing: an actor is started by its first letter."""

    def receive(self, envelope: Mail) -> None:
        """Take one letter; what it decides goes into the turn. Runs on the core."""
        if type(envelope.message) is pykka_messages._ActorStop:  # noqa: SLF001 - how pykka says stop
            self.is_gone = True
            answer = None
        else:
            answer = self.on_receive(envelope.message)
        if envelope.reply_to is not None:
            self.turn.replies.append((envelope.reply_to, answer))

    def undelivered(self, message: Any) -> None:
        """Hear of a letter that came after the actor had stopped; runs on the core."""

    def report(self, error: BaseException, what: object) -> None:
        """Log that the actor could not handle something, by our own fault or the disk's; runs on the core."""
        if isinstance(error, StoreError):  # it says itself what is the matter, and may do so for as long as that lasts
            logger.warning("%s failed to handle %r: %s", self, what, error)
        else:
            logger.error("%s failed to handle %r", self, what, exc_info=error)

    def crashed(self, error: BaseException) -> None:
        """Hear that the turn was dropped; runs on the core."""
        self.is_gone = True
        self.lost_by = error


class Core:
    """The dispatcher of one engine.

    Attributes:
        store: Where records go.
        bus: Where events go.
        lanes: How anything leaves the core.
    """

    def __init__(self, store: Store, bus: Bus, lanes: Lanes) -> None:
        self.store = store
        self.bus = bus
        self.lanes = lanes
        self._ready: deque[CoreActor] = deque()
        self._mail = threading.Lock()
        self._closed = False
        self.on_fenced: Callable[[], None] = lambda: None
        self.on_unsure: Callable[[], None] = lambda: None

    def has_mail(self) -> bool:
        """Tell whether any actor has mail."""
        return bool(self._ready)

    def post(self, actor: CoreActor, envelope: Mail) -> None:
        """Put a letter into an actor's inbox, stamped; from any thread."""
        self.lanes.hold()
        message = envelope.message
        with self._mail:
            if getattr(message, "at", None) == 0:
                # Invariant: timestamps decide races, not arrival. A message is stamped as it enters the inbox, so a
                # timer that is already in the inbox was due before.
                message.at = clock.micros()
            actor.letters.append(envelope)
            if not actor.ready:
                actor.ready = True
                self._ready.append(actor)
        self.lanes.core()

    def cycle(self) -> bool:
        """Run one cycle; return whether there is more to do. Called by whoever holds the core's turn."""
        turns: list[Turn] = []
        letters = 0
        while self._ready and len(turns) < _TURNS_PER_COMMIT:
            actor = self._ready.popleft()
            # Invariant: whoever posts from now on makes the actor ready again; what was posted before is in its inbox.
            actor.ready = False
            letters += self._take_mail(actor)
            turn, actor.turn = actor.turn, Turn()
            turn.actor = actor
            turns.append(turn)
        if turns:
            self._remember(turns)
            self.lanes.release(letters)
        return bool(self._ready)

    def _take_mail(self, actor: CoreActor) -> int:
        """Let an actor handle what is in its inbox; return how many letters that were."""
        inbox = actor.letters
        count = len(inbox)
        for _ in range(count):
            envelope = inbox.popleft()
            if actor.turn.error is not None or actor.is_gone:
                actor.undelivered(envelope.message)
                actor.turn.replies.append((envelope.reply_to, actor.turn.error or _gone(actor)))
                continue
            try:
                actor.receive(envelope)
            except Exception as error:  # noqa: BLE001 - our own fault: the actor is restored from the store
                actor.report(error, envelope.message)
                actor.turn.error = error
                actor.turn.replies.append((envelope.reply_to, InternalError(f"{error!r}; please report this")))
        actor.turn.engine = self.store.engine_id
        return count

    def _remember(self, turns: list[Turn]) -> None:
        batch = Batch()
        sound = turns
        if self._void(turns):
            sound = [turn for turn in turns if turn.error is None]
            for group in _by_actor([turn for turn in turns if turn.error is not None]):
                self._drop(group, group[0].error)
        for turn in sound:
            turn.write_to(batch)
        if not batch:
            self._tell_and_act(sound)
            return
        self.lanes.commit(lambda: self.store.commit(batch), lambda error: self._committed(sound, error))

    def _void(self, turns: list[Turn]) -> bool:
        """Mark turns that must not count though nothing went wrong in them; return whether any must not."""
        engine = self.store.engine_id
        if all(turn.error is None and turn.engine == engine for turn in turns):
            return False
        broken: dict[int, BaseException] = {}
        for turn in turns:
            run = turn.actor.run_id
            if turn.error is None and turn.engine != engine:
                # Invariant: what an engine decided before it was found to be taken over, its successor does not write.
                turn.error = OwnershipLost("this engine was taken for dead meanwhile; nothing was written")
            if turn.error is None:
                turn.error = broken.get(run)  # decided by an actor that had just failed
            if turn.error is not None and run:
                broken[run] = turn.error
        return True

    def _committed(self, turns: list[Turn], error: BaseException | None) -> None:
        if error is None:
            self._tell_and_act(turns)
            return
        groups = _by_actor(turns)
        ours = not isinstance(error, StoreError)
        if len(groups) > 1 and (ours or isinstance(error, (DuplicateRow, OwnershipLost))):
            # One of them is to blame: it must not take the others with it. But all turns of one actor stand or fall
            # together, since the later ones were decided on what the earlier ones had decided.
            for group in groups:
                self._remember(group)
        else:
            told = "nothing of %d turns counts, since they could not be stored: %s"
            logger.warning(told, len(turns), error, exc_info=error if ours else None)
            for group in groups:
                self._drop(group, error)
            if isinstance(error, OwnershipLost):
                self.on_fenced()

    def _tell_and_act(self, turns: list[Turn]) -> None:
        for turn in turns:
            if turn.notices:
                self.bus.publish(turn.notices)
        for turn in turns:
            for reply, answer in turn.replies:
                if reply is not None:
                    _answer(reply, answer)
        for turn in turns:
            try:
                for act in turn.acts:
                    act()
            except Exception as error:  # noqa: BLE001 - what was to be done is on disk, so whoever is restored does it
                turn.actor.report(error, "what it had decided")
                turn.actor.crashed(error)

    def _drop(self, turns: list[Turn], error: BaseException | None) -> None:
        """Drop turns of one actor."""
        assert error is not None
        for turn in turns:
            for reply, _ in turn.replies:
                _answer(
                    reply, error if isinstance(error, StoreError) else InternalError(f"{error!r}; please report this")
                )
        turns[0].actor.crashed(error)
        if any(turn.rows for turn in turns):  # they may be on disk all the same, and nobody has begun them
            self.on_unsure()


def _by_actor(turns: list[Turn]) -> list[list[Turn]]:
    groups: dict[CoreActor, list[Turn]] = {}
    for turn in turns:
        groups.setdefault(turn.actor, []).append(turn)
    return list(groups.values())


def _gone(actor: CoreActor) -> BaseException:
    if isinstance(actor.lost_by, StoreError):
        return actor.lost_by
    return StoreError(f"{actor} was let go before it heard of this; nothing was written: try again")


def _answer(reply: Any, answer: Any) -> None:
    if reply is None:
        return
    if isinstance(answer, BaseException):
        reply.set_exception((type(answer), answer, None))
    else:
        reply.set(answer)
