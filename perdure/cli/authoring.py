"""Commands for whoever writes workflows: ``init``, ``run``, ``check``, ``graph``. They import the user's module."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from ..dsl.errors import UsageError
from ..dsl.events import Event
from ..dsl.states import ENDS, State
from ..dsl.workflow import Workflow
from ..execution import Execution
from ..looking import look_at
from .loading import load_all, load_one
from .looking import find
from .narration import narrate
from .options import JSON_VALUE, TAG, as_json, database
from .printing import STYLES, plain, print_json, print_line, value_text
from .timeline import run_data, waits_of

__all__ = ["check", "graph", "init", "run"]

_TEMPLATE: Final = '''"""Workflows of this project. Try them:

    perdure check flows:order
    perdure graph flows:order
    perdure run flows:order --input '{"item": "kettle", "cents": 2490}'
"""

from dataclasses import dataclass

from perdure import Context, NonRetryable, Signal, Workflow, step


@dataclass(frozen=True)
class Order:
    """What somebody wants to buy."""

    item: str
    cents: int


approval = Signal("approval", bool)


@step
def reserve(ctx: Context[Order]) -> str:
    """Put the goods aside."""
    return f"shelf of {ctx.input.item}"


@reserve.compensate
def release(ctx: Context[Order]) -> None:
    """Put the goods back: runs when a later step fails."""
    ctx.logger.info("released %s", ctx.result)


@step(retry=5, timeout=15)
def charge(ctx: Context[Order]) -> str:
    """Take the money; the key lets the payment service drop a request that it has seen before."""
    if not ctx[approval]:
        raise NonRetryable("nobody wants it")
    return f"payment {ctx.idempotency_key}"


order = Workflow("order", input=Order).step(reserve).wait_for(approval, timeout=3 * 86_400).step(charge)
'''


@click.command()
@click.argument("path", type=click.Path(), default="flows.py")
@as_json
def init(path: str, *, as_json: bool) -> None:
    """Write a small module of workflows to begin with."""
    file = Path(path)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(_TEMPLATE.replace("flows:order", f"{file.stem}:order"))
    except FileExistsError:
        raise UsageError(f"{path!r} exists already: give another name, as in perdure init more_flows.py") from None
    except OSError as error:
        raise UsageError(f"cannot write {path!r}: {error.strerror}") from None
    if as_json:
        print_json({"wrote": path, "workflow": f"{file.stem}:order"})
        return
    print_line(f"wrote {path}; now try")
    kettle = '{"item": "kettle", "cents": 2490}'
    print_line(f"  perdure run {file.stem}:order --input '{kettle}'")


@click.command()
@click.argument("workflow")
@click.option("-i", "--input", "value", type=JSON_VALUE, help="Its input in JSON; @file reads it from a file.")
@click.option("--id", "run_id", help="The id of the run; made up when left out.")
@click.option("-t", "--tag", "tags", multiple=True, type=TAG, help="A tag to keep with the run.")
@click.option("--wait", is_flag=True, help="Stay until the run has ended, also while it waits for a signal or time.")
@as_json
@database
@click.pass_context
def run(
    ctx: click.Context,
    database: str,
    *,
    workflow: str,
    value: Any,
    run_id: str | None,
    tags: tuple[tuple[str, Any], ...],
    wait: bool,
    as_json: bool,
) -> None:
    """Run a workflow, given as MODULE:NAME, until it has ended or waits.

    With the id of a run that exists, and no input, that run goes on. The exit code is 1 if the run did not complete.
    """
    from ..engine import Engine

    chosen, all_ = load_one(workflow)
    listener = None if as_json else _tell
    with Engine(database, *all_, on_event=listener) as engine:
        if value is None and run_id is not None and engine.get_execution(run_id) is not None:
            started = engine.run(run_id)
        else:
            started = engine.start(chosen, value, id=run_id, tags=dict(tags) or None)
        until = ENDS if wait else ENDS | {State.WAITING}
        ended = started.wait(until=[str(state) for state in until])
        history = engine.history(ended.id)
    # Once the engine is closed: then all events have been told.
    if as_json:
        print_json(run_data(ended, history))
    else:
        _tell_end(ended, database)
    if ended.state not in (State.COMPLETED, State.WAITING):
        ctx.exit(1)


def _tell(event: Event) -> None:
    if line := narrate(event):
        print_line(line)


def _tell_end(run: Execution, database: str) -> None:
    print_line((run.id, "bold"), "  ", (run.state, STYLES[run.state]))
    if run.state is State.COMPLETED and run.result is not None:
        print_line(f"result   {value_text(run.result)}")
    if run.error is not None:
        print_line("error    ", (str(run.error), "red"))
    for line in waits_of(run):
        print_line("waiting  ", (line, "yellow"))
    if run.waiting_for:
        print_line(f"it goes on when an engine opens {database}")


@click.command()
@click.argument("workflow")
@as_json
@click.pass_context
def check(ctx: click.Context, *, workflow: str, as_json: bool) -> None:
    """Look for mistakes in a workflow, given as MODULE:NAME, or in all of a module.

    Nothing is run. The exit code is 1 if there are errors or warnings.
    """
    known = load_all(workflow.partition(":")[0])
    found = [(one, finding) for one in load_all(workflow) for finding in one.check(*known)]
    if as_json:
        print_json({"findings": [{"workflow": one.name, **plain(finding)} for one, finding in found]})
    else:
        for one, finding in found:
            print_line(
                (f"{finding.level:<8}", STYLES[finding.level]), f"{one.name}: {finding.message} [{finding.code}]"
            )
        if not found:
            print_line(("nothing to find fault with", "green"))
    if any(finding.level in ("error", "warning") for _, finding in found):
        ctx.exit(1)


@click.command()
@click.argument("workflow")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "svg", "json"]),
    default="mermaid",
    show_default=True,
    help="The language of the drawing.",
)
@click.option("-r", "--run", "run_id", help="Paint this run of the database on it (mermaid and svg).")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file to write to; else standard output.")
@database
def graph(database: str, *, workflow: str, form: str, run_id: str | None, output: str | None) -> None:
    """Draw a workflow, given as MODULE:NAME."""
    chosen, all_ = load_one(workflow)
    text = _drawn(chosen, form) if run_id is None else _painted(database, all_, form, run_id)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output!r}: {error.strerror}") from None


def _drawn(workflow: Workflow[Any, Any], form: str) -> str:
    import json

    match form:
        case "mermaid":
            return workflow.to_mermaid()
        case "dot":
            return workflow.to_dot()
        case "svg":
            return workflow.to_svg()
        case _:
            return json.dumps(workflow.to_dict(), indent=2)


def _painted(database: str, workflows: list[Workflow[Any, Any]], form: str, run_id: str) -> str:
    if form not in ("mermaid", "svg"):
        raise UsageError(f"a run can be painted on mermaid and svg, not on {form}")
    with look_at(database, *workflows) as runs:
        execution = find(runs, run_id)
        return execution.to_mermaid() if form == "mermaid" else execution.to_svg()
