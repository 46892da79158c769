"""Commands that look: ``list``, ``show``, ``tail``. They open the database for reading, and drive nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from ..dsl.errors import ExecutionNotFound
from ..dsl.states import ENDS, State
from ..execution import Execution
from ..history import AttemptRecord
from ..looking import Filters, Looking, look_at
from ..persistence.kind import Changes
from ..persistence.places import changes_at
from ..persistence.reader import Reader
from ..steering import AuditEntry, entry_of
from .options import DURATION, TAG, as_json, database, run_id
from .printing import STYLES, plain, print_json, print_line, print_table, shorten, when
from .timeline import attempt_data, print_attempt, print_run, run_data, summary

__all__ = ["find", "list_", "show", "tail"]

_PAGE: Final = 100
_FIRST: Final = 10


def find(runs: Looking, run_id: str) -> Execution:
    """Return a run.

    Raises:
        ExecutionNotFound: There is none of this id.
    """
    run = runs.get_execution(run_id)
    if run is None:
        raise ExecutionNotFound(run_id)
    return run


_state = click.option(
    "-s", "--state", "states", multiple=True, type=click.Choice(list(map(str, State))), help="Only in this state."
)
_workflow = click.option("-w", "--workflow", help="Only of this workflow.")


@click.command("list")
@_workflow
@_state
@click.option("-t", "--tag", "tags", multiple=True, type=TAG, help="Only with this tag.")
@click.option("--error", metavar="TEXT", help="Only with this in the error.")
@click.option("--since", type=DURATION, help="Only started so long ago at most.")
@click.option("--oldest", is_flag=True, help="Oldest first.")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--after", metavar="CURSOR", help="Go on where the page before ended.")
@as_json
@database
def list_(
    database: str,
    *,
    workflow: str | None,
    states: tuple[str, ...],
    tags: tuple[tuple[str, Any], ...],
    error: str | None,
    since: timedelta | None,
    oldest: bool,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    filters = Filters(error=error)
    if tags:
        filters["tags"] = dict(tags)
    if since is not None:
        filters["created_after"] = datetime.now(UTC) - since
    with look_at(database) as runs:
        page = runs.list_executions(
            workflow, states or None, limit=limit, after=after, order="oldest" if oldest else "newest", **filters
        )
        if as_json:
            print_json({"runs": [run_data(run) for run in page], "cursor": page.cursor})
            return
        _print_table(page)
    if page.cursor is not None:
        print_line((f"there are more: perdure list --after {page.cursor}", "dim"))


def _print_table(runs: list[Execution]) -> None:
    if not runs:
        print_line("there are no such runs")
        return
    print_table(
        ("run", "workflow", "state", "started", ""),
        [
            (run.id, run.workflow_name, (run.state, STYLES[run.state]), when(run.created_at), shorten(summary(run)))
            for run in runs
        ],
    )


@click.command()
@run_id
@click.option("--whole", is_flag=True, help="Show values to their ends.")
@click.option("--traceback", is_flag=True, help="Show where each error came from.")
@as_json
@database
def show(database: str, *, run_id: str, whole: bool, traceback: bool, as_json: bool) -> None:
    """Show one run: every attempt, wait and undo in order."""
    with look_at(database) as runs:
        run, history = find(runs, run_id), runs.history(run_id)
        asked = _asked(database, run_id)
        if as_json:
            print_json({**run_data(run, history), "audit": plain(asked)})
        else:
            print_run(run, history, asked, whole=whole, tracebacks=traceback)


def _asked(database: str, run_id: str) -> list[AuditEntry]:
    """Return what operators have asked of a run."""
    with Reader(database) as reader:
        return list(map(entry_of, reader.audit(run_id)))


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@_workflow
@_state
@as_json
@database
def tail(database: str, *, run_id: str | None, workflow: str | None, states: tuple[str, ...], as_json: bool) -> None:
    """Follow a run until it ends, or all runs until Ctrl-C."""
    with suppress(KeyboardInterrupt), look_at(database) as runs, changes_at(database) as changes:
        if run_id is None:
            _follow_all(runs, changes, workflow, states, as_json=as_json)
        else:
            _follow_one(runs, changes, run_id, as_json=as_json)


def _follow_one(runs: Looking, changes: Changes, run_id: str, *, as_json: bool) -> None:
    told: set[tuple[Any, ...]] = set()
    while True:
        run = find(runs, run_id)
        for record in _news(runs.history(run_id), told):
            if as_json:
                print_json(attempt_data(record), lines=True)
            else:
                print_attempt(record, run.created_at)
        if run.state in ENDS:
            _tell_state(run, as_json=as_json)
            return
        changes.wait()


def _news(history: list[AttemptRecord], told: set[tuple[Any, ...]]) -> Iterator[AttemptRecord]:
    for record in history:
        key = (record.step, record.kind, record.turn, record.attempt, record.outcome)
        if key not in told:
            told.add(key)
            yield record


def _follow_all(
    runs: Looking, changes: Changes, workflow: str | None, states: tuple[str, ...], *, as_json: bool
) -> None:
    told: dict[str, str] = {}
    limit, ended = _FIRST, datetime.now(UTC)
    while True:
        # The newest, and whatever has ended since the last look, however old it is.
        found = {run.id: run for run in runs.list_executions(workflow, states or None, limit=limit)}
        late = runs.list_executions(workflow, states or None, limit=_PAGE, finished_after=ended)
        found.update((run.id, run) for run in late)
        for run in sorted(found.values(), key=lambda run: run.created_at):
            if told.get(run.id) != run.state:
                told[run.id] = run.state
                _tell_state(run, as_json=as_json)
        limit, ended = _PAGE, max((run.finished_at for run in late if run.finished_at), default=ended)
        changes.wait()


def _tell_state(run: Execution, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"id": run.id, "workflow": run.workflow_name, "state": run.state, "at": run.updated_at, "error": run.error},
            lines=True,
        )
    else:
        print_line(
            (f"{when(run.updated_at)}  ", "dim"),
            f"{run.id}  {run.workflow_name}  ",
            (run.state, STYLES[run.state]),
            f"  {shorten(summary(run))}",
        )
