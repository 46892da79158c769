"""Many runs that only wait: how long it takes to create them, to open the database again, and to resume all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from perdure import Engine, Run

from ..measure import stopwatch
from .shared import folder, gated

_CALLERS = 16


def perdure(*, durability: Literal["full", "normal"], count: int) -> dict[str, float]:
    """Start from several threads, close, open until a waiting run can be looked at, then signal every one."""
    with folder() as path, ThreadPoolExecutor(_CALLERS) as callers:
        database = path / "runs.db"
        with Engine(database, gated(), durability=durability) as engine:
            with stopwatch() as create:
                ids = [run.id for run in callers.map(lambda _: engine.start("gated"), range(count))]
            engine.run(ids[-1]).wait(until="waiting")
        with stopwatch() as restart:
            engine = Engine(database, gated(), durability=durability)
            last = engine.run(ids[-1])
        assert last.state == "waiting"
        with engine:

            def resume(id: str) -> None:
                engine.signal(id, "go")
                Run(engine, id, "gated").result()

            with stopwatch() as resume_all:
                list(callers.map(resume, ids))
    return {"create": create[0], "restart": restart[0], "resume": resume_all[0]}
