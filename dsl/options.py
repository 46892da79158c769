"""What may be said about a step besides its name and handler: as a record, and as keywords for type checkers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Required, TypedDict, TypeVar

from .context import Context
from .limits import Rate
from .policies import Compensation, Duration, OnExhausted, OnInterrupted, Retry

__all__ = [
    "AnyOptions",
    "BlindItemOptions",
    "BlindOptions",
    "ItemOptions",
    "Options",
    "Reminding",
    "Repetition",
    "StepOptions",
    "Turning",
]

InputT = TypeVar("InputT")


@dataclass(frozen=True, slots=True)
class StepOptions:
    """The options of one step as they were given; see `perdure.step` for each."""

    retry: int | Retry | None = None
    timeout: Duration | None = None
    compensate: Callable[..., Any] | Compensation | None = None
    input_schema: Any = None
    output_schema: Any = None
    on_interrupted: OnInterrupted = "repeat"
    compensate_on_failure: bool = False
    transactional: bool = False
    on_exhausted: OnExhausted | None = None
    executor: str | None = None
    rate: Rate | None = None


class _Policy(TypedDict, total=False):
    retry: int | Retry | None
    timeout: Duration | None
    input_schema: Any
    output_schema: Any
    on_interrupted: OnInterrupted
    compensate_on_failure: bool
    transactional: bool
    on_exhausted: OnExhausted | None
    executor: str | None
    rate: Rate | None


class _Joining(TypedDict, total=False):
    """Keywords of everything that has strands."""

    min_successful: int | None
    tolerated_failures: int | None
    fail_fast: bool
    race: bool


class Repetition(_Joining, total=False):
    """Keywords of every ``for_each``."""

    concurrency: int
    max_iterations: int


class Reminding(TypedDict, Generic[InputT], total=False):
    """Keywords of a gate about what happens while it waits."""

    remind_every: Duration | None
    remind: Callable[[Context[InputT]], object] | None


class Turning(TypedDict, total=False):
    """Keywords of a loop."""

    max_iterations: int
    name: str | None


class Options(_Policy, Generic[InputT], total=False):
    """Keywords of a step whose compensation, if it has one, takes the context."""

    compensate: Callable[[Context[InputT]], object] | Compensation | None


class BlindOptions(_Policy, total=False):
    """Keywords of a step whose compensation takes nothing."""

    compensate: Required[Callable[[], object]]


class AnyOptions(_Policy, total=False):
    """Keywords of a step, whatever its compensation takes."""

    compensate: Callable[..., Any] | Compensation | None


class ItemOptions(Repetition, Options[InputT], total=False):
    """Keywords of a ``for_each`` whose compensation, if it has one, takes the context."""


class BlindItemOptions(Repetition, BlindOptions, total=False):
    """Keywords of a ``for_each`` whose compensation takes nothing."""
