"""Incidents and the audit trail: what waits for an operator, and what operators have asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar, get_args

from msgspec import structs

from .. import arguments
from ..dsl.errors import ExecutionNotFound, IllegalTransition, StepNotOpen, UsageError
from ..dsl.legality import Verb
from ..dsl.messages import Resolve
from ..steering import AuditEntry, How, Incident, entry_of, incident_of
from .steering import SteeringVerbs

__all__ = ["IncidentVerbs"]

Counted_co = TypeVar("Counted_co", bound="int | None", covariant=True)


class IncidentVerbs(SteeringVerbs, Generic[Counted_co]):
    """What an operator sees, and ends; how the ended ones are counted is said by whoever counts."""

    def incidents(self, workflow: str | None = None, *, limit: int = 1000) -> list[Incident]:
        """Return what waits for an operator, longest first: steps and compensations that were parked.

        Args:
            workflow: Only runs of this workflow.
            limit: How many at most, 1 to 1000.
        """
        self._check_open("list incidents")
        if workflow is not None:
            arguments.check_text(workflow, "workflow")
        arguments.check_page(limit, 0)
        found = self._read("list incidents", lambda reader: reader.incidents(workflow=workflow, limit=limit))
        return [incident_of(*row) for row in found]

    def resolve(
        self,
        what: str | Incident | Iterable[str | Incident],
        how: How,
        *,
        step: str | None = None,
        result: Any = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Counted_co:
        """End incidents: of a run, one of `incidents`, or several at once.

        Args:
            what: Id of a run, an `Incident`, or several of them; of several, those that have ended are passed over.
            how: ``"retry"`` with all attempts; ``"skip"`` or ``"complete"``, as the verbs `skip` and `complete_step`;
                ``"fail"``: what would have happened without parking.
            step: Only the incident of this step of the run.
            result: What a skipped or completed step leaves behind.
            reason: Why.
            by: Who.

        Returns:
            How many incidents were ended; of a client None, if no engine has heeded it yet.

        Raises:
            IllegalTransition: the one run that was named has no incidents.
            StepNotOpen: it has none at this step.
            InvalidPayload: the result does not fit the step's output schema, or cannot be stored.
            UsageError: an argument is wrong.
        """
        self._check_open("resolve")
        if how not in get_args(How):
            msg = f"an incident ends by one of {get_args(How)}, not {how!r}"
            raise UsageError(msg)
        wish = Resolve(how, step, "null", reason, by)
        if isinstance(what, (str, Incident)):
            return self._ended([self._resolve(what, wish, result)])
        if not isinstance(what, Iterable):
            msg = f"resolve takes the id of a run, an incident, or several of them, not {what!r}"
            raise UsageError(msg)
        answers = []
        for one in list(what):
            with suppress(IllegalTransition, StepNotOpen, ExecutionNotFound):
                answers.append(self._resolve(one, wish, result))
        return self._ended(answers)

    def _resolve(self, what: str | Incident, wish: Resolve, result: Any) -> int | None:
        if isinstance(what, Incident):
            wish = structs.replace(wish, step=what.step)
        run = what.execution_id if isinstance(what, Incident) else what
        wish = structs.replace(wish, value=self._result_for_incidents(run, wish, result))
        answer: int | None = self._ask(run, wish, Verb.RESOLVE)
        return answer

    def _result_for_incidents(self, id: str, wish: Resolve, result: Any) -> str:
        """Return the result for those of a run's incidents that are meant; it has to fit them all."""
        arguments.check_text(id, "the id of a run")
        run = self.get_execution(id) if wish.how in ("skip", "complete") else None
        steps = {wish.step or incident.step for incident in run.incidents} if run is not None else set()
        values = {self._result_for(run, step, result, skips=wish.how == "skip") for step in steps}
        if len(values) > 1:
            msg = f"the result becomes another one for each of {', '.join(sorted(steps))}: name the step"
            raise UsageError(msg)
        return values.pop() if values else arguments.encode(result, None, "the result given for an incident")

    @abstractmethod
    def _ended(self, answers: Sequence[int | None]) -> Counted_co:
        """Return how many incidents were ended in all, by the answers that came."""

    def audit(self, id: str) -> list[AuditEntry]:
        """Return what operators have asked of a run, oldest first; kept as long as the run is."""
        self._check_open("read the audit trail")
        arguments.check_text(id, "the id of a run")
        rows = self._read("read the audit trail", lambda reader: reader.audit(id))
        if not rows and self._read("read the audit trail", lambda reader: reader.snapshot(id)) is None:
            raise ExecutionNotFound(id)
        return list(map(entry_of, rows))
