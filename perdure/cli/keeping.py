"""Commands that keep a database in order: ``archive``, ``cleanup``, ``export``, ``backup``.

Those that write do so beside a running engine, and take nothing over from one that has died.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..actors import clock
from ..dsl.errors import UsageError
from ..dsl.states import FINAL
from ..looking import look_at
from ..persistence.looking import Filter
from ..persistence.reader import Reader
from ..persistence.store import Store
from .options import DURATION, as_json, database
from .printing import console, print_json, print_line
from .timeline import run_data

__all__ = ["archive", "backup", "bar", "cleanup", "export"]

_AT_ONCE = 1000
_PAGE = 100

_older_than = click.option(
    "--older-than", type=DURATION, required=True, help="Only runs that ended so long ago, as 30d or 12h; 0 for all."
)
_final = click.option(
    "-s",
    "--state",
    "states",
    multiple=True,
    type=click.Choice(sorted(map(str, FINAL))),
    help="Only runs that ended so.",
)


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while something takes long; gives what moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.update(task, advance=steps)


@click.command()
@_older_than
@_final
@as_json
@database
def cleanup(database: str, *, older_than: timedelta, states: tuple[str, ...], as_json: bool) -> None:
    """Delete runs that have ended."""
    removed = _retire(database, "deleting", older_than, states, Store.cleanup)
    _tell("deleted", removed, as_json=as_json)


@click.command()
@_older_than
@_final
@as_json
@database
def archive(database: str, *, older_than: timedelta, states: tuple[str, ...], as_json: bool) -> None:
    """Move runs that have ended into the archive."""
    removed = _retire(database, "archiving", older_than, states, Store.archive)
    _tell("archived", removed, as_json=as_json)


def _tell(what: str, removed: int, *, as_json: bool) -> None:
    if as_json:
        print_json({what: removed})
    else:
        print_line(f"{what} {removed} run{'' if removed == 1 else 's'}")


def _retire(path: str, what: str, older_than: timedelta, states: tuple[str, ...], retire: Callable[..., int]) -> int:
    before = clock.micros() - round(older_than.total_seconds() * 1_000_000)
    chosen = frozenset(states or map(str, FINAL))
    with Reader(path) as reader:  # which makes no database where there is none, and changes no older one
        total = reader.count(Filter(states=tuple(sorted(chosen)), finished_until=before))
    store, removed = Store(path), 0
    store.open()
    try:
        with bar(what, total) as advance:
            while True:
                some = retire(store, older_than=before, states=chosen, limit=_AT_ONCE)
                removed += some
                advance(some)
                if some < _AT_ONCE:
                    return removed
    finally:
        store.close()


@click.command()
@click.option("-w", "--workflow", help="Only runs of this workflow.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A new file to write to; else standard output.")
@database
def export(database: str, *, workflow: str | None, output: str | None) -> None:
    """Write every run as a line of JSON, oldest first, with all its attempts."""
    with look_at(database) as runs, _output(output) as lines:
        after: str | None = None
        with bar("exporting", runs.count_executions(workflow)) as advance:
            while True:
                page = runs.list_executions(workflow, limit=_PAGE, after=after, order="oldest")
                for run in page:
                    lines.write(f"{json.dumps(run_data(run, runs.history(run.id)))}\n")
                advance(len(page))
                if (after := page.cursor) is None:
                    return


@contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            yield file
    except FileExistsError:
        raise UsageError(f"{path!r} exists already: an export never replaces anything; give another name") from None
    except OSError as error:
        raise UsageError(f"cannot write {path!r}: {error.strerror}") from None


@click.command()
@click.argument("target", type=click.Path())
@as_json
@database
def backup(database: str, *, target: str, as_json: bool) -> None:
    """Copy the database to a new file, whoever is using it."""
    with Reader(database) as reader, bar("copying", None) as advance:
        told = 0

        def progress(done: int, _: int) -> None:
            nonlocal told
            advance(done - told)
            told = done

        reader.backup(target, progress)
    if as_json:
        print_json({"backup": target, "bytes": Path(target).stat().st_size})
    else:
        print_line(f"copied to {target}: {Path(target).stat().st_size:,} bytes")
