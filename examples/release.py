"""A release to several servers that is called off everywhere once one of them refuses it.

The servers are served side by side. With fail_fast, the refusal of one ends the waits of the others, instead of letting
them finish what has to be undone anyway; then what was copied is removed. Where that fails, a person has to know: the
undo is an incident, and is tried again once the console is back. The clock is frozen, so that all hours pass at once.

    1.9: completed, 3 servers switched
    2.0: failed, no space left; stopped: drain mail, drain web
      undo of copy to web: ConnectionError: the console does not answer
      undo of copy to web: completed
      undo of copy to mail: completed
      rollback complete, left on the servers: 1.9, 1.9, 1.9
    found by the error: 2.0
"""

from __future__ import annotations

import sys
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

from freezegun import freeze_time

from perdure import Compensation, Context, Engine, Execution, NonRetryable, Run, Workflow

WINDOWS = {"mail": 1, "web": 2, "wiki": 3}


class Fleet:
    """The servers; copying or switching a second time changes nothing more."""

    def __init__(self) -> None:
        self.copies = {server: {"1.8"} for server in WINDOWS}
        self.serving = dict.fromkeys(WINDOWS, "1.8")
        self.console_is_up = False

    def copy(self, server: str, version: str) -> str:
        """Put a version on a server."""
        if (server, version) == ("wiki", "2.0"):
            raise NonRetryable("no space left")
        self.copies[server].add(version)
        return version

    def remove(self, server: str, version: str) -> None:
        """Take a version off a server."""
        if server == "web" and not self.console_is_up:
            raise ConnectionError("the console does not answer")
        self.copies[server].discard(version)

    def switch(self, server: str, version: str) -> str:
        """Have a server serve this version, and nothing else."""
        self.serving[server] = version
        self.copies[server] = {version}
        return version

    def repair_console(self) -> None:
        """Bring the console back."""
        self.console_is_up = True


fleet = Fleet()
services = (fleet,)


def serve(server: str, hours: int) -> Workflow[str, Any]:
    """Return what is done to one server: its undo is too important to be given up."""

    def copy(ctx: Context[str]) -> str:
        return fleet.copy(server, ctx.input)

    def remove(ctx: Context[str]) -> None:
        fleet.remove(server, ctx.input)

    def switch(ctx: Context[str]) -> str:
        return fleet.switch(server, ctx.input)

    return (
        Workflow(server, input=str)
        .sleep(f"window of {server}", timedelta(hours=hours))
        .step(f"copy to {server}", copy, compensate=Compensation(remove, retry=1, on_exhausted="park"))
        .sleep(f"drain {server}", timedelta(hours=4))
        .step(f"switch {server}", switch)
    )


releases = Workflow("release", input=str).parallel(*(serve(*window) for window in WINDOWS.items()), fail_fast=True)
workflows = (releases,)


def drive(engine: Engine) -> dict[str, Execution]:
    """Release two versions, and see to what is parked; the ids make a second call harmless."""
    runs: dict[str, Run[Any]] = {}
    for version in ("1.9", "2.0"):
        runs[version] = engine.start(releases, version, id=version)
        engine.advance(hours=8)
    fleet.repair_console()
    engine.resolve(engine.incidents(), "retry", by="Ada", reason="the console is back")
    return {version: run.wait() for version, run in runs.items()}


def main() -> None:
    """Tell how both releases went."""
    with (
        freeze_time("2026-03-02 09:00"),
        TemporaryDirectory() as folder,
        Engine(sys.argv[1] if sys.argv[1:] else f"{folder}/releases.db", *workflows) as engine,
    ):
        good, bad = drive(engine).values()
        switched = sum(name.startswith("switch") for name in good.steps)
        print(f"{good.id}: {good.state}, {switched} servers switched")
        stopped = [name for name, record in bad.steps.items() if record.status == "cancelled"]
        print(f"{bad.id}: {bad.state}, {bad.error.message if bad.error else ''}; stopped: {', '.join(stopped)}")
        for attempt in engine.history(bad.id):
            if attempt.kind == "compensation":
                print(f"  undo of {attempt.step}: {attempt.error or attempt.outcome}")
        print(f"  rollback {bad.rollback}, left on the servers: {', '.join(map(max, fleet.copies.values()))}")
        print(f"found by the error: {', '.join(run.id for run in engine.list_executions(error='no space'))}")


if __name__ == "__main__":
    main()
