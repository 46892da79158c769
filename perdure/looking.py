"""Looking at runs: lists, counts and histories, over an engine's database or over a file without an engine.

This file must never ask an actor anything: whatever it shows was committed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, TypedDict, TypeVar, Unpack

from . import arguments
from .actors import clock
from .dsl.definition import Definition
from .dsl.errors import ExecutionNotFound, UsageError, did_you_mean
from .dsl.policies import Duration
from .dsl.states import State
from .dsl.workflow import Workflow
from .execution import Execution
from .history import AttemptRecord, history_of
from .persistence.figures import Figures
from .persistence.inputs import parts_of
from .persistence.looking import By, Cursor, Filter, Order
from .persistence.reader import Reader
from .persistence.records import ExecutionRow, Stored
from .registry import Registry
from .stats import Load, Stats, stats_of

__all__ = ["Filters", "Looking", "Page", "look_at"]

T = TypeVar("T")

_CURSOR: Final = re.compile(r"(-?[0-9a-f]+)\.(-?[0-9a-f]+)")


class Filters(TypedDict, total=False):
    """Keywords of `Engine.list_executions` and `Engine.count_executions`: all that are given must hold."""

    tags: Mapping[str, Any] | None
    business_key: str | None
    created_after: datetime | None
    created_before: datetime | None
    finished_after: datetime | None
    finished_before: datetime | None
    error: str | None
    input: Mapping[str, Any] | None


class Page(list[Execution]):
    """A list of runs that knows where the next page begins.

    Attributes:
        cursor: What to give as ``after=`` for the next page; None when this is the last one.
    """

    cursor: str | None = None


class Looking:
    """Answers questions about runs; see the methods of the same names of `Engine`."""

    def __init__(
        self,
        read: Callable[[str, Callable[[Reader], Any]], Any],
        definition_of: Callable[[str, str | None], Definition],
        load: Callable[[], Load] | None = None,
    ) -> None:
        """Take how to read (what for, as a verb, and the question), and where definitions are known.

        ``load`` tells what an engine is busy with, if there is one.
        """
        self._read = read
        self._definition_of = definition_of
        self._load = load

    def get_execution(self, id: str) -> Execution | None:
        """Return what a run looks like now, or None if there is none of this id."""
        arguments.check_text(id, "the id of a run")
        stored: Stored | None = self._read("read an execution", lambda reader: reader.snapshot(id))
        return None if stored is None else self._show(stored)

    def view(self, row: ExecutionRow) -> Execution:
        """Return what a run's row shows; its steps and signals are read when they are asked for."""

        def load() -> Stored:
            stored: Stored | None = self._read("read an execution", lambda reader: reader.snapshot(row.execution_id))
            return stored or Stored(row, [], [])

        return Execution(row, load, self._name_of, self._definition_of)

    def _show(self, stored: Stored) -> Execution:
        return Execution(stored.execution, lambda: stored, self._name_of, self._definition_of)

    def _name_of(self, run: int) -> str | None:
        name: str | None = self._read("read an execution", lambda reader: reader.name_of(run))
        return name

    def list_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
        after: str | None = None,
        order: Order = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of runs."""
        arguments.check_page(limit, offset)
        arguments.check_choice(order, Order, "order")
        chosen, begin = _filter(workflow, state, filters), None if after is None else _cursor(after)
        found: list[Stored] = self._read(
            "list executions",
            lambda reader: reader.snapshots(chosen, limit=limit + 1, offset=offset, after=begin, order=order),
        )
        page = Page(map(self._show, found[:limit]))
        if len(found) > limit:
            last = found[limit - 1].execution
            page.cursor = f"{last.created_at:x}.{last.id:x}"
        return page

    def count_executions(
        self,
        workflow: str | None = None,
        state: str | Collection[str] | None = None,
        *,
        by: By | None = None,
        **filters: Unpack[Filters],
    ) -> Any:
        """Return how many runs there are; a mapping, if it is for each state or workflow."""
        chosen = _filter(workflow, state, filters)
        if by is None:
            return self._read("count executions", lambda reader: reader.count(chosen))
        arguments.check_choice(by, By, "by")
        counts: Mapping[str, int] = self._read("count executions", lambda reader: reader.counts(by, chosen))
        return {State(name): count for name, count in counts.items()} if by == "state" else dict(counts)

    def history(self, id: str) -> list[AttemptRecord]:
        """Return every attempt of a run, in order of beginning."""
        arguments.check_text(id, "the id of a run")
        found = self._read("read a history", lambda reader: reader.snapshot_with_attempts(id))
        if found is None:
            raise ExecutionNotFound(id)
        stored, attempts = found
        return history_of(stored.facts, attempts)

    def stats(self, window: Duration = 60) -> Stats:
        """Return how things are."""
        span = arguments.microseconds(window, "window")
        if span == 0:
            msg = "window must be more than zero: rates are counted over it"
            raise UsageError(msg)
        now = clock.micros()
        found: Figures = self._read("read the figures", lambda reader: reader.figures(since=now - span, now=now))
        return stats_of(found, now, span, None if self._load is None else self._load())


class look_at(AbstractContextManager[Looking]):  # noqa: N801 - reads as a verb, like `open`
    """Look at a database without an engine: nothing is registered, driven or written.

    Example:
        >>> with look_at("orders.db") as orders:  # doctest: +SKIP
        ...     orders.count_executions(by="state")
    """

    def __init__(self, path: str | os.PathLike[str], *workflows: Workflow[Any, Any]) -> None:
        """Take the database's path, or its server's URL, and the workflows that its runs are drawn on.

        Raises:
            UsageError: it is no path.
        """
        self._reader = Reader(arguments.locate_shared(path))
        self._registry = Registry()
        for workflow in workflows:
            self._registry.add(workflow.definition())

    def __enter__(self) -> Looking:
        """Open the database.

        Raises:
            StoreError: There is none, or it is none of this version's.
        """
        self._reader.open()
        return Looking(lambda _, question: question(self._reader), self._registry.definition)

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._reader.close()


def _filter(workflow: str | None, state: str | Collection[str] | None, filters: Filters) -> Filter:
    """Return what is looked for, checked.

    Raises:
        UsageError: a filter is wrong.
    """
    if unknown := set(filters) - set(Filters.__annotations__):
        name = min(unknown)
        msg = f"there is no filter {name!r}{did_you_mean(name, Filters.__annotations__)}"
        raise UsageError(msg)
    states = () if state is None else tuple(sorted(map(str, arguments.states_named(state, "state"))))
    return Filter(
        workflow=_text(workflow, "workflow"),
        states=states,
        business_key=_text(filters.get("business_key"), "business_key"),
        tags=_entries(filters.get("tags"), "tags"),
        created_from=_instant(filters, "created_after"),
        created_until=_instant(filters, "created_before"),
        finished_from=_instant(filters, "finished_after"),
        finished_until=_instant(filters, "finished_before"),
        error=_text(filters.get("error"), "error"),
        inputs=_entries(filters.get("input"), "input"),
    )


def _text(value: str | None, what: str) -> str | None:
    return None if value is None else arguments.check_text(value, what)


def _instant(filters: Filters, what: Any) -> int | None:
    value: Any = filters.get(what)
    return None if value is None else arguments.instant(value, what)


def _entries(wanted: Mapping[str, Any] | None, what: str) -> tuple[tuple[str, str], ...]:
    """Return names or paths with encoded values."""
    if wanted is None:
        return ()
    if not isinstance(wanted, Mapping):
        example = "{'customer': 7}" if what == "tags" else "{'order.customer': 7}"
        msg = f"{what} must be a mapping such as {example}, got {wanted!r}"
        raise UsageError(msg)
    for name in wanted:
        arguments.check_text(name, f"a name in {what}")
        if what == "input":
            _check_path(name)
    return tuple((name, arguments.encode(value, None, f"{what}[{name!r}]")) for name, value in wanted.items())


def _check_path(path: str) -> None:
    try:
        parts_of(path)
    except ValueError:
        msg = f"{path!r} is no path into an input; write 'order.lines[0].sku', with odd names in double quotes"
        raise UsageError(msg) from None


def _cursor(text: str) -> Cursor:
    match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"after must be the cursor of the page before, got {text!r}"
        raise UsageError(msg)
    return Cursor(int(match[1], 16), int(match[2], 16))
