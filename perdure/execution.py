"""What one run looks like from outside, at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .actors.clock import from_micros
from .actors.course import FORK, PAUSE
from .actors.gates import waits_of
from .actors.reader import CodecReader
from .dsl.definition import Definition
from .dsl.errors import UnknownWorkflow
from .dsl.events import WaitingFor
from .dsl.facts import PROGRESS, UNDO, ErrorRecord, Fact, FactKind, FactStatus
from .dsl.states import FINAL, State
from .persistence import codec
from .persistence.records import ExecutionRow, Stored
from .steering import Incident, incident_of

if TYPE_CHECKING:
    from .dsl.diagram import Figure

__all__ = ["Execution", "Progress", "StepRecord"]

_COMPENSATION = {FactStatus.RETRYING: "running", FactStatus.SKIPPED: "completed"}
_SHOWN = (FactKind.STEP, FactKind.MAP, FactKind.CHILD, FactKind.GATE, FactKind.SLEEP)


class Progress(NamedTuple):
    """How far a handler has come, as it told last.

    Attributes:
        done: How much is done.
        total: How much there is to do, or None.
        note: What is going on, or None.
        at: When it was recorded.
    """

    done: float
    total: float | None
    note: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is recorded of one step, map, sub-workflow, gate or sleep.

    Attributes:
        status: ``running``, ``retrying``, ``waiting``, ``parked``, ``completed``, ``skipped``, ``failed`` or
            ``cancelled``.
        result: What it returned, or the payload a gate took.
        error: Why it, or its last attempt, failed.
        attempts: How often the handler began.
        interruptions: How many of those a crash or shutdown cut short.
        started_at: When it was first asked for.
        completed_at: When it was settled, or parked.
        compensation: ``running``, ``parked``, ``completed`` or ``failed`` once it is being undone.
        progress: How far the handler has come, if it has told.
    """

    status: str
    result: Any
    error: ErrorRecord | None
    attempts: int
    interruptions: int
    started_at: datetime
    completed_at: datetime | None
    compensation: str | None = None
    progress: Progress | None = None


