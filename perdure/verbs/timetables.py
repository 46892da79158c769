"""What may be asked of schedules that exist."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from .. import arguments
from ..actors.schedules import Pause, ResumeTicks, Trigger, Unschedule
from ..schedule import Schedule
from .looking import LookingVerbs

if TYPE_CHECKING:
    from ..run import Run

__all__ = ["TimetableVerbs"]


class TimetableVerbs(LookingVerbs):
    """What is said of the times at which runs begin."""

    def schedules(self) -> list[Schedule]:
        """Return all schedules, by name, each with its next times and its last run.

        Raises:
            EngineClosed: the engine is closed.
        """
        return list(map(Schedule, self._read("list schedules", lambda store: store.list_schedules())))

    def pause_schedule(self, name: str) -> None:
        """Pass over a schedule's ticks, and leave its queue alone, until `resume_schedule`.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._change(Pause(name), "pause a schedule")

    def resume_schedule(self, name: str) -> None:
        """Go on with a schedule that was paused; the ticks of the meantime are not made up for.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._change(ResumeTicks(name), "resume a schedule")

    def trigger(self, name: str) -> Run[Any]:
        """Start a run of a schedule now, paused or not and whatever else runs.

        Raises:
            UnknownSchedule: there is none of this name.
            UnknownWorkflow: its workflow is not registered.
            EngineClosed: the engine is closed.
        """
        return self.run(self._change(Trigger(name), "trigger a schedule"))

    def unschedule(self, name: str) -> None:
        """Forget a schedule; the runs it has started go on, the ticks in its queue are dropped.

        Raises:
            UnknownSchedule: there is none of this name.
            EngineClosed: the engine is closed.
        """
        self._change(Unschedule(name), "unschedule")

    def _change(self, message: Pause | ResumeTicks | Trigger | Unschedule, verb: str) -> Any:
        arguments.check_text(message.name, "the name of a schedule")
        return self._ask_schedules(message, verb)

    @abstractmethod
    def _ask_schedules(self, message: Any, verb: str) -> Any:
        """Have a schedule changed; of a trigger, return the id of the run."""
