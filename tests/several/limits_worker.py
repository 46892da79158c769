"""An engine whose runs are limited, in a process of its own, to be killed at any moment.

    python limits_worker.py DATABASE FOLDER

What watches the limits is outside the engine: a handler has to get one of as many locked files as the limit allows, of
all and of its key. The locks die with their process. A handler that finds none writes so to the ledger.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from perdure import Concurrency, Context, Engine, Workflow

LIMIT, PER_KEY = 3, 2


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def note(*words: object) -> None:
    os.write(LEDGER, (" ".join(map(str, words)) + "\n").encode())


@contextmanager
def one_of(name: str, number: int) -> Iterator[None]:
    """Have one of so many places, the first that is free."""
    with ExitStack() as stack:
        for place in range(number):
            file = stack.enter_context((FOLDER / f"{name}-{place}").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            note("place", name, place)
            yield
            return
        note("exceeded", name)
        yield


def work(ctx: Context[str]) -> None:
    """Have a place, and leave it once nobody holds it back."""
    with one_of("all", LIMIT), one_of(f"key-{ctx.input[0]}", PER_KEY), (FOLDER / "hold").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        os.fsync(LEDGER)
    note("done", ctx.idempotency_key)


def limited() -> Workflow[str, Any]:
    limit = Concurrency(LIMIT, key=lambda ctx: ctx.input[0], per_key=PER_KEY)
    return Workflow("limited", input=str, concurrency=limit).step("one", work).step("two", work)


def main() -> None:
    with Engine(sys.argv[1], limited(), durability="normal", concurrency=20) as engine:
        say("open")
        for line in sys.stdin:
            for name in line.split():
                engine.start("limited", name, id=name)
            say("started")
    say("closed")


FOLDER = Path(sys.argv[2])
LEDGER = os.open(FOLDER / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

if __name__ == "__main__":
    main()
