"""A handle on one run on Temporal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..dsl.errors import ExecutionNotFound, WorkflowCancelled, WorkflowFailed
from ..dsl.signals import Signal
from ..dsl.states import State
from ..execution import Execution

if TYPE_CHECKING:
    from .engine import TemporalEngine

__all__ = ["TemporalRun"]

R_co = TypeVar("R_co", covariant=True)


class TemporalRun(Generic[R_co]):
    """One run on Temporal.

    Attributes:
        id: Id of the run.
        workflow_name: Name of its workflow.
    """

    def __init__(self, engine: TemporalEngine, id: str, workflow_name: str) -> None:
        self._engine = engine
        self.id = id
        self.workflow_name = workflow_name

    def __repr__(self) -> str:
        """Show id and workflow."""
        return f"<TemporalRun {self.id} {self.workflow_name}>"

    @property
    def state(self) -> State:
        """What the run is doing now.

        Raises:
            ExecutionNotFound: there is no such run any more.
        """
        execution = self._engine.get_execution(self.id)
        if execution is None:
            raise ExecutionNotFound(self.id)
        return execution.state

    def wait(self, timeout: float | None = None) -> Execution:
        """Wait until the run has ended, and return what it looks like then.

        Raises:
            WaitTimeout: it did not end in time; the run itself goes on.
            ExecutionNotFound: there is no such run.
        """
        return self._engine.wait(self.id, timeout)

    def result(self, timeout: float | None = None) -> R_co:
        """Wait until the run has completed, and return the last node's value.

        Raises:
            WorkflowFailed: it has failed.
            WorkflowCancelled: it was cancelled.
            WaitTimeout: it did not end in time; the run itself goes on.
        """
        end = self.wait(timeout)
        if end.state is State.COMPLETED:
            result: R_co = end.result
            return result
        kind = WorkflowCancelled if end.state is State.CANCELLED else WorkflowFailed
        raise kind(self.id, self.workflow_name, error=end.error, rollback=end.rollback)

    def signal(self, event: str | Signal[Any], payload: Any = None, *, key: str | None = None) -> None:
        """Send a signal to the run; see `TemporalEngine.signal`."""
        self._engine.signal(self.id, event, payload, key=key)

    def cancel(self, *, compensate: bool = True, reason: str = "cancelled") -> None:
        """Cancel the run; see `TemporalEngine.cancel`."""
        self._engine.cancel(self.id, compensate=compensate, reason=reason)
