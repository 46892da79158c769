"""Durable workflows that live inside a Python process."""

from .dsl.context import Context
from .dsl.errors import (
    DefinitionError,
    DuplicateExecution,
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
from .dsl.policies import Compensation, Retry
from .dsl.signals import Signal
from .dsl.states import State
from .dsl.steps import Step, step
from .dsl.workflow import Workflow
from .engine import Engine, RunHandle
from .execution import Execution, StepRecord
from .persistence.codec import register_type
from .run import Run
from .schedule import Schedule

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
    "register_type",
    # Run
    "Engine",
    "Run",
    "RunHandle",
    "Execution",
    "StepRecord",
    "Schedule",
    "State",
    "WaitingFor",
    "ErrorRecord",
    "Event",
    # Go wrong
    "EngineError",
    "DefinitionError",
    "UsageError",
    "DuplicateExecution",
    "EngineClosed",
    "ExecutionFinished",
    "ExecutionNotFound",
    "IllegalTransition",
    "InvalidPayload",
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
