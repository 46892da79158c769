"""The demo's stage: the folder and database an act plays on, the lines it speaks, and the promises it is held to.

Lines are spoken by the thread that plays, which takes the events from a queue: so they stand in order, and an act goes
on exactly when it has told what it waited for.
"""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from ..dsl.events import Event, WorkflowCancelled, WorkflowCompleted, WorkflowFailed, WorkflowQuarantined
from ..dsl.workflow import Workflow
from ..engine import Engine
from .narration import narrate

__all__ = ["PATIENCE", "PromiseBroken", "Stage"]

PATIENCE = 60.0
"""Real seconds until something that should take milliseconds has gone wrong."""

EventT = TypeVar("EventT", bound=Event)

_ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowQuarantined)


class PromiseBroken(Exception):
    """The demo did not go as it said it would."""


class Stage:
    """Where the acts play, one after the other, on one database.

    Attributes:
        folder: The temporary folder.
        told: The events of this act so far.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.told: list[Event] = []
        self._console = console
        self._arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def engine(self, *workflows: Workflow[Any, Any]) -> Engine:
        """Open a new engine on the database; its events are told from the first one on."""
        return Engine(self.folder / "orders.db", *workflows, on_event=self._arrived.put)

    def begin(self, number: int, title: str) -> None:
        """Begin an act."""
        self.told = []
        self.say(f"\n{number}. {title}", "bold")

    def tell_until(self, end: type[EventT]) -> EventT:
        """Tell events as they come, up to and including the first one of a type.

        Raises:
            PromiseBroken: None came, or the run ended in another way.
        """
        while True:
            try:
                event = self._arrived.get(timeout=PATIENCE)
            except queue.Empty:
                raise PromiseBroken(f"there was no {end.type} in {PATIENCE:g} s") from None
            self.told.append(event)
            if line := narrate(event):
                self.say(f"   {line}")
            if isinstance(event, end):
                return event
            if isinstance(event, _ENDS):
                raise PromiseBroken(f"{event.execution_id} ended with {event.type}, not with {end.type}")

    def remark(self, text: str) -> None:
        """Say what happens besides the events."""
        self.say(f"   -- {text}", "yellow")

    def promise(self, text: str, *, found: object, due: object) -> None:
        """Claim something, having looked.

        Raises:
            PromiseBroken: What was found is not what was due.
        """
        if found != due:
            raise PromiseBroken(f"{text!r} is not true: expected {due!r}, found {found!r}")
        self.say(f"   => {text}", "green")

    def say(self, line: str, style: str = "") -> None:
        """Print a line."""
        # Soft wrapping leaves lines whole where nobody can see their width: in a file or a pipe.
        self._console.print(Text(line, style), soft_wrap=True)
