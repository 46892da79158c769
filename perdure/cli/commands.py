"""The commands: what each is called, takes, and ends with."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import get_completion_class

from ..dsl.errors import EngineError, StoreUnavailable
from .authoring import check, graph, init, run
from .doctor import doctor
from .keeping import archive, backup, cleanup, export
from .looking import list_, show, tail
from .moving import move
from .page import dashboard, mcp
from .printing import clean
from .repairing import fork, incidents, pause, resolve, resume, retry, skip
from .scheduling import schedules
from .steering import cancel, signal

__all__ = ["perdure"]


class _Commands(click.Group):
    """Ends with one line, and no traceback, where the caller or the database is at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StoreUnavailable as error:
            raise click.ClickException(f"{clean(str(error))} (-d, or PERDURE_DATABASE, says which database)") from error
        except EngineError as error:
            raise click.ClickException(clean(str(error))) from error


@click.group(cls=_Commands)
@click.version_option(package_name="perdure")
def perdure() -> None:
    """Durable workflows inside a Python process.

    Commands work on a database file (-d FILE behind the command, or PERDURE_DATABASE), whether or not an engine has it
    open.
    """


@click.command()
def demo() -> None:
    """Watch four orders, one of them killed in mid-run.

    Takes a few seconds, needs no configuration, and leaves nothing behind. The exit code is 0 if everything it says of
    itself came true.
    """
    from rich.console import Console

    from .demo import play
    from .stage import PromiseBroken

    try:
        play(Console(highlight=False))
    except PromiseBroken as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and the ids of runs.

    For bash: eval "$(perdure completion bash)"
    """
    found = get_completion_class(shell)
    assert found is not None  # the choice names only shells that click knows
    click.echo(found(perdure, {}, "perdure", "_PERDURE_COMPLETE").source())


for command in (
    demo,
    init,
    run,
    check,
    graph,
    list_,
    show,
    tail,
    signal,
    cancel,
    pause,
    resume,
    retry,
    skip,
    fork,
    incidents,
    resolve,
    schedules,
    archive,
    cleanup,
    export,
    backup,
    move,
    doctor,
    dashboard,
    mcp,
    completion,
):
    perdure.add_command(command)
