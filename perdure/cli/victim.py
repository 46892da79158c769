"""The process that the demo kills: it runs an order up to the worst possible moment.

``python -m perdure.cli.victim FOLDER ORDER`` prints a line for each event and then `TAKEN`: the money has changed
hands, the result of the step has not been recorded, and nothing more will happen until somebody kills it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ..dsl.context import Context
from ..dsl.events import Event, StepStarted
from ..engine import Engine
from .narration import narrate
from .shop import Order, Shop, orders

__all__ = ["TAKEN"]

TAKEN = "the money is taken, but charge has not returned"


class _HangingShop(Shop):
    """A shop whose payment step never returns."""

    def __init__(self, folder: Path, charging: threading.Event) -> None:
        super().__init__(folder)
        self._charging = charging

    def charge(self, ctx: Context[Order]) -> str:
        """Take the money and hang."""
        super().charge(ctx)
        self._charging.wait()  # until the events before this moment are printed
        _print(TAKEN)
        sys.stdin.read()  # ends only if the demo dies first: then nobody is left to kill this process
        os._exit(1)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(folder: Path, order: str) -> None:
    """Run an order until the process is killed."""
    charging = threading.Event()

    def listen(event: Event) -> None:
        if line := narrate(event):
            _print(line)
        if isinstance(event, StepStarted) and event.step == "charge":
            charging.set()

    workflow = orders(_HangingShop(folder, charging))
    with Engine(folder / "orders.db", workflow, on_event=listen) as engine:
        engine.start(workflow, Order("kettle", 24_90), id=order).result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
