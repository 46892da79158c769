"""What the page asks for and what its buttons do, on an engine or a client. This file knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ..dsl.errors import ExecutionNotFound, MissingExtra, UnknownWorkflow, UsageError
from ..dsl.legality import LEGAL_VERBS, Standing, Verb
from ..dsl.states import State
from ..dsl.workflow import Workflow
from ..execution import Execution
from ..looking import Page
from ..schedule import Schedule
from ..shown import Redact, Shower, moment
from .forms import form_of

if TYPE_CHECKING:
    from ..client import Client
    from ..engine import Engine

__all__ = ["Desk"]

_PAGE: Final = 50
_MOST_INBOX: Final = 200
_BY: Final = "dashboard"

_OF_SCHEDULES: Final = ("pause_schedule", "resume_schedule", "trigger", "unschedule")
_NEXT_TIMES: Final = 3

_STANDINGS: Final[Mapping[str, frozenset[Standing]]] = {
    "running": frozenset({Standing.RUNNING, Standing.PAUSED, Standing.PARKED, Standing.STOPPING}),
    "waiting": frozenset({Standing.WAITING, Standing.PAUSED, Standing.PARKED}),
    "compensating": frozenset({Standing.COMPENSATING, Standing.ROLLBACK_PAUSED, Standing.ROLLBACK_PARKED}),
    "completed": frozenset({Standing.COMPLETED}),
    "failed": frozenset({Standing.FAILED, Standing.UNDONE, Standing.PARTLY_UNDONE}),
    "cancelled": frozenset({Standing.CANCELLED}),
    "quarantined": frozenset({Standing.QUARANTINED}),
}
"""Where a run in a state may stand. People see the state, which is coarser than what decides whether a verb is legal:
the page offers whatever may be, and shows the engine's refusal where it was too much."""


