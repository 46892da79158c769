"""Commands for operators: ``pause``, ``resume``, ``retry``, ``skip``, ``fork``, ``incidents``, ``resolve``.

What is asked is kept with who asked and why: the user's name, unless another is given.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from ..client import Client
from ..steering import SAME, How
from .options import JSON_VALUE, as_json, database, run_id
from .printing import plain, print_json, print_line, print_table, shorten, when
from .steering import stay, waiting

__all__ = ["fork", "incidents", "pause", "resolve", "resume", "retry", "skip"]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return None


def _who_and_why(command: AnyFunction) -> AnyFunction:
    command = click.option("--by", default=_user, show_default="the user", help="Who wants it; kept with the run.")(
        command
    )
    return click.option("--reason", help="Why; kept with the run.")(command)


def _asks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command be told who asks and why, whether to wait, where, and how to answer."""
    return _who_and_why(waiting(as_json(database(click.pass_context(command)))))


@click.command()
@run_id
@_who_and_why
@as_json
@database
@click.pass_context
def pause(ctx: click.Context, database: str, *, run_id: str, reason: str | None, by: str | None, as_json: bool) -> None:
    """Pause a run: nothing begins until it is resumed."""
    with Client(database) as client:
        client.pause(run_id, reason=reason, by=by)
        stay(ctx, client, run_id, f"paused {run_id}", asked=f"asked to pause {run_id}", wait=False, as_json=as_json)


@click.command()
@run_id
@_asks
def resume(
    ctx: click.Context, database: str, *, run_id: str, reason: str | None, by: str | None, wait: bool, as_json: bool
) -> None:
    """Have a paused run go on, or give a quarantined one another chance."""
    with Client(database) as client:
        client.resume(run_id, reason=reason, by=by)
        stay(ctx, client, run_id, f"resumed {run_id}", asked=f"asked to resume {run_id}", wait=wait, as_json=as_json)


@click.command()
@run_id
@_asks
def retry(
    ctx: click.Context, database: str, *, run_id: str, reason: str | None, by: str | None, wait: bool, as_json: bool
) -> None:
    """Have a run try again what has failed; nothing that is recorded is done again."""
    with Client(database) as client:
        client.retry(run_id, reason=reason, by=by)
        stay(ctx, client, run_id, f"retrying {run_id}", asked=f"asked to retry {run_id}", wait=wait, as_json=as_json)


@click.command()
@run_id
@click.argument("step")
@click.argument("result", type=JSON_VALUE, required=False)
@_asks
def skip(
    ctx: click.Context,
    database: str,
    *,
    run_id: str,
    step: str,
    result: Any,
    reason: str | None,
    by: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Go on without a step; a result in JSON stands in for its own."""
    with Client(database) as client:
        client.skip(run_id, step, result=result, reason=reason, by=by)
        done, asked = f"skipped {step!r} of {run_id}", f"asked to skip {step!r} of {run_id}"
        stay(ctx, client, run_id, done, asked=asked, wait=wait, as_json=as_json)


@click.command()
@run_id
@click.option("--at", metavar="STEP", help="The step the new run begins with; where the other one failed or stands.")
@click.option("-i", "--input", "value", type=JSON_VALUE, default=SAME, help="Another input, in JSON.")
@click.option("--id", "new_id", help="The id of the new run; made up when left out.")
@_asks
def fork(
    ctx: click.Context,
    database: str,
    *,
    run_id: str,
    at: str | None,
    value: Any,
    new_id: str | None,
    reason: str | None,
    by: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Start a new run with what another one has recorded."""
    with Client(database) as client:
        forked = client.fork(run_id, at=at, input=value, new_id=new_id, reason=reason, by=by)
        done, asked = f"forked {run_id} as {forked.id}", f"asked to fork {run_id} as {forked.id}"
        stay(ctx, client, forked.id, done, asked=asked, wait=wait, as_json=as_json)


@click.command()
@click.option("-w", "--workflow", help="Only of runs of this workflow.")
@as_json
@database
def incidents(database: str, *, workflow: str | None, as_json: bool) -> None:
    """List what waits for an operator: steps and compensations that were parked."""
    with Client(database) as client:
        found = client.incidents(workflow)
    if as_json:
        print_json({"incidents": plain(found)})
    elif not found:
        print_line("there are no incidents")
    else:
        print_table(
            ("run", "workflow", "step", "since", "attempts", ""),
            [
                (
                    one.execution_id,
                    one.workflow_name,
                    f"undo {one.step}" if one.compensation else one.step,
                    when(one.since),
                    str(one.attempts),
                    shorten(str(one.error or "interrupted")),
                )
                for one in found
            ],
        )


@click.command()
@run_id
@click.argument("how", type=click.Choice(list(get_args(How))))
@click.argument("result", type=JSON_VALUE, required=False)
@click.option("--step", help="Only the incident of this step.")
@_asks
def resolve(
    ctx: click.Context,
    database: str,
    *,
    run_id: str,
    how: How,
    result: Any,
    step: str | None,
    reason: str | None,
    by: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """End the incidents of a run: retry, skip, complete (with a result in JSON), or fail."""
    with Client(database) as client:
        client.resolve(run_id, how, step=step, result=result, reason=reason, by=by)
        stay(ctx, client, run_id, f"resolved {run_id}", asked=f"asked to resolve {run_id}", wait=wait, as_json=as_json)
