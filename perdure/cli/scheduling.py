"""The command ``schedules``: lists them, and with a verb pauses, resumes, triggers or forgets one.

A schedule is changed in the database itself, whether or not an engine has it open; what is alive is told.
"""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from ..client import Client
from ..dsl.errors import UnknownSchedule
from ..persistence.reader import Reader
from ..schedule import Schedule
from .options import as_json, database
from .printing import plain, print_json, print_line, print_table, when
from .steering import stay, waiting

__all__ = ["schedules"]

_name = click.argument("name", metavar="SCHEDULE")


@click.group(invoke_without_command=True)
@as_json
@database
@click.pass_context
def schedules(ctx: click.Context, database: str, *, as_json: bool) -> None:
    """List schedules: when each starts a run next, and how it went so far. With a verb, change one."""
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return
    found = _read(database)
    if as_json:
        print_json({"schedules": list(map(_data, found))})
    elif not found:
        print_line("there are no schedules")
    else:
        print_table(
            ("schedule", "workflow", "when", "next", "last run", "runs", "skipped"),
            [
                (
                    schedule.name,
                    schedule.workflow_name,
                    _times(schedule),
                    ("paused", "cyan") if schedule.paused else when(schedule.next_at),
                    schedule.last_run or "",
                    str(schedule.runs),
                    str(schedule.skipped),
                )
                for schedule in found
            ],
        )


def _refuse_options(ctx: click.Context, verb: str) -> None:
    """Refuse options before a verb, which would not be the verb's."""
    if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
        msg = f"give options after the verb, as in: perdure schedules {verb} SCHEDULE -d PATH"
        raise click.UsageError(msg)


@schedules.command()
@_name
@as_json
@database
def pause(database: str, *, name: str, as_json: bool) -> None:
    """Pass over the times of a schedule until it is resumed."""
    with Client(database) as client:
        client.pause_schedule(name)
    _tell(database, name, "paused", as_json=as_json)


@schedules.command()
@_name
@as_json
@database
def resume(database: str, *, name: str, as_json: bool) -> None:
    """Go on with a schedule that was paused; times that were passed over are not made up for."""
    with Client(database) as client:
        client.resume_schedule(name)
    _tell(database, name, "resumed", as_json=as_json)


@schedules.command()
@_name
@waiting
@as_json
@database
@click.pass_context
def trigger(ctx: click.Context, database: str, *, name: str, wait: bool, as_json: bool) -> None:
    """Start a run of a schedule now, paused or not.

    With --wait, the exit code is 1 if the run did not complete.
    """
    with Client(database) as client:
        run = client.trigger(name)
        told = f"triggered {name} as {run.id}"  # the schedule has, whatever becomes of the run
        stay(ctx, client, run.id, told, asked=told, wait=wait, as_json=as_json)


@schedules.command()
@_name
@as_json
@database
def unschedule(database: str, *, name: str, as_json: bool) -> None:
    """Forget a schedule; the runs it has started go on."""
    with Client(database) as client:
        client.unschedule(name)
    if as_json:
        print_json({"unscheduled": name})
    else:
        print_line(f"unscheduled {name}")


@schedules.command()
@_name
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@as_json
@database
def upcoming(database: str, *, name: str, count: int, as_json: bool) -> None:
    """Tell when a schedule starts runs next."""
    schedule = _find(database, name)
    times = schedule.upcoming(count)
    if as_json:
        print_json({"name": name, "paused": schedule.paused, "upcoming": times})
    elif not times:
        print_line(f"{name} is paused" if schedule.paused else f"{name} never comes again")
    for moment in () if as_json else times:
        zone = "" if schedule.tz is None else f"  {moment:%Y-%m-%d %H:%M:%S %Z}"
        print_line(when(moment), (zone, "dim"))


def _read(database: str) -> list[Schedule]:
    with Reader(database) as reader:
        return list(map(Schedule, reader.list_schedules()))


def _find(database: str, name: str) -> Schedule:
    found = {schedule.name: schedule for schedule in _read(database)}
    if name not in found:
        raise UnknownSchedule(name, list(found))
    return found[name]


def _tell(database: str, name: str, what: str, *, as_json: bool) -> None:
    schedule = _find(database, name)
    if as_json:
        print_json(_data(schedule))
    else:
        print_line(f"{what} {name}", "" if schedule.next_at is None else f", next at {when(schedule.next_at)}")


def _times(schedule: Schedule) -> str:
    return f"every {schedule.every}" if schedule.cron is None else f"{schedule.cron} ({schedule.tz})"


def _data(schedule: Schedule) -> Any:
    return plain(
        {
            "name": schedule.name,
            "workflow": schedule.workflow_name,
            "version": schedule.version,
            "cron": schedule.cron,
            "tz": schedule.tz,
            "every": schedule.every,
            "overlap": schedule.overlap,
            "catch_up": schedule.catch_up,
            "paused": schedule.paused,
            "next_at": schedule.next_at,
            "last_at": schedule.last_at,
            "last_run": schedule.last_run,
            "runs": schedule.runs,
            "skipped": schedule.skipped,
            "queued": schedule.queued,
            "input": schedule.input,
        }
    )
