"""One engine in a process of its own: it reads orders line by line, and says line by line what it does.

    python worker.py DATABASE HOLD WORKFLOW...

``HOLD`` is a file; a step that is told to hold goes on once nobody else has it locked.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from perdure import Context, Engine, Workflow


def say(*words: object) -> None:
    # One write: lines of several threads must not mix.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def hold(ctx: Context[Any]) -> str:
    say("begin", ctx.idempotency_key, time.clock_gettime(time.CLOCK_MONOTONIC))
    with open(sys.argv[2]) as held:  # noqa: PTH123 - only its lock is of interest
        fcntl.flock(held, fcntl.LOCK_SH)
    return "held"


def note(ctx: Context[Any]) -> Any:
    say("note", ctx.idempotency_key, ctx.signals.get("go"))
    return ctx.signals.get("go")


def parent() -> Workflow[Any, Any]:
    return Workflow("parent").sub_workflow("held").step("end", lambda: "grown")


WORKFLOWS: dict[str, Callable[[], Workflow[Any, Any]]] = {
    "gate": lambda: Workflow("gate").wait_for("go").step("note", note),
    "held": lambda: Workflow("held").step("hold", hold),
    "timed": lambda: Workflow("timed").wait_for("go", timeout=3600).step("note", note),
    "parent": parent,
    "quick": lambda: Workflow("quick").step("note", note),
}


def main() -> None:
    with Engine(sys.argv[1], *[WORKFLOWS[name]() for name in sys.argv[3:]], durability="normal") as engine:
        say("open", engine._machine.store.engine_id)
        for line in sys.stdin:
            match line.split():
                case ["register", name]:
                    engine.register(WORKFLOWS[name]())
                    say("registered", name)
                case ["start", name, id]:
                    say("started", engine.start(name, id=id).id)
                case ["signal", id, payload]:
                    try:
                        engine.signal(id, "go", payload)
                        say("signalled", id)
                    except Exception as error:  # noqa: BLE001 - its name is what the test wants
                        say("refused", type(error).__name__)
                case ["result", id]:
                    say("result", engine.run(id).result())
                case ["every", name, seconds]:
                    engine.schedule(name, "quick", every=float(seconds))
                    say("scheduled", name)
                case ["deadline"]:
                    say("deadline", engine.next_deadline())
    say("closed")


if __name__ == "__main__":
    main()
