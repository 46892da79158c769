"""The command that carries everything over to another database: ``move``."""

from __future__ import annotations

import os
from contextlib import closing

import click

from .. import arguments
from ..dsl.errors import UsageError
from ..persistence.kind import Kind
from ..persistence.moving import move as move_all
from ..persistence.moving import take_back
from ..persistence.places import database_at
from .keeping import bar
from .options import as_json, database
from .printing import print_json, print_line

__all__ = ["move"]

_BUSY = 5.0


@click.command()
@click.argument("target", metavar="TARGET", required=False)
@click.option("--stay", is_flag=True, help="Take a move back that was broken off: the runs go on where they are.")
@as_json
@database
def move(database: str, *, target: str | None, stay: bool, as_json: bool) -> None:
    """Carry all runs over to another database, where the unfinished ones go on.

    TARGET is a new file, or the postgresql:// address of an empty database. Every engine must be closed. What was moved
    stays readable where it was, and is driven by nobody there any more. A move that was broken off, whenever it was, is
    finished by the same command again.
    """
    if stay == (target is not None):
        raise UsageError("say where everything is to be moved, or --stay to take a move back that was broken off")
    with closing(database_at(database, durability="full", busy_timeout=_BUSY)) as source:
        source.attach()
        done, words = _take_back(source) if target is None else _move(source, target, database)
    if as_json:
        print_json(done)
    else:
        print_line(words)


def _take_back(source: Kind) -> tuple[dict[str, object], str]:
    take_back(source)
    return {"moved": 0, "to": None}, f"nothing was moved: {source.name} can be used again"


def _move(source: Kind, target: str, database: str) -> tuple[dict[str, object], str]:
    place = arguments.locate_shared(target)
    if os.path.realpath(place) == os.path.realpath(database):
        raise UsageError(f"{target!r} is where everything is already: give another database")
    with closing(database_at(place, durability="full", busy_timeout=_BUSY)) as new, bar("moving", None) as advance:
        moved = move_all(source, new, advance)
    return {"moved": moved, "to": new.name}, f"moved {moved:,} row{'' if moved == 1 else 's'} to {new.name}"
