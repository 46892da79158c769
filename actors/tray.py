"""The tray: takes messages out of the durable inbox and hands them to the runs they are for.

Rules:

1. Invariant: a message is acted on once. It leaves the inbox in the commit that holds what it has caused; of two
   engines that take it, one commits, and the other is refused as a whole.
2. Messages for one run are taken in the order in which they were accepted, its start first.
3. What this engine cannot act on, since another one drives the run or nobody has registered its workflow here, it
   leaves where it is.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from ..dsl import messages as msg
from ..dsl.errors import DuplicateRow, InternalError, StoreError
from ..dsl.states import FINAL
from ..persistence.records import InboxRow
from . import clock
from .admission import Admission, Fitted, fitting
from .core import Core, CoreActor, Letter
from .reply import Elsewhere, Errand, Listening
from .starting import Start, ToRun

if TYPE_CHECKING:
    from ..dsl.definition import Definition
    from .supervisor import Supervisor

__all__ = ["LEFT", "Collect", "TakeRow", "Tray", "pack", "pack_start"]

logger = logging.getLogger("perdure")

_PAGE = 200
_REMEMBERED = 1000

_MESSAGES: dict[str, type[msgspec.Struct]] = {
    "signal": msg.Signalled,
    "cancel": msg.Cancel,
    "terminate": msg.Terminate,
    "pause": msg.Pause,
    "resume": msg.Resume,
    "retry": msg.Retry,
    "settle": msg.Settle,
    "resolve": msg.Resolve,
    "fork": msg.Fork,
    "postpone": msg.Postpone,
}
_KINDS = {message: kind for kind, message in _MESSAGES.items()}
_START = "start"


class Collect(msgspec.Struct, frozen=True):
    """Look at all messages behind this one."""

    after: int = 0


class TakeRow(msgspec.Struct, frozen=True):
    """Somebody waits for the answer to this message."""

    row: int


class _Left:
    """The answer that the message was left for another engine."""


LEFT = _Left()


def pack(execution_id: str, message: Any) -> InboxRow | None:
    """Return a message for a run as it is kept; None if it is of a sort that does not travel."""
    kind = _KINDS.get(type(message))
    if kind is None:
        return None
    body = msgspec.json.encode(message, enc_hook=_plain).decode()
    return InboxRow(0, kind, execution_id, None, None, None, body, clock.micros())


def pack_start(start: Start) -> InboxRow:
    """Return a start as it is kept."""
    body = msgspec.json.encode(start, enc_hook=_plain).decode()
    return InboxRow(0, _START, start.new_id, start.workflow, start.version, start.key, body, clock.micros())


def _plain(value: Any) -> str:
    """Return a text of a class of its own, such as a template engine's safe text, as the text it is."""
    return str.__str__(value)


def _unpack(row: InboxRow) -> Any:
    if row.kind == _START:
        return msgspec.json.decode(row.body, type=Start)
    message = msgspec.json.decode(row.body, type=_MESSAGES[row.kind])
    if isinstance(message, msg.Signalled):
        message.accepted_at = row.accepted_at
    return message