class Desk:
    """Answers the page."""

    def __init__(self, source: Engine | Client, *, redact: Redact | None, read_only: bool) -> None:
        """Take the engine or client, and what hides values."""
        self._source = source
        self._show = Shower(redact)
        self.read_only = read_only
        self._defined: dict[Workflow[Any, Any], dict[str, Any]] = {}

    @property
    def path(self) -> str:
        """The database file."""
        return str(self._source.path)

    # ---- looking

    def overview(self) -> dict[str, Any]:
        """Return what the page is drawn around."""
        counts = self._source.count_executions(by="state")
        return {
            "workflows": sorted(self._workflows()),
            "states": [str(state) for state in State],
            "counts": {str(state): count for state, count in counts.items()},
            "inbox": self._count_inbox(),
            "read_only": self.read_only,
        }

    def runs(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of runs."""
        filters: dict[str, Any] = {name: asked[name] for name in ("business_key", "error") if asked.get(name)}
        if (wanted := asked.get("id")) and not asked.get("after"):
            one = self._source.get_execution(wanted)
            return {"runs": [] if one is None else [self._show.brief(one)], "next": None}
        page = self._source.list_executions(
            asked.get("workflow") or None,
            asked.get("state") or None,
            limit=_PAGE,
            after=asked.get("after") or None,
            **filters,
        )
        return {"runs": list(map(self._show.brief, page)), "next": page.cursor}

    def run(self, id: str) -> dict[str, Any]:
        """Return everything about one run."""
        execution = self._execution(id)
        shown = self._show.whole(execution, self._source.history(id))
        shown["gates"] = [self._gate(execution, event) for event in self._events(execution)]
        shown["verbs"] = self._verbs(execution)
        shown["has_graph"] = (execution.workflow_name, execution.version) in self._versions()
        shown["audit"] = [self._audited(entry) for entry in self._source.audit(id)]
        shown["incidents"] = [one for one in self._incidents() if one["run"] == execution.id]
        return shown

    def graph(self, id: str) -> str:
        """Return the drawing of a run."""
        return self._execution(id).to_svg()

    def inbox(self) -> dict[str, Any]:
        """Return what waits for a person: open gates with their forms, and incidents."""
        waiting = self._waiting()
        gates = [
            {
                **self._show.brief(execution),
                "input": self._show.value(execution.id, "input", execution.input),
                **self._gate(execution, event),
            }
            for execution in waiting
            for event in self._events(execution)
        ]
        return {"gates": gates, "incidents": self._incidents(), "more": waiting.cursor is not None}

    def _waiting(self) -> Page:
        return self._source.list_executions(None, "waiting", limit=_MOST_INBOX)

    def _count_inbox(self) -> str:
        """Return how much waits for a person, as the page says it: nothing, a number, or that there is more."""
        waiting = self._waiting()
        count = sum(len(self._events(execution)) for execution in waiting)
        count += len(self._source.incidents())
        return "" if not count else f"{count}{'' if waiting.cursor is None else '+'}"

    def _incidents(self) -> list[dict[str, Any]]:
        return [
            {
                "run": one.execution_id,
                "workflow": one.workflow_name,
                "step": one.step,
                "compensation": one.compensation,
                "attempts": one.attempts,
                "since": moment(one.since),
                "error": None if one.error is None else f"{one.error.type}: {one.error.message}"[:2000],
            }
            for one in self._source.incidents()
        ]

    def definitions(self) -> list[dict[str, Any]]:
        """Return every version of the workflows that are known here; a start takes the latest if it names none."""
        counts = self._source.count_executions(by="workflow")
        latest = self._workflows()
        return [
            {**self._definition(workflow), "runs": counts.get(name, 0), "latest": workflow is latest[name]}
            for (name, _), workflow in sorted(self._versions().items(), key=lambda item: item[0][0])
        ]

    def _definition(self, workflow: Workflow[Any, Any]) -> dict[str, Any]:
        """Return what is the same of a workflow each time: checking a long one takes a while."""
        if workflow not in self._defined:
            self._defined[workflow] = {
                "name": workflow.name,
                "version": workflow.version,
                "form": form_of(workflow.definition().input_type),
                "findings": [str(finding) for finding in workflow.check(*self._workflows().values())],
            }
        return self._defined[workflow]

    def definition_graph(self, asked: Mapping[str, str]) -> str:
        """Return the drawing of a workflow: of its last version, or of the one that is named; empty for without one."""
        name, version = asked.get("name", ""), asked.get("version") or None
        if "version" not in asked:
            return self._latest(name).to_svg()
        if (name, version) not in (known := self._versions()):
            raise UnknownWorkflow(name, self._workflows(), version=version)
        return known[name, version].to_svg()

    def schedules(self) -> list[dict[str, Any]]:
        """Return the schedules."""
        return [
            {
                "name": one.name,
                "workflow": one.workflow_name,
                "when": one.cron or f"every {one.every}".removesuffix(", 0:00:00"),
                "tz": one.tz,
                "next": list(map(moment, _upcoming(one))),
                "paused": one.paused,
                "runs": one.runs,
                "skipped": one.skipped,
                "last_run": one.last_run,
            }
            for one in self._source.schedules()
        ]

    def figures(self) -> Any:
        """Return the engine's figures."""
        return self._source.stats()

    # ---- acting

    def act(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a button asks for, and say what came of it."""
        verb, run = str(asked.get("verb")), asked.get("id")
        if verb == "start":
            return self._start(asked)
        if verb in _OF_SCHEDULES:
            run = getattr(self._source, verb)(asked.get("name"))
            return {"done": verb} if run is None else {"done": verb, "run": run.id}
        if not isinstance(run, str):
            msg = "say which run: id"
            raise UsageError(msg)
        if verb == "signal":
            self._source.signal(run, asked.get("event", ""), asked.get("payload"))
        elif verb in set(Verb):
            return {"done": verb, **self._steer(verb, run, asked)}
        else:
            msg = f"there is no verb {verb!r} here"
            raise UsageError(msg)
        return {"done": verb}

    def _start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {name: asked.get(name) or None for name in ("id", "version")}
        run = self._source.start(asked.get("workflow", ""), asked.get("input"), **options)
        return {"done": "start", "run": run.id}

    def _steer(self, verb: str, id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {"by": asked.get("by") or _BY}
        if asked.get("reason"):
            options["reason"] = asked["reason"]
        call: Callable[..., Any] = getattr(self._source, verb)
        match verb:
            case "cancel":
                call(id, compensate=asked.get("compensate", True), **options)
            case "skip" | "complete_step":
                call(id, asked.get("step"), result=asked.get("result"), **options)
            case "resolve":
                call(id, asked.get("how"), step=asked.get("step"), result=asked.get("result"), **options)
            case "fork":
                changed = {name: asked[name] for name in ("input", "steps") if name in asked}
                return {"run": call(id, at=asked.get("at") or None, **changed, **options).id}
            case _:
                call(id, **options)
        return {}

    # ---- what there is

    def _workflows(self) -> dict[str, Workflow[Any, Any]]:
        """Return the last version of each workflow: the one that a start takes if none is said."""
        return {workflow.name: workflow for workflow in self._source.workflows}

    def _versions(self) -> dict[tuple[str, str | None], Workflow[Any, Any]]:
        return {(workflow.name, workflow.version): workflow for workflow in self._source.workflows}

    def _latest(self, name: str) -> Workflow[Any, Any]:
        known = self._workflows()
        if name not in known:
            raise UnknownWorkflow(name, known)
        return known[name]

    def _execution(self, id: str) -> Execution:
        execution = self._source.get_execution(id)
        if execution is None:
            raise ExecutionNotFound(id)
        return execution

    def _events(self, execution: Execution) -> list[str]:
        """Return the signals that open a gate of this run now, each once."""
        return list(dict.fromkeys(gate.event for gate in execution.waiting_for if gate.event is not None))

    def _gate(self, execution: Execution, event: str) -> dict[str, Any]:
        workflow = self._versions().get((execution.workflow_name, execution.version))
        signals = () if workflow is None else workflow.definition().signals
        payload = next((signal.payload for signal in signals if signal.name == event), None)
        return {"event": event, "form": form_of(payload)}

    def _verbs(self, execution: Execution) -> list[str]:
        standings = _STANDINGS.get(str(execution.state), frozenset())
        offered = {verb for standing in standings for verb in LEGAL_VERBS[standing]}
        return [verb.value for verb in Verb if verb in offered]

    @staticmethod
    def _audited(entry: Any) -> dict[str, Any]:
        return {
            "at": moment(entry.at),
            "verb": entry.verb,
            "by": entry.by,
            "reason": entry.reason,
            "step": entry.step,
        }


def _upcoming(schedule: Schedule) -> list[datetime]:
    """Return when a schedule ticks next; where a cron expression cannot be read, only what is on disk."""
    try:
        return schedule.upcoming(_NEXT_TIMES)
    except MissingExtra:
        return [] if schedule.next_at is None else [schedule.next_at]
