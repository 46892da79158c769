"""Commands that tell a run something: ``signal``, ``cancel``.

They write into the database's inbox. An engine that is alive takes it from there at once; otherwise it waits for the
next one.
"""

from __future__ import annotations

from typing import Any

import click

from ..client import Client
from ..dsl.states import State
from ..execution import Execution
from ..persistence.reader import Reader
from .options import JSON_VALUE, as_json, database, run_id
from .printing import STYLES, clean, console, print_json, print_line
from .timeline import run_data, summary

__all__ = ["cancel", "signal"]

_wait = click.option("--wait", is_flag=True, help="Stay until the run has ended.")


@click.command()
@run_id
@click.argument("event")
@click.argument("payload", type=JSON_VALUE, required=False)
@click.option("--key", help="A second signal to this run with the same key is dropped.")
@click.option("--no-strict", is_flag=True, help="Send it though no gate waits for this name.")
@_wait
@as_json
@database
@click.pass_context
def signal(
    ctx: click.Context,
    database: str,
    *,
    run_id: str,
    event: str,
    payload: Any,
    key: str | None,
    no_strict: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Send a signal to a run, with a payload in JSON (@file reads it from a file).

    With --wait, the exit code is 1 if the run did not complete.
    """
    with Client(database) as client:
        awaited = _awaited(client, run_id)
        client.signal(run_id, event, payload, key=key, strict=not no_strict)
        if awaited and event not in awaited:
            note = f"note: {run_id} waits for {', '.join(map(repr, awaited))} now; {event!r} is kept for a later wait"
            click.echo(clean(note), err=True)
        after = _after(client, run_id, wait=wait)
    _tell(f"sent {event!r} to {run_id}", after, database, as_json=as_json)
    if wait and after.state is not State.COMPLETED:
        ctx.exit(1)


@click.command()
@run_id
@click.option("--no-compensate", is_flag=True, help="Leave what was done as it is.")
@click.option("--reason", default="cancelled", help="Why; kept as the run's error.")
@_wait
@as_json
@database
@click.pass_context
def cancel(
    ctx: click.Context,
    database: str,
    *,
    run_id: str,
    no_compensate: bool,
    reason: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Cancel a run: what it has done is undone.

    With --wait, the exit code is 1 if the run ended in another way.
    """
    with Client(database) as client:
        client.cancel(run_id, compensate=not no_compensate, reason=reason)
        after = _after(client, run_id, wait=wait)
    _tell(f"cancelled {run_id}", after, database, as_json=as_json)
    if wait and after.state is not State.CANCELLED:
        ctx.exit(1)


def _awaited(client: Client, run_id: str) -> list[str]:
    """Return the names of the signals that a run waits for now."""
    run = client.get_execution(run_id)
    return [] if run is None else [gate.event for gate in run.waiting_for if gate.event is not None]


def _after(client: Client, run_id: str, *, wait: bool) -> Execution:
    """Return what a run looks like afterwards: now, or at its end."""
    run = client.run(run_id)
    if wait:
        if not _is_driven(client.path):
            console(stderr=True).print("no engine has the database open; waiting for one (Ctrl-C to leave)")
        return run.wait()
    found = client.get_execution(run_id)
    assert found is not None  # it was there a moment ago, and only its end can make it go
    return found.loaded()


def _is_driven(path: str) -> bool:
    with Reader(path) as reader:
        return any(engine.state == "alive" for engine in reader.engines())


def _tell(what: str, run: Execution, database: str, *, as_json: bool) -> None:
    if as_json:
        print_json(run_data(run))
        return
    if not run.finished and not _is_driven(database):
        what += "; it is taken when an engine opens the database"
        print_line(what)
        return
    print_line(f"{what}, which is ", (run.state, STYLES[run.state]), f"  {summary(run)}")
