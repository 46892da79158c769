"""The operator's verbs of a client: each is one message in the inbox, heeded by the engine that drives the run.

What is legal when is decided where the run is; only what can be told from its row is refused before. This file must
never look at what a run has recorded.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, get_args

from . import arguments
from .actors import clock
from .actors.starting import execution_id_of
from .dsl import messages as msg
from .dsl.errors import ExecutionNotFound, IllegalTransition, UsageError
from .dsl.legality import LEGAL_VERBS, Standing, Verb, legal_in
from .dsl.states import State
from .persistence.reader import Reader
from .steering import SAME, AuditEntry, How, Incident, entry_of, incident_of

__all__ = ["OperatorVerbs"]

T = TypeVar("T")

_STANDINGS: Final = {
    State.COMPLETED: (Standing.COMPLETED,),
    State.CANCELLED: (Standing.CANCELLED,),
    State.FAILED: (Standing.FAILED, Standing.UNDONE, Standing.PARTLY_UNDONE),
}
"""Where a run may stand that has ended."""


class OperatorVerbs(ABC):
    """What an operator asks of runs that engines of other processes drive.

    Each call returns once the wish is on disk, and the engine that drives the run, if any, has heeded or refused it.
    With no engine alive a wish waits for the next one; one that is refused only then is logged there.
    """

    @abstractmethod
    def _check_open(self, verb: str) -> None:
        """Refuse what is to be done, named by a verb, when nobody can do it any more, or in a forked process."""

    @abstractmethod
    def _send(self, id: str, message: Any, check: Callable[[str | None], None]) -> Any:
        """Put a message into the inbox; return the answer, or None if nobody can give one yet."""

    @abstractmethod
    def _read(self, verb: str, look: Callable[[Reader], T]) -> T:
        """Read from the database."""

    @abstractmethod
    def _input_type(self, id: str) -> Any:
        """Return the type of a run's input, as far as its workflow is known here."""

    def _wish(self, id: str, message: Any, verb: Verb) -> Any:
        arguments.check_text(id, "the id of a run")
        for name in ("by", "reason", "step"):
            value = getattr(message, name, None)
            if value is not None:
                arguments.check_text(value, name)

        def check(state: str | None) -> None:
            if state is None:
                raise ExecutionNotFound(id)
            standings = _STANDINGS.get(State(state), ())
            if standings and not any(verb in LEGAL_VERBS[standing] for standing in standings):
                raise IllegalTransition(id, state, str(verb), map(str, legal_in(verb)))

        return self._send(id, message, check)

    def pause(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Pause a run and its children; see `Engine.pause`.

        Args:
            id: Id of the run.
            reason: Why.
            by: Who.

        Raises:
            ExecutionNotFound: there is no such run. So do all the verbs that follow.
            IllegalTransition: that cannot be asked of the run as it stands. So do all the verbs that follow.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the client is closed.
        """
        self._wish(id, msg.Pause(reason, by), Verb.PAUSE)

    def resume(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a paused run go on, or give a quarantined one another chance; see `Engine.resume`."""
        self._wish(id, msg.Resume(reason, by), Verb.RESUME)

    def retry(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a run try again what has failed; see `Engine.retry`."""
        self._wish(id, msg.Retry(reason, by), Verb.RETRY)

    def skip(self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None) -> None:
        """Go on without a step: the result stands in for its own; see `Engine.skip`."""
        self._settle(id, step, result, reason, by, skip=True)

    def complete_step(
        self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None
    ) -> None:
        """Take a step as done, as it was elsewhere; see `Engine.complete_step`."""
        self._settle(id, step, result, reason, by, skip=False)

    def _settle(self, id: str, step: str, result: Any, reason: str | None, by: str | None, *, skip: bool) -> None:
        arguments.check_text(step, "step")
        value = arguments.encode(result, None, f"the result given for step {step!r}")
        self._wish(id, msg.Settle(step, skip, value, reason, by), Verb.SKIP if skip else Verb.COMPLETE_STEP)

    def terminate(self, id: str, *, reason: str = "terminated", by: str | None = None) -> None:
        """End a run and its children at once, and undo nothing; see `Engine.terminate`."""
        self._wish(id, msg.Terminate(reason, by), Verb.TERMINATE)

    def resolve(
        self,
        what: str | Incident,
        how: How,
        *,
        step: str | None = None,
        result: Any = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> int | None:
        """End the incidents of a run, or one of `incidents`; see `Engine.resolve`.

        Returns:
            How many incidents were ended; None if no engine has heeded it yet.
        """
        self._check_open("resolve")
        if how not in get_args(How):
            msg_ = f"an incident ends by one of {get_args(How)}, not {how!r}"
            raise UsageError(msg_)
        run, step = (what.execution_id, what.step) if isinstance(what, Incident) else (what, step)
        value = arguments.encode(result, None, "the result given for an incident")
        answer = self._wish(run, msg.Resolve(how, step, value, reason, by), Verb.RESOLVE)
        return None if answer is None else int(answer)

    def _fork(
        self,
        id: str,
        *,
        at: str | None,
        input: Any,
        steps: Mapping[str, Any] | None,
        new_id: str | None,
        reason: str | None,
        by: str | None,
    ) -> str:
        """Ask for a fork; return the id that it has, or will have."""
        for value, name in ((id, "the id of a run"), (at, "at")):
            if value is not None:
                arguments.check_text(value, name)
        if steps is not None and not isinstance(steps, Mapping):
            msg_ = f"steps must be a mapping of steps to results, got {steps!r}"
            raise UsageError(msg_)
        forked = execution_id_of(clock.micros(), secrets.randbits) if new_id is None else arguments.check_id(new_id)
        encoded = (
            None if input is SAME else arguments.encode(input, self._input_type(id), f"the input of run {forked!r}")
        )
        given = {
            arguments.check_text(name, "the name of a step"): arguments.encode(value, None, f"the result of {name!r}")
            for name, value in (steps or {}).items()
        }
        self._wish(id, msg.Fork(forked, at, encoded, given, reason, by), Verb.FORK)
        return forked

    # ---- looking

    def incidents(self, workflow: str | None = None, *, limit: int = 1000) -> list[Incident]:
        """Return what waits for an operator, longest first; see `Engine.incidents`."""
        if workflow is not None:
            arguments.check_text(workflow, "workflow")
        arguments.check_page(limit, 0)
        found = self._read("list incidents", lambda reader: reader.incidents(workflow=workflow, limit=limit))
        return [incident_of(*row) for row in found]

    def audit(self, id: str) -> list[AuditEntry]:
        """Return what operators have asked of a run, oldest first; see `Engine.audit`."""
        arguments.check_text(id, "the id of a run")
        rows = self._read("read the audit trail", lambda reader: reader.audit(id))
        if not rows and self._read("read the audit trail", lambda reader: reader.snapshot(id)) is None:
            raise ExecutionNotFound(id)
        return list(map(entry_of, rows))
