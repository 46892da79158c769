"""Commands that tell a run something: ``signal``, ``cancel``; and what they share with those of operators.

They write into the database's inbox. An engine that is alive takes it from there at once; otherwise it waits for the
next one.
"""

from __future__ import annotations

from typing import Any

import click

from ..client import Client
from ..dsl.states import State
from ..persistence.reader import Reader
from .options import JSON_VALUE, as_json, database, run_id
from .printing import STYLES, clean, console, print_json, print_line
from .timeline import run_data, summary

__all__ = ["cancel", "signal", "stay", "waiting"]

waiting = click.option("--wait", is_flag=True, help="Stay until the run has ended.")


@click.command()
@run_id
@click.argument("event")
@click.argument("payload", type=JSON_VALUE, required=False)
@click.option("--key", help="A second signal to this run with the same key is dropped.")
@click.option("--no-strict", is_flag=True, help="Send it though no gate waits for this name.")
@waiting
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
        sent = f"sent {event!r} to {run_id}"
        stay(ctx, client, run_id, sent, asked=sent, wait=wait, as_json=as_json)


@click.command()
@run_id
@click.option("--no-compensate", is_flag=True, help="Leave what was done as it is.")
@click.option("--reason", default="cancelled", help="Why; kept as the run's error.")
@waiting
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
        done, asked = f"cancelled {run_id}", f"asked to cancel {run_id}"
        stay(ctx, client, run_id, done, asked=asked, wait=wait, as_json=as_json, good=State.CANCELLED)


def _awaited(client: Client, run_id: str) -> list[str]:
    """Return the names of the signals that a run waits for now."""
    run = client.get_execution(run_id)
    return [] if run is None else [gate.event for gate in run.waiting_for if gate.event is not None]


def stay(
    ctx: click.Context,
    client: Client,
    run_id: str,
    done: str,
    *,
    asked: str,
    wait: bool,
    as_json: bool,
    good: State = State.COMPLETED,
) -> None:
    """Say what was done to a run, or only asked of it, and how it stands then; if wanted, wait for its end first.

    Where no engine is alive, nothing is done yet, and the next one may refuse it, which it logs. The exit code is 1 if
    the end was waited for and the run did not end well.
    """
    is_driven = _is_driven(client.path)
    after = client.get_execution(run_id)
    if wait and after is not None and not (after.finished and not is_driven):  # else what was asked is still to come
        if not is_driven:
            console(stderr=True).print("no engine has the database open; waiting for one (Ctrl-C to leave)")
        after = client.run(run_id).wait()
        is_driven = True
    if as_json:
        print_json({"id": run_id, "state": None} if after is None else run_data(after))
    elif after is None or not is_driven:
        print_line(f"{asked}; it is taken, or refused, when an engine opens the database")
    else:
        print_line(f"{done}, which is ", (after.state, STYLES[after.state]), f"  {summary(after)}")
    if wait and (after is None or after.state is not good):
        ctx.exit(1)


def _is_driven(path: str) -> bool:
    with Reader(path) as reader:
        return any(engine.state == "alive" for engine in reader.engines())
