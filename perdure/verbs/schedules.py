"""Having runs start at set times."""

from __future__ import annotations

from typing import Any, TypeVar, Unpack, overload
from zoneinfo import ZoneInfo

from .. import arguments
from ..actors.schedules import SetSchedule
from ..dsl.policies import Duration
from ..dsl.workflow import Workflow
from ..schedule import CatchUp, Overlap, Schedule, ScheduleOptions, wanted_row
from .driving import DrivingVerbs
from .timetables import TimetableVerbs

__all__ = ["ScheduleVerbs"]

InputT = TypeVar("InputT")


class ScheduleVerbs(DrivingVerbs, TimetableVerbs):
    """What makes runs begin by the clock."""

    @overload
    def schedule(
        self, name: str, workflow: Workflow[InputT, Any], *, input: InputT, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def schedule(
        self, name: str, workflow: Workflow[None, Any], *, input: None = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    @overload
    def schedule(
        self, name: str, workflow: str, *, input: Any = None, **options: Unpack[ScheduleOptions]
    ) -> Schedule: ...
    def schedule(
        self,
        name: str,
        workflow: str | Workflow[Any, Any],
        *,
        input: Any = None,
        cron: str | None = None,
        every: Duration | None = None,
        tz: str | ZoneInfo | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "last",
        replace: bool = False,
    ) -> Schedule:
        """Have runs of a workflow started at set times, from now on and after every restart.

        Each tick starts one run, whatever crashes and however many engines have the database open; its id is the name
        of the schedule and the time of the tick, such as ``nightly@2026-11-22T02:00:00Z``. The same call again, at the
        next start of the program, changes nothing.

        Args:
            name: Name of the schedule.
            workflow: A registered workflow, or its name.
            input: What every run works on; checked against the workflow's input type.
            cron: Expression of five fields (minute, hour, day of month, month, day of week), or of six with the seconds
                first; needs the extra ``cron``.
            every: Seconds or `timedelta` between ticks, counted from this call; instead of ``cron``.
            tz: Time zone the expression is read in, such as ``"Europe/Rome"``; UTC when left out.
            overlap: What a tick does while the run before is unfinished: ``"skip"`` it, ``"queue"`` behind it, or
                ``"allow"`` both at once.
            catch_up: Which of the ticks that came while no engine could start them are made up for: ``"all"``, the
                ``"last"`` of them, or ``"none"``.
            replace: Put this schedule in the place of one that says otherwise; its times begin anew.

        Raises:
            UsageError: an argument is wrong.
            DuplicateSchedule: another schedule has the name.
            UnknownWorkflow: it, or a sub-workflow it needs, is not registered.
            InvalidPayload: the input does not fit its type or cannot be stored.
            MissingExtra: cronsim is not installed.
            StoreError: it could not be written; the message says whether it may have been.
            EngineClosed: the engine is closed.
        """
        self._machine.check_open("schedule")
        workflow_name = workflow.name if isinstance(workflow, Workflow) else workflow
        version = workflow.version if isinstance(workflow, Workflow) else None
        definition = self._registry.startable(workflow_name, version)
        wanted = wanted_row(
            name,
            workflow=workflow_name,
            version=version,
            encoded_input=arguments.encode(input, definition.input_type, f"the input of schedule {name!r}"),
            cron=cron,
            every=every,
            tz=tz,
            overlap=overlap,
            catch_up=catch_up,
        )
        return Schedule(self._ask_schedules(SetSchedule(wanted, replace), "schedule"))

    def _ask_schedules(self, message: Any, verb: str) -> Any:
        self._machine.check_open(verb)
        return self._ask_again(message, verb, self._machine.supervisor.schedules)
