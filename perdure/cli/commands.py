"""The commands: what each is called, takes, and ends with."""

from __future__ import annotations

import click
from rich.console import Console

from .demo import play
from .stage import PromiseBroken

__all__ = ["perdure"]


@click.group()
@click.version_option(package_name="perdure")
def perdure() -> None:
    """Durable workflows inside a Python process."""


@perdure.command()
def demo() -> None:
    """Watch four orders, one of them killed in mid-run.

    Takes a few seconds, needs no configuration, and leaves nothing behind. The exit code is 0 if everything it says of
    itself came true.
    """
    try:
        play(Console(highlight=False))
    except PromiseBroken as error:
        raise click.ClickException(str(error)) from error
