"""A pooler before a PostgreSQL server, for tests: PgBouncer, which lends sessions by transaction."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from typing import Any, Final

from .postgres_server import PostgresServer

__all__ = ["Pooler", "bouncer"]

_PORT: Final = 5432
_PATIENCE: Final = 60.0
_SETTINGS: Final = """
[databases]
* = host={server} user=perdure
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
max_client_conn = 500
server_idle_timeout = 5
default_pool_size = {sessions}
"""


def bouncer() -> str | None:
    """Return the program, or None where there is none."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """A pooler before a server, in a folder of its own in that one's."""

    def __init__(self, server: PostgresServer, program: str, *, sessions: int = 20) -> None:
        self._server = server
        self._program = program
        self._sessions = sessions
        self._folder = server.folder / f"pooler-{os.getpid()}-{sessions}"
        self._process: subprocess.Popen[Any] | None = None

    def url(self, direct: str) -> str:
        """Return the address by way of the pooler of a database that has this one without."""
        return f"{direct.replace(str(self._server.folder), str(self._folder))}&pooled=true"

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        self._folder.mkdir(exist_ok=True)
        settings = self._folder / "pooler.ini"
        settings.write_text(
            _SETTINGS.format(server=self._server.folder, folder=self._folder, port=_PORT, sessions=self._sessions)
        )
        if user := self._server.user:
            for each in (self._folder, settings):
                os.chown(each, user["user"], user["group"])
        log = self._folder / "pooler.log"
        with log.open("ab") as said:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own words
                [self._program, settings], stdin=subprocess.DEVNULL, stdout=said, stderr=said, **self._server.user
            )
        until = time.clock_gettime(time.CLOCK_MONOTONIC) + _PATIENCE
        while not self._answers():
            if process.poll() is not None or time.clock_gettime(time.CLOCK_MONOTONIC) > until:
                raise RuntimeError(f"pgbouncer has not started: {log.read_text()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as caller:
            return caller.connect_ex(str(self._folder / f".s.PGSQL.{_PORT}")) == 0

    def stop(self) -> None:
        """Stop it, ending all its sessions."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            (self._folder / f".s.PGSQL.{_PORT}").unlink(missing_ok=True)
