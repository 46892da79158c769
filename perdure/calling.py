"""Signals to whoever a matter concerns: to all unfinished runs with a business key or tags, and not to one id.

Nothing here is one transaction: each run takes its signal by itself, and a ``key`` makes it harmless to call again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Unpack

from .dsl.errors import ExecutionFinished, ExecutionNotFound, UnknownSignal, UsageError
from .dsl.signals import Signal
from .dsl.states import State
from .looking import Filters

if TYPE_CHECKING:
    from .client import Client
    from .engine import Engine

__all__ = ["signal_where"]

_UNFINISHED = (State.RUNNING, State.WAITING)
_AT_ONCE = 200


def signal_where(
    engine: Engine | Client,
    event: Signal[Any] | str,
    payload: Any,
    key: str | None,
    workflow: str | None,
    **filters: Unpack[Filters],
) -> list[str]:
    """Signal every unfinished run that all the filters hold for; return the ids of those that took it."""
    if workflow is None and all(value is None for value in filters.values()):
        msg = "signal_where: say whom: business_key=, tags=, workflow= or another filter of list_executions"
        raise UsageError(msg)
    taken: list[str] = []
    unknown: UnknownSignal | None = None
    for run in _matching(engine, workflow, filters):
        try:
            engine.signal(run, event, payload, key=key)
        except UnknownSignal as error:  # another workflow's run of the same matter: it is not concerned
            unknown = error
        except (ExecutionFinished, ExecutionNotFound):  # it has ended since it was found
            continue
        else:
            taken.append(run)
    if unknown is not None and not taken:
        raise unknown
    return taken


def _matching(engine: Engine | Client, workflow: str | None, filters: Filters) -> Iterator[str]:
    after: str | None = None
    while True:
        page = engine.list_executions(workflow=workflow, state=_UNFINISHED, limit=_AT_ONCE, after=after, **filters)
        yield from [run.id for run in page]
        after = page.cursor
        if after is None:
            return
