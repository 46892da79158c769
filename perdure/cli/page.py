"""The commands that serve a database: to people on the web page, to assistants over the Model Context Protocol."""

from __future__ import annotations

import webbrowser

import click

from ..client import Client
from .loading import load_all
from .options import database
from .printing import print_line

__all__ = ["dashboard", "mcp"]


@click.command()
@click.argument("workflows", nargs=-1, metavar="[MODULE[:NAME]]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8420, show_default=True, help="0 for any that is free.")
@click.option("--token", envvar="PERDURE_TOKEN", help="What a browser must show; made up for any but a local address.")
@click.option("--read-only", is_flag=True, help="Refuse whatever would change anything.")
@click.option("--open", "open_", is_flag=True, help="Open it in the browser.")
@database
def dashboard(
    database: str,
    *,
    workflows: tuple[str, ...],
    host: str,
    port: int,
    token: str | None,
    read_only: bool,
    open_: bool,
) -> None:
    """Serve the web page for a database until Ctrl-C, whether or not an engine has it open.

    Nothing is run here: what the page sends waits in the database for an engine. With the modules that define the
    workflows, it also has their graphs and forms.
    """
    from ..dashboard import serve

    def ready(address: str) -> None:
        print_line(f"serving {database} at {address}")
        if open_:
            webbrowser.open(address)

    with Client(database, *(workflow for target in workflows for workflow in load_all(target))) as client:
        serve(client, host=host, port=port, token=token, read_only=read_only, ready=ready)


@click.command()
@click.argument("database")
@click.argument("workflows", nargs=-1, metavar="[MODULE[:NAME]]...")
@click.option("--allow-write", is_flag=True, help="Let assistants start, signal and cancel runs, too.")
def mcp(database: str, *, workflows: tuple[str, ...], allow_write: bool) -> None:
    """Serve a database to AI assistants, on standard input and output; they only read, unless allowed to write.

    With the modules that define the workflows, assistants can also have them drawn.
    """
    from ..mcp import create_server

    known = [workflow for target in workflows for workflow in load_all(target)]
    with Client(database, *known) as client:
        create_server(client, allow_write=allow_write).run()
