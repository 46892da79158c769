"""The demo: four orders, each with a fate of its own, told by their events and checked against what they changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from ..dsl.context import Context
from ..dsl.events import CompensationCompleted, StepRetry, WorkflowCompleted, WorkflowFailed, WorkflowWaiting
from ..dsl.states import State
from ..errors import EngineError, NonRetryable
from .shop import APPROVAL, Order, Shop, large_orders, orders
from .stage import PATIENCE, PromiseBroken, Stage
from .victim import TAKEN

__all__ = ["play"]

_KETTLE: Final = Order("kettle", 24_90)
_PROLOGUE: Final = """\
Four orders in a shop. Each plain line is an event of a run, told after it was on disk;
a line with -- says what happens besides, and one with => is a promise that was checked."""
_EPILOGUE: Final = """
All promises were kept. What to try next, in the project's folder:

   README.md            a workflow that survives the end of its process
   docs/quickstart.md   a workflow of your own, and then docs/tutorial.md
   examples/            workflows to run and to read: python examples/order_pipeline.py"""


def play(console: Console) -> None:
    """Play all acts in a temporary folder.

    Raises:
        PromiseBroken: An act did not go as promised; names it.
    """
    with TemporaryDirectory(prefix="perdure-demo-") as folder:
        stage = Stage(Path(folder), console)
        stage.say(_PROLOGUE)
        for number, (title, act) in enumerate(_ACTS, start=1):
            stage.begin(number, title)
            try:
                act(stage)
            except (PromiseBroken, EngineError, OSError) as error:
                raise PromiseBroken(f"act {number} did not go as promised: {error}") from error
        stage.say(_EPILOGUE)


# An order that works -------------------------------------------------------------------------------------------------


class _BusyAtFirst(Shop):
    """A shop whose payment service has no time for the first request."""

    def charge(self, ctx: Context[Order]) -> str:
        """Refuse the first attempt."""
        if ctx.attempt == 1:
            raise ConnectionError("the payment service is busy")
        return super().charge(ctx)


def _retried(stage: Stage) -> None:
    shop = _BusyAtFirst(stage.folder)
    workflow = orders(shop)
    with stage.engine(workflow) as engine:
        run = engine.start(workflow, _KETTLE, id="order-1")
        stage.tell_until(WorkflowCompleted)
        attempts = run.wait(PATIENCE).steps["charge"].attempts
    retries = [event for event in stage.told if isinstance(event, StepRetry)]
    stage.promise("one retry was enough", found=(len(retries), attempts), due=(1, 2))
    stage.promise("1 payment in the ledger", found=len(shop.payments("order-1")), due=1)


# An order whose process is killed ------------------------------------------------------------------------------------


def _killed(stage: Stage) -> None:
    _run_and_kill(stage, "order-2")
    shop = Shop(stage.folder)
    stage.promise(
        "the money has moved all the same: 1 payment in the ledger", found=len(shop.payments("order-2")), due=1
    )
    stage.remark("a new engine opens the same file")
    with stage.engine(orders(shop)) as engine:
        stage.tell_until(WorkflowCompleted)
        steps = engine.run("order-2").wait(PATIENCE).steps
    calls = shop.calls("order-2")
    stage.promise(
        "reserve ran once: its result was on disk, and a recorded step never runs again",
        found=(calls.count("order-2:reserve"), steps["reserve"].attempts),
        due=(1, 1),
    )
    stage.promise(
        "charge ran twice, both times with the idempotency key order-2:charge",
        found=(calls.count("order-2:charge"), steps["charge"].attempts, steps["charge"].interruptions),
        due=(2, 2, 1),
    )
    stage.promise(
        "charged exactly once, since the payment service knew the key: 1 payment in the ledger",
        found=shop.payments("order-2"),
        due=["order-2:charge"],
    )


def _run_and_kill(stage: Stage, order: str) -> None:
    """Run an order in a child process and kill that where it hurts most."""
    command = [sys.executable, "-m", "perdure.cli.victim", str(stage.folder), order]
    # The child finds the modules this process has found, however it was started, and nothing else that lies about.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(  # noqa: S603 - this interpreter, on a module of ours
        command, cwd=stage.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        watchdog = threading.Timer(PATIENCE, child.kill)
        watchdog.start()
        try:
            reached = _repeat_until_taken(stage, child)
        finally:
            watchdog.cancel()
            child.kill()
        status = child.wait()
    if not reached:
        raise PromiseBroken(f"the process to be killed ended before it had paid, with exit status {status}")
    stage.promise("its process was killed with SIGKILL: it could tidy nothing up", found=status, due=-signal.SIGKILL)


def _repeat_until_taken(stage: Stage, child: subprocess.Popen[str]) -> bool:
    for line in child.stdout or ():
        if line.rstrip() == TAKEN:
            stage.remark(TAKEN)
            return True
        stage.say(f"   {line.rstrip()}")
    return False


# An order that is undone ---------------------------------------------------------------------------------------------


class _WithoutLorry(Shop):
    """A shop that cannot ship."""

    def ship(self, ctx: Context[Order]) -> str:
        """Fail for good."""
        raise NonRetryable("the lorry has broken down")


def _undone(stage: Stage) -> None:
    shop = _WithoutLorry(stage.folder)
    workflow = orders(shop)
    with stage.engine(workflow) as engine:
        run = engine.start(workflow, _KETTLE, id="order-3")
        stage.tell_until(WorkflowFailed)
        rollback = run.wait(PATIENCE).rollback
    undone = [event.step for event in stage.told if isinstance(event, CompensationCompleted)]
    stage.promise(
        "undone in reverse order: first charge, then reserve",
        found=(undone, rollback),
        due=(["charge", "reserve"], "complete"),
    )
    stage.promise(
        "nothing is left of it: no payment in the ledger, nothing on the shelf",
        found=shop.payments("order-3") + shop.reservations("order-3"),
        due=[],
    )


# An order that waits -------------------------------------------------------------------------------------------------


def _approved(stage: Stage) -> None:
    shop = Shop(stage.folder)
    workflow = large_orders(shop)
    with stage.engine(workflow) as engine:
        engine.start(workflow, Order("piano", 4_999_00), id="order-4")
        stage.tell_until(WorkflowWaiting)
    stage.promise("not paid before somebody has approved it", found=shop.payments("order-4"), due=[])
    stage.remark("the engine is closed: a waiting order is a few rows in a file, and a new engine finds it")
    with stage.engine(workflow) as engine:
        run = engine.run("order-4")
        stage.promise("still waiting", found=run.state, due=State.WAITING)
        run.signal(APPROVAL, "yes, says Grace")
        stage.tell_until(WorkflowCompleted)
        taken = dict(run.wait(PATIENCE).signals)
    stage.promise("the approval was taken", found=taken, due={"approval": "yes, says Grace"})
    stage.promise("1 payment in the ledger", found=len(shop.payments("order-4")), due=1)


_ACTS: Final[tuple[tuple[str, Callable[[Stage], None]], ...]] = (
    ("An order that works, although the payment service is busy at first", _retried),
    ("The same order, killed while it pays, and finished after a restart", _killed),
    ("The same order, and the shipment fails: everything is undone", _undone),
    ("A large order waits until somebody approves it", _approved),
)
