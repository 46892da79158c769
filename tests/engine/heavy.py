"""Handlers that can be found by name in another process, and values of a class that is only defined here."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure import Context, NonRetryable, RetryAfter, step


@dataclass
class Plank:
    length: int


class Awkward(Exception):
    """Cannot be pickled: its constructor wants what it does not keep."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")
        self.lock = threading.Lock()


def where(ctx: Context[Any]) -> int:
    return os.getpid()


def everything(ctx: Context[Any]) -> dict[str, Any]:
    return {
        "input": ctx.input,
        "steps": dict(ctx.steps),
        "signals": dict(ctx.signals),
        "received": ctx.received("go"),
        "errors": {name: str(error) for name, error in ctx.errors.items()},
        "item": ctx.item,
        "index": ctx.index,
        "turn": ctx.turn,
        "run": (ctx.execution_id, ctx.workflow_name, ctx.step_name),
        "attempt": ctx.attempt,
        "key": ctx.idempotency_key,
    }


@step(retry=1, executor="process")
def saw(ctx: Context[int]) -> Plank:
    """A step whose name stands for the step, not for its handler."""
    return Plank(ctx.input // 2)


@saw.compensate
def glue(ctx: Context[int]) -> None:
    Path(str(ctx.steps["ledger"])).write_text(f"{ctx.result.length} {ctx.failure}")


async def later(ctx: Context[Any]) -> str:
    return f"later {os.getpid()}"


def undo(ctx: Context[Any]) -> list[Any]:
    assert ctx.failure is not None
    return [os.getpid(), ctx.result, ctx.failure.type, ctx.idempotency_key]


def double(value: Any) -> Any:
    return value * 2


def refuse(value: Any) -> Any:
    raise ValueError("too short")


def ten() -> int:
    return 10


def die_once(ctx: Context[Any]) -> int:
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


def die(ctx: Context[Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait(ctx: Context[str]) -> int:
    """Say who is there, and wait at the gate until somebody comes."""
    folder = Path(ctx.input)
    (folder / f"began-{ctx.idempotency_key.rpartition(':')[2]}").write_text(str(os.getpid()))
    with (folder / "news").open("w") as news:
        news.write("began\n")
    with (folder / "gate").open() as gate:
        gate.read()
    return os.getpid()


def raise_awkward(ctx: Context[Any]) -> None:
    raise Awkward("well", "well")


def raise_for_good(ctx: Context[Any]) -> None:
    raise NonRetryable("never")


def raise_for_later(ctx: Context[Any]) -> int:
    if ctx.attempt == 1:
        raise RetryAfter(60)
    return ctx.attempt


def leave(ctx: Context[Any]) -> int:
    if ctx.attempt == 1:
        raise SystemExit
    return ctx.attempt


def unstorable(ctx: Context[Any]) -> Any:
    return threading.Lock()


def reach_for(ctx: Context[str]) -> Any:
    match ctx.input:
        case "progress":
            return ctx.progress(1)
        case "checkpoint":
            return ctx.checkpoint(1)
        case name:
            return getattr(ctx, name)
