"""Sending signals: to one run, or to all that a matter concerns.

Signals to several runs are not one transaction: each run takes its own, and a ``key`` makes it harmless to call again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar, Unpack, overload

from .. import arguments
from ..dsl.errors import ExecutionFinished, ExecutionNotFound, UnknownSignal, UsageError
from ..dsl.messages import Signalled
from ..dsl.signals import Signal
from ..dsl.states import State
from ..looking import Filters
from .looking import LookingVerbs

__all__ = ["SignalVerbs"]

T = TypeVar("T")

_UNFINISHED: Final = (State.RUNNING, State.WAITING)
_AT_ONCE: Final = 200


class SignalVerbs(LookingVerbs):
    """What is told to runs that wait for it."""

    @overload
    def signal(self, id: str, event: Signal[T], payload: T, *, key: str | None = None, strict: bool = True) -> None: ...
    @overload
    def signal(
        self, id: str, event: Signal[None], payload: None = None, *, key: str | None = None, strict: bool = True
    ) -> None: ...
    @overload
    def signal(
        self, id: str, event: str, payload: Any = None, *, key: str | None = None, strict: bool = True
    ) -> None: ...
    def signal(
        self,
        id: str,
        event: Any,
        payload: Any = None,
        *,
        key: str | None = None,
        strict: bool = True,
    ) -> None:
        """Send a signal to a run; returns once it is on disk.

        Args:
            id: Id of the run.
            event: Name of the signal, or a typed `Signal`.
            payload: What the gate gives to the steps after it; checked against the signal's type.
            key: A second signal to this run with the same key is dropped.
            strict: Refuse a name that no gate of the workflow waits for.

        Raises:
            ExecutionNotFound: there is no such run.
            ExecutionFinished: it has ended or is being undone; nothing was stored.
            UnknownSignal: no gate waits for this name.
            InvalidPayload: the payload does not fit its type or cannot be stored.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the engine is closed.
        """
        self._check_open("signal")
        name = event.name if isinstance(event, Signal) else event
        run = arguments.check_text(id, "the id of a run")
        arguments.check_text(name, "the name of a signal")
        if key is not None:
            arguments.check_text(key, "key")
        annotation = self._payload_type(event, run)
        encoded = arguments.encode(payload, annotation, f"the payload of signal {name!r}")
        self._tell(run, Signalled(name, encoded, key, bool(strict)), "signal")

    def signal_where(
        self,
        event: Signal[Any] | str,
        payload: Any = None,
        *,
        key: str | None = None,
        workflow: str | None = None,
        **filters: Unpack[Filters],
    ) -> list[str]:
        """Send a signal to every unfinished run that it concerns, by what you know the matter by.

        Args:
            event: Name of the signal, or a typed `Signal`.
            payload: What the gates give to the steps after them.
            key: A second signal to a run with the same key is dropped; with one it is harmless to call this again.
            workflow: Only runs of this workflow.
            filters: As for `list_executions`: ``business_key``, ``tags`` and the others.

        Returns:
            Ids of the runs that took it. Runs that have no gate for it are passed over.

        Raises:
            UsageError: no filter is given, or one is wrong.
            UnknownSignal: runs match, but none of them has a gate for this name.
            InvalidPayload: the payload does not fit its type or cannot be stored.
            EngineClosed: the engine is closed.
        """
        self._check_open("signal_where")
        if workflow is None and all(value is None for value in filters.values()):
            msg = "signal_where: say whom: business_key=, tags=, workflow= or another filter of list_executions"
            raise UsageError(msg)
        taken: list[str] = []
        unknown: UnknownSignal | None = None
        for run in self._unfinished(workflow, filters):
            try:
                self.signal(run, event, payload, key=key)
            except UnknownSignal as error:  # another workflow's run of the same matter: it is not concerned
                unknown = error
            except (ExecutionFinished, ExecutionNotFound):  # it has ended since it was found
                continue
            else:
                taken.append(run)
        if unknown is not None and not taken:
            raise unknown
        return taken

    def _unfinished(self, workflow: str | None, filters: Filters) -> Iterator[str]:
        after: str | None = None
        while True:
            page = self.list_executions(workflow=workflow, state=_UNFINISHED, limit=_AT_ONCE, after=after, **filters)
            yield from [run.id for run in page]
            after = page.cursor
            if after is None:
                return

    def _payload_type(self, event: str | Signal[Any], id: str) -> Any:
        def run() -> tuple[str, str | None] | None:
            execution = self.get_execution(id)
            return None if execution is None else (execution.workflow_name, execution.version)

        return self._registry.payload_type(event, run)
