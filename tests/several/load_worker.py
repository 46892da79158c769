"""An engine under load, in a process of its own, to be killed at any moment.

    python load_worker.py DATABASE LEDGER [DURABILITY]

Each step writes a line to the ledger, the only witness of what it has done.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from perdure import Context, Engine, Workflow
from perdure.errors import StoreUnavailable


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def effect(ctx: Context[Any]) -> str:
    """Do something that the outside world sees: one line, whole or not at all."""
    token = f"{ctx.idempotency_key} {os.getpid()}"
    os.write(LEDGER, f"{token}\n".encode())
    return token


def paid() -> Workflow[Any, Any]:
    return Workflow("paid").step("reserve", effect).wait_for("pay").step("charge", effect).sub_workflow("shipped")


def shipped() -> Workflow[Any, Any]:
    return Workflow("shipped").step("pack", effect).for_each(lambda ctx: [1, 2], "box", effect)


def opened(durability: Any) -> Engine:
    """Open an engine, as soon as that can be: the server may be about to be started again."""
    while True:
        try:
            return Engine(sys.argv[1], shipped(), paid(), durability=durability, concurrency=20)
        except StoreUnavailable:
            continue


def main() -> None:
    durability: Any = sys.argv[3] if len(sys.argv) > 3 else "normal"
    with opened(durability) as engine:
        say("open")
        for line in sys.stdin:
            match line.split():
                case ["start", id]:
                    engine.start("paid", id=id)
                case ["pay", id]:
                    engine.signal(id, "pay", id, key="once")
            say("done")
    say("closed")


LEDGER = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

if __name__ == "__main__":
    main()