class Tray(CoreActor):
    """One for each engine.

    Attributes:
        run_id: What stands for the tray among those to whom timers are delivered.
        is_behind: Whether there may be messages that came while nobody was there to see them.
        timers_wait: Whether timers are to be looked at once that is so no longer.
    """

    run_id = -1
    is_behind = False
    timers_wait = False
    _has_collected = False

    def __init__(self, core: Core, office: Supervisor) -> None:
        super().__init__(core)
        self._office = office
        self._in_hand: dict[int, Errand] = {}
        self._answers: OrderedDict[int, Any] = OrderedDict()
        self._failures = 0
        self._strange: set[int] = set()
        self._admission = Admission(self, office)

    def __str__(self) -> str:
        """Name it in logs."""
        return "the inbox"

    # ---- messages

    def receive(self, envelope: Any) -> None:
        """Take one letter; who asks for a row gets the row's own answer. Runs on the core."""
        match envelope.message:
            case TakeRow(row):
                self._take(row, envelope.reply_to)
            case _:
                super().receive(envelope)

    def on_receive(self, message: Any) -> Any:
        """Handle one message; runs on the core."""
        match message:
            case Collect(after):
                self._collect(after)
            case msg.Timeout():
                self._collect(0)
            case Fitted():
                self._admission.fitted(message)
                if self.is_behind and self._has_collected and not self._admission:
                    self._caught_up()
        return None

    def crashed(self, error: BaseException) -> None:
        """Look again, later: the store could not be read."""
        for errand in self._admission.leave():
            self._in_hand.pop(errand.row, None)
            for reply in errand.listening:
                reply.set(LEFT)
        self._caught_up()  # or its own timer would wait as well
        self._try_again()

    # ---- taking

    def catch_up(self) -> None:
        """Look at all messages, and have timers wait until then; called on the core.

        A signal that was accepted in time opens its gate, though its deadline came while nobody was there to see.
        """
        self.is_behind, self._has_collected = True, False
        self.core.post(self, Letter(Collect()))

    def _caught_up(self) -> None:
        self.is_behind = False
        if self.timers_wait:
            self.timers_wait = False
            self._office.look_at_timers()

    def _collect(self, after: int) -> None:
        if self._office.closing:
            return
        rows = self.core.store.inbox.page(after, _PAGE)
        for row in rows:
            self._bring(row)
        if len(rows) == _PAGE:
            self.turn.acts.append(lambda: self.core.post(self, Letter(Collect(rows[-1].id))))
        elif self.is_behind and self._admission:
            self._has_collected = True
        elif self.is_behind:
            self._caught_up()

    def _take(self, wanted: int, reply: Listening) -> None:
        rows = self.core.store.inbox.until(wanted)
        if not rows and wanted not in self._in_hand:
            self.turn.replies.append((reply, self._answers.get(wanted, LEFT)))
            return
        for row in rows:
            self._bring(row, reply if row.id == wanted else None)

    def _bring(self, row: InboxRow, reply: Listening | None = None) -> None:
        """Hand a message to the supervisor, if it is for us."""
        errand = self._in_hand.get(row.id)
        if errand is None and (message := self._message(row)) is not None and self._is_ours(row):
            errand = self._in_hand[row.id] = Errand(row.id, self._done)
            self._admission.admit(errand, message, fitting(message, lambda: self._definition_of(row)))
        if reply is None:
            return
        if errand is None:
            self.turn.replies.append((reply, LEFT))
        else:
            errand.listening.append(reply)

    def _message(self, row: InboxRow) -> Any:
        try:
            message = _unpack(row)
        except (KeyError, msgspec.MsgspecError):
            if row.id not in self._strange:
                self._strange.add(row.id)
                logger.warning(
                    "message %d in the inbox, a %r for execution %r, is of another release, and left for that",
                    row.id,
                    row.kind,
                    row.execution_id,
                )
            return None
        return message if isinstance(message, Start) else ToRun(row.execution_id, message)

    def _definition_of(self, row: InboxRow) -> Definition | None:
        """Return the definition of the run that a message starts, or is for."""
        if row.workflow is not None:
            return self._office.definitions.whole(row.workflow, row.version)
        if (run := self._office.row_of(row.execution_id)) is not None:
            return self._office.definitions.of_run(run)
        starts = (earlier for earlier in self.core.store.inbox.of_run(row.execution_id) if earlier.workflow is not None)
        start = next(starts, None)
        return None if start is None else self._definition_of(start)

    def _is_ours(self, row: InboxRow) -> bool:
        if row.workflow is not None:
            return self._office.definitions.whole(row.workflow, row.version) is not None
        run = self._office.row_of(row.execution_id)
        if run is None:
            return not self.core.store.inbox.has_start(row.execution_id) or self._starts(row.execution_id)
        if run.state in FINAL:
            return True
        return run.owner == self.core.store.engine_id and self._office.definitions.of_run(run) is not None

    def _starts(self, execution_id: str) -> bool:
        """Tell whether the start of this run is in hand."""
        return any(
            earlier.workflow is not None and earlier.id in self._in_hand
            for earlier in self.core.store.inbox.of_run(execution_id)
        )

    # ---- answers

    def _done(self, errand: Errand, answer: Any) -> None:
        """Pass an answer on, or try again; called once the commit has succeeded, or failed."""
        self._in_hand.pop(errand.row, None)
        if isinstance(answer, Elsewhere):
            answer = LEFT
        elif not errand.consumes(answer) or isinstance(answer, StoreError | InternalError):
            # Another engine has taken it, or started a run of this id; or the disk, or we, have failed.
            self._try_again(at_once=isinstance(answer, DuplicateRow))
            answer = LEFT
        else:
            self._failures = 0
            self._remember(errand.row, answer)
            if isinstance(answer, Exception) and not errand.listening:
                logger.warning("message %d from the inbox was refused: %s", errand.row, answer)
        for reply in errand.listening:
            if isinstance(answer, BaseException):
                reply.set_exception((type(answer), answer, None))
            else:
                reply.set(answer)

    def _remember(self, row: int, answer: Any) -> None:
        """Keep an answer for a while: who waits for it may ask after it was given."""
        self._answers[row] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)

    def _try_again(self, *, at_once: bool = False) -> None:
        self._failures += 1
        if at_once and self._failures == 1:
            self.core.post(self, Letter(Collect()))
            return
        self._office.timekeeper.arm(clock.next_try(self._failures), self.run_id, "", attempt=0)
