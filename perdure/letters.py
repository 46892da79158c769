"""Letters to the actors, from the threads of callers: an answer is what is on disk, whoever had to be asked.

Rules:

1. A letter is sent again when another engine was first, or this one was taken over: nothing was written then.
2. What another engine drives is asked of that, by the database's inbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .actors.core import Core, CoreActor, Letter
from .actors.courier import Courier
from .actors.exchange import Exchange
from .actors.interrupts import uninterrupted
from .actors.neighbours import Fenced
from .actors.reply import Elsewhere, NoAnswer, Reply
from .actors.starting import Start, ToRun
from .actors.supervisor import Supervisor
from .actors.tray import TakeRow, pack
from .dsl.errors import DuplicateRow, OwnershipLost

__all__ = ["Letters"]

_MOST_RACES: Final = 5
"""How often a letter is sent again because another engine was first."""


class Letters:
    """Sends one engine's letters.

    Args:
        core: Where they are posted.
        supervisor: Who gets those that are for nobody else.
        exchange: How other engines are called.
        check_open: Refuses what is to be done, named by a verb, once nobody will answer any more.
    """

    def __init__(
        self, core: Core, supervisor: Supervisor, exchange: Exchange, check_open: Callable[[str], None]
    ) -> None:
        self._core = core
        self._supervisor = supervisor
        self._check_open = check_open
        self._courier = Courier(exchange, core.store.inbox, take_here=self._take_here)

    def ask(self, message: Any, verb: str, actor: CoreActor | None = None) -> Any:
        """Send a letter to the supervisor, or to another actor, and return the answer once all it says is on disk.

        Raises:
            EngineClosed: nobody will answer any more. An error that is the answer is raised as well.
        """
        for _ in range(_MOST_RACES):
            try:
                answer = self._ask(message, verb, actor)
            except DuplicateRow:  # another engine was first with this id or key, or with a message
                if not isinstance(message, Start | ToRun):
                    raise
            except OwnershipLost:  # the run, or this engine, was taken over: nothing was written
                self._ask(Fenced(), verb, self._supervisor.neighbours)
            else:
                if not isinstance(answer, Elsewhere):
                    return answer
                if isinstance(message, Start):
                    self._ask_elsewhere(ToRun(answer.execution_id, message.for_existing()), verb)
                    return answer.execution_id
                if isinstance(message, ToRun):
                    return self._ask_elsewhere(message, verb)
        return self._ask(message, verb, actor)

    def _ask_elsewhere(self, message: ToRun, verb: str) -> Any:
        """Have the engine that drives a run act on a message; return its answer, or None if it gives none in time."""
        row = pack(message.execution_id, message.message)
        if row is None:
            msg = (
                f"execution {message.execution_id!r} is driven by another engine that has this database open: "
                f"{verb} it there, or once that engine is closed; nothing was written"
            )
            raise OwnershipLost(msg)
        self._check_open(verb)
        store = self._core.store
        number = self._core.lanes.exclusively(lambda: store.inbox.send(row))
        silence = object()
        answer = self._courier.deliver(number, message.execution_id, here=store.engine_id, silence=silence)
        if answer is silence:
            # Nobody answers an engine that has been closed meanwhile: that is no yes, and no no either.
            self._check_open(f"tell what has come of the {verb}, which is on disk")
            return None
        return answer

    def _take_here(self, row: int) -> Any:
        return self.ask(TakeRow(row), "take a message", self._supervisor.tray)

    def _ask(self, message: Any, verb: str, actor: CoreActor | None) -> Any:
        reply = Reply()
        uninterrupted(self._core.post, actor or self._supervisor, Letter(message, reply))
        while True:
            try:
                return reply.get(timeout=1.0)
            except NoAnswer:
                self._check_open(verb)
