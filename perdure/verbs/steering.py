"""Steering runs: every wish is one message to the run, and what is legal when is decided there, by a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import arguments
from ..dsl import messages as msg
from ..dsl.errors import ExecutionNotFound, UsageError
from ..dsl.legality import Verb
from ..dsl.states import State
from ..execution import Execution
from ..given import encode_result
from ..steering import SAME
from .looking import LookingVerbs

if TYPE_CHECKING:
    from ..run import Run

__all__ = ["SteeringVerbs"]


class SteeringVerbs(LookingVerbs):
    """What an operator asks of runs."""

    def cancel(self, id: str, *, compensate: bool = True, reason: str = "cancelled", by: str | None = None) -> bool:
        """Cancel a run: nothing new begins, what is in flight ends, then what was completed is undone.

        Returns once the wish is on disk; the run ends as ``cancelled``, its children before it. From then on nothing
        else can end it: a result that comes later is recorded, and undone like the others.

        Args:
            id: Id of the run.
            compensate: Whether what was completed is undone.
            reason: Why; kept in the run's error and in its audit trail.
            by: Who; kept in the audit trail. So it is in all the verbs that follow.

        Returns:
            Whether this call did it; False if the run was being stopped already.

        Raises:
            UsageError: compensate is neither True nor False.
            ExecutionNotFound: there is no such run. So do all the verbs that follow.
            IllegalTransition: it has ended, is being undone already, or is quarantined: ``error.state`` says which.
            UnknownWorkflow: its workflow is not registered.
            EngineClosed: the engine is closed. So do all the verbs that follow.
        """
        if not isinstance(compensate, bool):  # a text that says no would have everything undone
            raise UsageError(f"cancel: compensate must be True or False, got {compensate!r}")
        return self._ask(id, msg.Cancel(compensate, reason, by), Verb.CANCEL) is not False

    def pause(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Pause a run and its children: nothing begins until `resume`, across restarts too.

        Handlers in flight finish and are recorded, signals are taken, and deadlines stay where they are.

        Raises:
            IllegalTransition: it is paused already, has ended, is being stopped, or is quarantined.
        """
        self._ask(id, msg.Pause(reason, by), Verb.PAUSE)

    def resume(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a paused run go on, or give a quarantined one another chance.

        Raises:
            IllegalTransition: it is neither paused nor quarantined.
            UnknownWorkflow: it is quarantined, and its workflow is not registered.
        """
        self._ask(id, msg.Resume(reason, by), Verb.RESUME)

    def retry(self, id: str, *, reason: str | None = None, by: str | None = None) -> None:
        """Have a run try again what has failed, with all its attempts; nothing that is recorded is done again.

        A failed run goes on at the step it failed for, one with incidents at those. A run whose rollback is partial
        tries again the compensations that have failed. One that was undone cannot be retried, since what its steps
        did is gone: `fork` it.

        Raises:
            IllegalTransition: nothing of it has failed, or it was undone.
            UsageError: it is a sub-workflow whose parent has heard of its end: retry the parent.
            UnknownWorkflow: its workflow is not registered.
        """
        self._ask(id, msg.Retry(reason, by), Verb.RETRY)

    def skip(self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None) -> None:
        """Go on without a step: the result stands in for its own, and it owes no compensation.

        A handler in flight is not waited for. A failed run goes on after the step. Of a run that is being undone, the
        step's compensation is skipped, and the rollback is partial.

        Args:
            id: Id of the run.
            step: Name of the step, gate, sleep, branch or other node at which the run stands.
            result: What later nodes see.
            reason: Why.
            by: Who.

        Raises:
            IllegalTransition: the run has ended otherwise than by failing, is being stopped, or is quarantined.
            StepNotOpen: the run does not stand at the step.
            InvalidPayload: the result does not fit the step's output schema or the type of the gate's signal, cannot
                be stored, or is no answer to what a branch or loop asks. What the schema returns is what is stored.
            UsageError: the step is a sub-workflow that lives.
            UnknownWorkflow: its workflow is not registered.
        """
        self._settle(id, step, result, reason, by, verb=Verb.SKIP)

    def complete_step(
        self, id: str, step: str, *, result: Any = None, reason: str | None = None, by: str | None = None
    ) -> None:
        """Take a step as done, as it was elsewhere: unlike a skipped one it is undone if the run fails later.

        A skipped step may leave None whatever its schema says; one that is done may not.

        The arguments and errors are those of `skip`. Of a run that is being undone, the step's compensation is done.
        """
        self._settle(id, step, result, reason, by, verb=Verb.COMPLETE_STEP)

    def terminate(self, id: str, *, reason: str = "terminated", by: str | None = None) -> None:
        """End a run and its children at once, as ``cancelled``: nothing is waited for and nothing is undone.

        Raises:
            IllegalTransition: it has ended.
            UsageError: it is quarantined or not registered, and has a sub-workflow that lives: terminate that first.
        """
        self._ask(id, msg.Terminate(reason, by), Verb.TERMINATE)

    def fork(
        self,
        id: str,
        *,
        at: str | None = None,
        input: Any = SAME,
        steps: Mapping[str, Any] | None = None,
        new_id: str | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Run[Any]:
        """Start a new run that begins with what another one has recorded; that one is left as it is.

        What was undone, what has failed and what comes after ``at`` is left out, and so is done in the new run.

        Args:
            id: Id of the run, in any state.
            at: The step that the new run begins with; where the other one stands or has failed when left out.
            input: Input of the new run; the other one's when left out.
            steps: Results by step, in place of those that are recorded or would be asked for.
            new_id: Id of the new run; made up when left out.
            reason: Why.
            by: Who.

        Raises:
            UsageError: the run has not come to the step, has completed and no step is named, or the step is in a loop.
            DuplicateExecution: there is a run of the new id.
            InvalidPayload: the input does not fit its type, a result not its step, or a value cannot be stored.
            UnknownWorkflow: its workflow is not registered.
        """
        self._check_open("fork")
        run = arguments.check_text(id, "the id of a run")
        if at is not None:
            arguments.check_text(at, "at")
        forked = self._new_id() if new_id is None else arguments.check_id(new_id)
        source = self.get_execution(run)
        if source is None:
            raise ExecutionNotFound(run)
        name = source.workflow_name
        encoded = None
        if input is not SAME:
            encoded = arguments.encode(input, self._input_type(name, source.version), f"the input of workflow {name!r}")
        given = {step: self._result_for(source, step, result, skips=False) for step, result in _mapping(steps).items()}
        self._ask(run, msg.Fork(forked, at, encoded, given, reason, by), Verb.FORK)
        return self._handle(forked, name)

    def _settle(self, id: str, step: str, result: Any, reason: str | None, by: str | None, *, verb: Verb) -> None:
        self._check_open(verb)
        arguments.check_text(step, "step")
        skips = verb is Verb.SKIP
        value = self._result_for(self.get_execution(id), step, result, skips=skips)
        self._ask(id, msg.Settle(step, skips, value, reason, by), verb)

    def _result_for(self, run: Execution | None, step: str, result: Any, *, skips: bool) -> str:
        """Return a result given by hand, checked as the step's own would be, where its workflow is known.

        A skipped step may leave nothing, and what a compensation leaves counts for nothing.
        """
        if run is None or run.state is State.COMPENSATING or (skips and result is None):
            return encode_result(None, step, result)
        return encode_result(self._registry.known(run.workflow_name, run.version), step, result)

    def _ask(self, id: str, message: msg.Message, verb: Verb) -> Any:
        """Bring a wish to a run; return the answer once all that it causes at once is on disk."""
        self._check_open(verb)
        run = arguments.check_text(id, "the id of a run")
        for name in ("by", "reason", "step"):
            value = getattr(message, name, None)
            if value is not None:
                arguments.check_text(value, name)
        return self._tell(run, message, verb)


def _mapping(steps: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the results that a fork is to begin with, once they are what they should be."""
    if steps is not None and not isinstance(steps, Mapping):
        msg_ = f"steps must be a mapping of steps to results, got {steps!r}"
        raise UsageError(msg_)
    for step in steps or {}:
        arguments.check_text(step, "the name of a step")
    return steps or {}
