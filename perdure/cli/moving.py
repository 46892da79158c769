"""The command that carries everything over to another database: ``move``."""

from __future__ import annotations

import os
from contextlib import closing

import click

from .. import arguments
from ..dsl.errors import UsageError
from ..persistence.moving import move as move_all
from ..persistence.places import database_at
from .keeping import bar
from .options import as_json, database
from .printing import print_json, print_line

__all__ = ["move"]

_BUSY = 5.0


@click.command()
@click.argument("target", metavar="TARGET")
@as_json
@database
def move(database: str, *, target: str, as_json: bool) -> None:
    """Carry all runs over to another database, where the unfinished ones go on.

    TARGET is a new file, or the postgresql:// address of an empty database. Every engine must be closed. What was moved
    stays readable where it was, and is driven by nobody there any more.
    """
    place = arguments.locate_shared(target)
    if os.path.realpath(place) == os.path.realpath(database):
        raise UsageError(f"{target!r} is where everything is already: give another database")
    source = database_at(database, durability="full", busy_timeout=_BUSY)
    new = database_at(place, durability="full", busy_timeout=_BUSY)
    with closing(source), closing(new), bar("moving", None) as advance:
        source.attach()
        moved = move_all(source, new, advance)
    if as_json:
        print_json({"moved": moved, "to": new.name})
    else:
        print_line(f"moved {moved:,} row{'' if moved == 1 else 's'} to {new.name}")
