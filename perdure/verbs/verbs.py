"""What every verb rests on: how a call is let in, reaches a run, and reads from the database.

An engine and a client each give their own answer to these; the verbs are said once. Nothing here may know which it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..execution import Execution
from ..looking import Looking
from ..persistence.reader import Reader
from ..persistence.records import ExecutionRow
from ..registry import Registry

if TYPE_CHECKING:
    from ..actors.aside import Aside
    from ..actors.endings import Ending
    from ..run import Run

__all__ = ["Verbs"]

T = TypeVar("T")


class Verbs(ABC):
    """What may be said of runs."""

    _registry: Registry
    _looking: Looking

    # ---- how a call gets there

    @abstractmethod
    def _check_open(self, verb: str) -> None:
        """Refuse what is to be done, named by a verb, when nobody can do it any more, or in a forked process."""

    @abstractmethod
    def _tell(self, id: str, message: Any, verb: str) -> Any:
        """Bring a message to a run; return the answer, or None if nobody can give one yet."""

    @abstractmethod
    def _read(self, verb: str, look: Callable[[Reader], T]) -> T:
        """Read from the database; the verb says what for."""

    @abstractmethod
    def _new_id(self) -> str:
        """Make an id for a new run."""

    @abstractmethod
    def _input_type(self, workflow: str, version: str | None) -> Any:
        """Return the type of a workflow's input."""

    @abstractmethod
    def _handle(self, id: str, workflow: str, ending: Ending | None = None) -> Run[Any]:
        """Return a handle on a run."""

    def _yet_to_start(self, id: str) -> Execution | None:
        """Return what a run looks like that is asked for, and that nobody has started yet."""
        return None

    # ---- for handles on runs

    def view(self, row: ExecutionRow) -> Execution:
        """Return what a run's row shows; its steps and signals are read when they are asked for."""
        return self._looking.view(row)

    @abstractmethod
    def when_ended(self, id: str, callback: Callable[[ExecutionRow | None], None]) -> Callable[[], None]:
        """Have a callback called with a run's row at its end, or None at the close; returns what takes that back."""

    @abstractmethod
    def when_changed(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called whenever there may be news of a run; returns what takes that back."""

    @abstractmethod
    def is_under_way(self, id: str) -> bool:
        """Tell whether a run is in memory and its end is still to come."""

    @abstractmethod
    def wait_told(self) -> None:
        """Wait until the listeners have been given the last event of a run that has ended."""

    @abstractmethod
    def check_may_wait(self, id: str | None) -> None:
        """Raise `WouldDeadlock` where waiting for this run, or for everything, could never end."""

    @abstractmethod
    def stillness(self) -> float | None:
        """Return for how many real seconds a wait in frozen time may see nothing happen; None while something may."""

    @abstractmethod
    def check_may_block(self) -> None:
        """Raise `WouldDeadlock` where waiting would stop every coroutine of the engine."""

    @abstractmethod
    def aside(self) -> Aside | None:
        """Return how the handler that asks, if it is one, steps aside while it waits for another run."""

    @abstractmethod
    def subscribe(self, id: str, listener: Callable[[Any], Any]) -> Callable[[], None]:
        """Call a listener for every event of one run from now on; returns what ends that."""
