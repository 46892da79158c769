"""Looking at runs: one, many, how many, what they have been through, and how things are as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from ..dsl.errors import ExecutionNotFound
from ..dsl.policies import Duration
from ..dsl.states import State
from ..execution import Execution
from ..history import AttemptRecord
from ..looking import Filters, Page
from ..stats import Stats
from .verbs import Verbs

if TYPE_CHECKING:
    from ..run import Run

__all__ = ["LookingVerbs"]


class LookingVerbs(Verbs):
    """What can be seen of runs; nothing here changes one."""

    def run(self, id: str) -> Run[Any]:
        """Return a handle on a run that exists.

        Raises:
            ExecutionNotFound: there is none of this id.
        """
        execution = self.get_execution(id)
        if execution is None:
            raise ExecutionNotFound(id)
        return self._handle(id, execution.workflow_name)

    def get_execution(self, id: str) -> Execution | None:
        """Return what a run looks like now, or None if there is none of this id.

        Raises:
            EngineClosed: the engine is closed.
        """
        self._check_open("read an execution")
        return self._looking.get_execution(id) or self._yet_to_start(id)

    def list_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        after: str | None = None,
        order: Literal["newest", "oldest"] = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Return runs, newest first, a page at a time; all that is asked of them must hold.

        Args:
            workflow: Only runs of this workflow.
            state: Only runs in this state, or in one of these.
            limit: How many at most, 1 to 1000.
            offset: How many to skip; slow where it is large: use ``after``.
            after: The `Page.cursor` of the page before.
            order: ``"newest"`` or ``"oldest"`` first, by the time of their start.
            filters: ``tags`` that the run has, its ``business_key``, ``created_after`` (or at that time) and
                ``created_before``, ``finished_after`` and ``finished_before``, an ``error`` that holds this text in
                whatever case, and what its ``input`` holds, by path: ``input={"lines[0].sku": "tea"}``.

        Raises:
            UsageError: a filter or bound is wrong.
            EngineClosed: the engine is closed.
        """
        self._check_open("list executions")
        return self._looking.list_executions(
            workflow, state, limit=limit, offset=offset, after=after, order=order, **filters
        )

    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: None = None,
        **filters: Unpack[Filters],
    ) -> int: ...
    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["state"],
        **filters: Unpack[Filters],
    ) -> Mapping[State, int]: ...
    @overload
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["workflow"],
        **filters: Unpack[Filters],
    ) -> Mapping[str, int]: ...
    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: Literal["state", "workflow"] | None = None,
        **filters: Unpack[Filters],
    ) -> Any:
        """Return how many runs there are, or how many of each state or workflow.

        Args:
            workflow: Only runs of this workflow.
            state: Only runs in this state, or in one of these.
            by: ``"state"`` or ``"workflow"``, for a mapping of those that occur.
            filters: As for `list_executions`.

        Raises:
            UsageError: a filter is wrong.
            EngineClosed: the engine is closed.
        """
        self._check_open("count executions")
        return self._looking.count_executions(workflow, state, by=by, **filters)

    def history(self, id: str) -> list[AttemptRecord]:
        """Return every attempt of a run, of steps and compensations, and its gates and sleeps, in order of beginning.

        Of a loop's earlier turns it tells only what went wrong: what went well is overwritten by the next turn.

        Raises:
            ExecutionNotFound: there is no such run.
            EngineClosed: the engine is closed.
        """
        self._check_open("read a history")
        return self._looking.history(id)

    def stats(self, window: Duration = 60) -> Stats:
        """Return how the engine and its database are doing: runs, rates, steps, and what is under way.

        It is worked out of rows that are there anyway, in some milliseconds; ask every few seconds, not in a loop.

        Args:
            window: Seconds or `timedelta` that rates look back.

        Raises:
            UsageError: the window is wrong.
            EngineClosed: the engine is closed.
        """
        self._check_open("read the figures")
        return self._looking.stats(window)