class Execution:
    """A snapshot of a run; values are decoded when they are looked at.

    Attributes:
        id: Id of the run.
        workflow_name: Name of its workflow.
        version: Version of the definition it is pinned to.
        state: What it was doing.
        error: Why it failed or was quarantined.
        rollback: ``complete``, ``partial`` or ``none``, once it has failed or was cancelled.
        business_key: What the caller knows the matter by.
        priority: How much it matters beside others that queue; more is sooner.
        created_at: When it was started.
        updated_at: When it last recorded anything.
        finished_at: When it ended.
    """

    def __init__(
        self,
        row: ExecutionRow,
        load: Callable[[], Stored],
        name_of: Callable[[int], str | None],
        definition_of: Callable[[str, str | None], Definition],
    ) -> None:
        self._row = row
        self._load = load
        self._name_of = name_of
        self._definition_of = definition_of
        self.id = row.execution_id
        self.workflow_name = row.workflow
        self.version = row.version
        self.state = State(row.state)
        self.error = row.error
        self.rollback = row.rollback
        self.business_key = row.business_key
        self.priority = row.priority
        self.created_at = from_micros(row.created_at)
        self.finished_at = None if row.finished_at is None else from_micros(row.finished_at)

    def __repr__(self) -> str:
        """Show id, workflow and state."""
        return f"<Execution {self.id} {self.workflow_name} {self.state}>"

    @cached_property
    def _stored(self) -> Stored:
        return self._load()

    def loaded(self) -> Self:
        """Read the steps and signals now, if they have not been read, so that they can be looked at later."""
        _ = self._stored
        return self

    @cached_property
    def updated_at(self) -> datetime:
        """When it last recorded anything."""
        times = [max(fact.started_at, fact.completed_at or 0) for fact in self._stored.facts]
        return from_micros(max([self._row.updated_at, *times]))

    @cached_property
    def input(self) -> Any:
        """What it was started with."""
        return codec.decode(self._row.input)

    @cached_property
    def result(self) -> Any:
        """The last node's value, once completed."""
        return None if self._row.result is None else codec.decode(self._row.result)

    @cached_property
    def tags(self) -> Mapping[str, Any]:
        """The caller's tags."""
        return {} if self._row.tags is None else codec.decode(self._row.tags)  # type: ignore[return-value]

    @cached_property
    def parent_id(self) -> str | None:
        """Id of the run that started this one as its sub-workflow."""
        return None if self._row.parent_id is None else self._name_of(self._row.parent_id)

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL

    @cached_property
    def steps(self) -> Mapping[str, StepRecord]:
        """What is recorded of each step, by name, in order of start."""
        undone = {fact.key.removeprefix(UNDO): fact.status for fact in self._stored.facts if fact.kind is FactKind.UNDO}
        shown = sorted((fact for fact in self._stored.facts if fact.kind in _SHOWN), key=lambda fact: fact.order)
        told = {(fact.key, fact.turn): fact for fact in self._stored.facts if fact.kind is FactKind.PROGRESS}
        return {
            fact.name: _step_record(fact, undone.get(fact.key), told.get((f"{PROGRESS}{fact.key}", fact.turn)))
            for fact in shown
        }

    @cached_property
    def signals(self) -> Mapping[str, Any]:
        """Payloads of the signals taken so far, the last of each name."""
        return {
            signal.event: codec.decode(signal.payload) for signal in self._stored.signals if signal.taken_by is not None
        }

    @cached_property
    def waiting_for(self) -> list[WaitingFor]:
        """Gates and sleeps that are open, and steps that wait for an operator."""
        if self.finished or self.state is State.COMPENSATING:
            return []
        untaken = Counter(signal.event for signal in self._stored.signals if signal.taken_by is None)
        facts = [fact for fact in self._stored.facts if fact.status in (FactStatus.WAITING, FactStatus.PARKED)]
        return [waiting for fact in facts for waiting in waits_of(fact, untaken)]

    # ---- what operators have to do with it

    @cached_property
    def paused(self) -> bool:
        """Whether nothing begins until an operator resumes the run."""
        return not self.finished and any(fact.key == PAUSE and not fact.settled for fact in self._stored.facts)

    @cached_property
    def incidents(self) -> list[Incident]:
        """Steps and compensations that wait for an operator."""
        if self.finished:
            return []
        parked = [fact for fact in self._stored.facts if fact.status is FactStatus.PARKED]
        return [incident_of(self.id, self.workflow_name, fact) for fact in parked]

    @cached_property
    def forked_from(self) -> str | None:
        """Id of the run whose recorded facts this one began with."""
        origin = next((fact.value for fact in self._stored.facts if fact.key == FORK), None)
        return None if origin is None else str(codec.decode(origin)["source"])  # type: ignore[index]

    # ---- looking at it

    def to_mermaid(self) -> str:
        """Return the workflow's graph as a Mermaid flowchart, with this run painted on.

        Raises:
            UnknownWorkflow: the run's workflow is not registered with the engine. So does `to_svg`.
        """
        from .dsl.diagram_mermaid import to_mermaid

        return to_mermaid(self._figure())

    def to_svg(self) -> str:
        """Return the workflow's graph as a drawing, with this run painted on."""
        from .dsl.diagram_svg import to_svg

        return to_svg(self._figure())

    def _figure(self) -> Figure:
        from .dsl.diagram import draw
        from .dsl.diagram_run import RunPainter

        definition = self._definition_of(self.workflow_name, self.version)
        return draw(definition, RunPainter(definition, self.state, self._stored.facts, CodecReader()))

    def _repr_svg_(self) -> str | None:
        """Show the drawing in a notebook, if the workflow is known."""
        try:
            return self.to_svg()
        except UnknownWorkflow:
            return None

    def _repr_html_(self) -> str | None:
        """Show the drawing in a notebook that prefers HTML."""
        return self._repr_svg_()


def _step_record(fact: Fact, undone: FactStatus | None, told: Fact | None) -> StepRecord:
    return StepRecord(
        status=str(fact.status),
        result=codec.decode(fact.value) if fact.value is not None and fact.settled else None,
        error=fact.error,
        attempts=fact.attempts,
        interruptions=fact.interruptions,
        started_at=from_micros(fact.started_at),
        completed_at=None if fact.completed_at is None else from_micros(fact.completed_at),
        compensation=None if undone is None else _COMPENSATION.get(undone, str(undone)),
        progress=None if told is None else _progress(told),
    )


def _progress(told: Fact) -> Progress | None:
    if told.value is None:
        return None
    value: Any = codec.decode(told.value)
    done, total, note = value
    return Progress(done, total, note, from_micros(told.started_at))
