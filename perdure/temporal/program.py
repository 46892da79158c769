"""The one Temporal workflow that runs all others."""

from __future__ import annotations

import asyncio

import msgspec
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError

from ..dsl.states import FINAL, State
from .border import RUN, SIGNAL, SNAPSHOT, Begin, Sent, Stop, pack, to_text, unpack
from .voyage import Voyage

__all__ = ["PerdureRun"]


@workflow.defn(name=RUN)
class PerdureRun:
    """Walks the graph it was given."""

    @workflow.init
    def __init__(self, sent: RawValue) -> None:
        self._begin = unpack(sent, Begin)
        self._voyage = Voyage(self._begin, workflow.info().workflow_id)

    @workflow.run
    async def run(self, sent: RawValue) -> RawValue:
        """Walk to the end, or continue as a new run where the history grows too long."""
        voyage = self._voyage
        voyage.set_sail()
        while voyage.state not in FINAL:
            info = workflow.info()
            length, suggested = info.get_current_history_length(), info.is_continue_as_new_suggested()
            if voyage.may_continue(length, suggested=suggested):
                workflow.continue_as_new(pack(voyage.continued()))
            try:
                await workflow.wait_condition(lambda: voyage.changed)
            except asyncio.CancelledError:
                voyage.stop(_wish(workflow.cancellation_reason()))
            voyage.changed = False
            voyage.go_on()
        return self._report()

    def _report(self) -> RawValue:
        """End as Temporal's own list of workflows should show it."""
        snapshot = self._voyage.snapshot()
        state, error = self._voyage.state, self._voyage.error
        if state is State.COMPLETED or self._begin.undoes:
            return pack(snapshot)
        if state is State.CANCELLED:
            raise CancelledError(str(error))
        kind = "perdure.WorkflowFailed" if error is None else error.type
        raise ApplicationError(str(error), to_text(snapshot), type=kind, non_retryable=True)

    @workflow.signal(name=SIGNAL)
    def accept(self, sent: RawValue) -> None:
        """Take a signal in."""
        self._voyage.accept(unpack(sent, Sent))

    @workflow.query(name=SNAPSHOT)
    def snapshot(self) -> RawValue:
        """Tell what the run looks like."""
        return pack(self._voyage.snapshot())


def _wish(reason: str | None) -> Stop:
    """Return what a cancellation asks for; one that is not perdure's own gives only a reason."""
    try:
        return msgspec.json.decode(reason or "", type=Stop)
    except msgspec.MsgspecError:
        return Stop(reason=reason or "cancelled")
