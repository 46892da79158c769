"""Serving the page by itself, for the command line and for scripts."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from ..dsl.errors import UsageError
from ..shown import Redact
from .app import create_app
from .guard import LOOPBACK

if TYPE_CHECKING:
    from ..client import Client
    from ..engine import Engine

__all__ = ["serve"]


def serve(
    source: Engine | Client,
    *,
    host: str = "127.0.0.1",
    port: int = 8420,
    token: str | None = None,
    read_only: bool = False,
    redact: Redact | None = None,
    ready: Callable[[str], Any] = print,
) -> None:
    """Serve the page until Ctrl-C; blocks.

    Args:
        source: Whose runs are shown and steered.
        host: Address to listen on. Any but the loopback addresses needs a token; one is made when none is given.
        port: Port to listen on; 0 for any that is free.
        token: What a browser must show before it sees anything.
        read_only: Refuse whatever would change anything.
        redact: See `create_app`.
        ready: Called with the page's address, its token included, once it can be opened; prints it when left out.

    Raises:
        UsageError: the address is taken or is not ours.
    """
    is_local = host in LOOPBACK
    if token is None and not is_local:
        token = secrets.token_urlsafe(24)
    app = create_app(
        source, token=token, read_only=read_only, allowed_hosts=LOOPBACK if is_local else ("*",), redact=redact
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            msg = f"cannot listen on {host}:{port}: {error}; give another --host or --port"
            raise UsageError(msg) from None
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}/"
        listening.listen()
        ready(address if token is None else f"{address}?token={token}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2)
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended
            uvicorn.Server(config).run(sockets=[listening])
