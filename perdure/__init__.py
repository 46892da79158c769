"""Durable workflows that live inside a Python process.

A name is loaded from its module when it is first asked for: whoever only defines workflows pays for no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .dsl.context import Context
    from .dsl.difference import Difference
    from .dsl.errors import (
        DefinitionError,
        DuplicateExecution,
        EngineBusy,
        EngineClosed,
        EngineError,
        ExecutionFinished,
        ExecutionNotFound,
        IllegalTransition,
        InternalError,
        InvalidPayload,
        MaxIterationsExceeded,
        NonRetryable,
        NotStorable,
        RetryAfter,
        SchemaError,
        StepError,
        StepNotOpen,
        StepTimeout,
        StoreError,
        UnknownSignal,
        UnknownWorkflow,
        UsageError,
        WaitTimeout,
        WorkflowCancelled,
        WorkflowFailed,
        WorkflowQuarantined,
        WouldDeadlock,
    )
    from .dsl.events import Event, WaitingFor
    from .dsl.facts import ErrorRecord
    from .dsl.findings import Finding
    from .dsl.limits import Concurrency, Rate
    from .dsl.policies import Compensation, Retry
    from .dsl.signals import Signal
    from .dsl.states import State
    from .dsl.steps import Step, step
    from .dsl.workflow import Workflow
    from .engine import Engine, RunHandle
    from .execution import Execution, StepRecord
    from .history import AttemptRecord
    from .looking import Page, look_at
    from .persistence.codec import register_type
    from .run import Run
    from .schedule import Schedule
    from .stats import LimitStats, Load, Stats, StepStats
    from .steering import AuditEntry, Incident
    from .upgrade import Upgrade

__all__ = [
    # Define
    "Workflow",
    "Step",
    "step",
    "Signal",
    "Context",
    "Retry",
    "RetryAfter",
    "NonRetryable",
    "Compensation",
    "Concurrency",
    "Rate",
    "register_type",
    "Finding",
    "Difference",
    # Run
    "Engine",
    "Client",
    "Run",
    "RunHandle",
    "Execution",
    "StepRecord",
    "AttemptRecord",
    "Page",
    "look_at",
    "Stats",
    "StepStats",
    "LimitStats",
    "Load",
    "Schedule",
    "Upgrade",
    "Incident",
    "AuditEntry",
    "State",
    "WaitingFor",
    "ErrorRecord",
    "Event",
    # Go wrong
    "EngineError",
    "DefinitionError",
    "UsageError",
    "DuplicateExecution",
    "EngineBusy",
    "EngineClosed",
    "ExecutionFinished",
    "ExecutionNotFound",
    "IllegalTransition",
    "InvalidPayload",
    "StepNotOpen",
    "UnknownSignal",
    "UnknownWorkflow",
    "WaitTimeout",
    "WouldDeadlock",
    "WorkflowFailed",
    "WorkflowCancelled",
    "WorkflowQuarantined",
    "StepError",
    "StepTimeout",
    "SchemaError",
    "NotStorable",
    "MaxIterationsExceeded",
    "StoreError",
    "InternalError",
]

_HOMES = {
    ".client": ("Client",),
    ".dsl.context": ("Context",),
    ".dsl.difference": ("Difference",),
    ".dsl.errors": (
        "DefinitionError",
        "DuplicateExecution",
        "EngineBusy",
        "EngineClosed",
        "EngineError",
        "ExecutionFinished",
        "ExecutionNotFound",
        "IllegalTransition",
        "InternalError",
        "InvalidPayload",
        "MaxIterationsExceeded",
        "NonRetryable",
        "NotStorable",
        "RetryAfter",
        "SchemaError",
        "StepError",
        "StepNotOpen",
        "StepTimeout",
        "StoreError",
        "UnknownSignal",
        "UnknownWorkflow",
        "UsageError",
        "WaitTimeout",
        "WorkflowCancelled",
        "WorkflowFailed",
        "WorkflowQuarantined",
        "WouldDeadlock",
    ),
    ".dsl.events": ("Event", "WaitingFor"),
    ".dsl.facts": ("ErrorRecord",),
    ".dsl.findings": ("Finding",),
    ".dsl.limits": ("Concurrency", "Rate"),
    ".dsl.policies": ("Compensation", "Retry"),
    ".dsl.signals": ("Signal",),
    ".dsl.states": ("State",),
    ".dsl.steps": ("Step", "step"),
    ".dsl.workflow": ("Workflow",),
    ".engine": ("Engine", "RunHandle"),
    ".execution": ("Execution", "StepRecord"),
    ".history": ("AttemptRecord",),
    ".looking": ("Page", "look_at"),
    ".persistence.codec": ("register_type",),
    ".run": ("Run",),
    ".schedule": ("Schedule",),
    ".stats": ("LimitStats", "Load", "Stats", "StepStats"),
    ".upgrade": ("Upgrade",),
    ".steering": ("AuditEntry", "Incident"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker that saw this would take any name for granted

    def __getattr__(name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = globals()[name] = getattr(import_module(home, __name__), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
